# SPDX-License-Identifier: Apache-2.0
"""The client's commands, over HTTP against a real poppy-standalone."""

import json
import os
import pathlib
import re
import uuid

import pytest
import yaml

from tests.real.client import program, run
from tests.real.poppy import PROJECT, Installation, wait
from tests.real.unreliable import Unreliable

pytest.importorskip("poppyclient", reason="not installed: pip install -e ./client")

from poppyclient import connection  # noqa: E402


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A server with two providers, one of them unreachable. Failures are not retried soon."""
    directory = tmp_path_factory.mktemp("poppy")
    (directory / "secret").write_text("secret")
    made = Installation(
        directory,
        {
            "drivers": {"providers": "mock,edge"},
            "drivers:provider:mock": {"latency": 0.3},
            "drivers:distributed_task:taskflow": {"retry_base": 3000, "retry_ceiling": 3000},
        },
    )
    with made.daemon("poppy-standalone"):
        made.wait_until_up()
        made.create_flavor()
        made.session.post(
            made.base + "/v1.0/flavors",
            json={
                "id": "other",
                "providers": [
                    {
                        "provider": "edge",
                        "links": [{"href": "http://www.example.com", "rel": "provider_url"}],
                    }
                ],
            },
            timeout=10,
        ).raise_for_status()
        made.session.put(
            f"{made.base}/v1.0/admin/limits/{PROJECT}", json={"limit": 100}, timeout=10
        ).raise_for_status()
        yield made
    made.session.close()


@pytest.fixture(autouse=True)
def place(installation, tmp_path, monkeypatch):
    """Run in an empty directory, with the server in the environment."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("POPPY_ENDPOINT", installation.base)
    monkeypatch.setenv("POPPY_PROJECT_ID", PROJECT)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def network(installation, monkeypatch):
    """A proxy between client and server that can lose responses."""
    with Unreliable(installation.base) as proxy:
        monkeypatch.setenv("POPPY_ENDPOINT", proxy.url)
        yield proxy


@pytest.fixture
def domain():
    """A domain that no other test uses."""
    return f"{uuid.uuid4().hex[:8]}.example.com"


def write(domain, **changes):
    document = {
        "name": f"site {domain}",
        "flavor_id": "standard",
        "domains": [{"domain": domain}],
        "origins": [{"origin": "origin.example.net"}],
        **changes,
    }
    pathlib.Path("service.yaml").write_text(yaml.safe_dump(document))


def create(domain, *options):
    write(domain)
    made = run("service", "create", "-f", "service.yaml", "--format", "json", *options)
    assert made.code == 0, made.shown
    return json.loads(made.out)


def services_with(domain):
    listed = run("service", "list", "--domain", domain, "-f", "json")
    assert listed.code == 0
    return json.loads(listed.out)


def refused(result, *texts):
    """Check that the command failed with these texts and without a traceback."""
    assert result.code == 1, result.shown
    assert "Traceback" not in result.shown
    for text in texts:
        assert text in result.shown


def test_create_with_wait_shows_progress_until_deployed(domain, installation):
    write(domain)
    made = run("service", "create", "-f", "service.yaml", "--format", "json", "--wait")
    assert made.code == 0, made.shown
    shown = json.loads(made.out)
    assert shown["status"] == "deployed"
    assert shown["access_urls"] == [f"{domain}.cdn.example.net"]
    assert shown["origins"][0]["port"] == 80
    told = made.shown.splitlines()
    assert "create running" in told
    assert told.index("create running") < told.index("create succeeded: mock done, dns done")
    stored = [json.loads(file.read_text()) for file in installation.objects.glob("*.json")]
    assert any(entry["service_id"] == shown["id"] for entry in stored)


def test_create_from_options(domain):
    made = run(
        *("service", "create", "--domain", domain, "--domain", f"img.{domain}"),
        *("--origin", "https://origin.example.net", "--flavor", "standard"),
        *("--wait", "--format", "json"),
    )
    assert made.code == 0, made.shown
    shown = json.loads(made.out)
    assert shown["name"] == domain
    assert [entry["domain"] for entry in shown["domains"]] == [domain, f"img.{domain}"]
    (origin,) = shown["origins"]
    assert (origin["origin"], origin["port"], origin["ssl"]) == ("origin.example.net", 443, True)
    listed = run("service", "list", "--domain", domain, "-f", "value", "-c", "Domains")
    assert listed.out == f"{domain}, img.{domain}\n"
    for form in ("yaml", "json"):
        listed = run("service", "list", "--domain", domain, "-f", form, "-c", "Domains")
        assert yaml.safe_load(listed.out) == [{"Domains": [domain, f"img.{domain}"]}]
    value = run("service", "show", domain, "-f", "value", "-c", "origins")
    assert json.loads(value.out)[0]["origin"] == "origin.example.net"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "missing: --domain, --origin, --flavor"),
        (("--domain", "a.example.com", "--flavor", "standard"), "missing: --origin"),
        (("-f", "service.yaml", "--name", "shop"), "--file (-f) can't be used with --name"),
    ],
)
def test_create_needs_a_file_or_all_options(options, message):
    made = run("service", "create", *options)
    assert made.code == 1
    assert message in made.shown


def test_create_without_wait_returns_at_once(domain):
    assert create(domain)["status"] == "create_in_progress"


@pytest.mark.parametrize("fate", ["lost", "dead"])
def test_lost_response_to_create_makes_one_service(domain, network, fate):
    network.restart(lambda number: fate if number == 1 else "ok")
    made = create(domain, "--wait")
    posts = [call for call in network.calls if call.startswith("POST")]
    assert len(posts) == (2 if fate == "lost" else 1)
    assert [entry["ID"] for entry in services_with(domain)] == [made["id"]]


def test_create_is_retried_after_a_503(domain, network):
    network.headers = {"Retry-After": "1"}
    network.body = b'{"message": "The database is away", "request_id": "req-1"}'
    network.restart(lambda number: 503 if number == 1 else "ok")
    write(domain)
    made = run("service", "create", "-f", "service.yaml")
    assert made.code == 0
    assert "The database is away; trying again in 1.0 s" in made.shown
    assert len(services_with(domain)) == 1


def test_unanswered_create_shows_its_idempotency_key(domain, network, monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    network.restart(lambda number: "lost")
    write(domain)
    made = run("service", "create", "-f", "service.yaml")
    refused(made, "does not answer", "--idempotency-key")
    key = re.search(r"--idempotency-key (\S+)", made.shown)[1]
    network.restart()
    again = run("service", "create", "-f", "service.yaml", "--idempotency-key", key)
    assert again.code == 0, again.shown
    assert len(services_with(domain)) == 1


def test_set_changes_only_what_differs(domain):
    made = create(domain, "--wait")
    same = run("service", "set", domain, "-f", "service.yaml")
    assert (same.code, "Nothing to change" in same.shown) == (0, True)
    write(domain, caching=[{"name": "short", "ttl": 60}])
    changed = run("service", "set", domain, "-f", "service.yaml", "--wait", "--format", "json")
    assert changed.code == 0, changed.shown
    assert "update succeeded" in changed.shown
    shown = json.loads(changed.out)
    assert (shown["id"], shown["caching"][0]["ttl"]) == (made["id"], 60)
    listed = json.loads(run("operation", "list", domain, "-f", "json").out)
    assert [entry["Action"] for entry in listed] == ["update", "create"]


def test_show_output_can_be_edited_and_set(domain):
    create(domain, "--wait")
    shown = run("service", "show", domain, "-f", "yaml").out
    pathlib.Path("service.yaml").write_text(shown.replace("ttl: 86400", "ttl: 7"))
    changed = run("service", "set", domain, "-f", "service.yaml", "--wait")
    assert changed.code == 0, changed.shown
    assert "ttl: 7" in run("service", "show", domain, "-f", "yaml").out


def test_lost_response_to_set_is_not_a_conflict(domain, network):
    made = create(domain, "--wait")
    write(domain, caching=[{"name": "short", "ttl": 61}])
    network.restart(lambda number: "lost" if number == 2 else "ok")
    changed = run("service", "set", made["id"], "-f", "service.yaml", "--wait")
    assert changed.code == 0, changed.shown
    patches = [call for call in network.calls if call.startswith("PATCH")]
    assert len(patches) == 2
    assert "ttl: 61" in run("service", "show", made["id"], "-f", "yaml").out


def test_set_does_not_overwrite_a_concurrent_change(domain, network, installation):
    made = create(domain, "--wait")
    url = f"{installation.base}/v1.0/services/{made['id']}"

    def meanwhile(number):
        if number == 2:  # 1: GET, 2: PATCH
            theirs = [{"op": "replace", "path": "/name", "value": "theirs"}]
            installation.session.patch(url, json=theirs, timeout=10).raise_for_status()
        return "ok"

    write(domain, caching=[{"name": "short", "ttl": 61}])
    network.restart(meanwhile)
    changed = run("service", "set", made["id"], "-f", "service.yaml")
    refused(changed, "has changed since you read it", "Nothing was changed")
    installation.wait_for(url, "deployed")
    assert installation.session.get(url, timeout=10).json()["caching"][0]["ttl"] == 86400


def test_plan_shows_a_change_without_making_it(domain, installation):
    made = create(domain, "--wait")
    url = f"{installation.base}/v1.0/services/{made['id']}"
    tag = installation.session.get(url, timeout=10).headers["ETag"]
    write(
        f"new-{domain}",
        flavor_id="other",
        caching=[{"name": "short", "ttl": 60}],
        name=made["name"],
    )
    told = run("service", "plan", "-f", "service.yaml", domain)
    assert told.code == 0, told.shown
    lines = told.out.splitlines()
    for line in ("-flavor_id: standard", "+flavor_id: other", "-  ttl: 86400", "+  ttl: 60"):
        assert line in lines
    assert lines[lines.index("Providers:") + 1 :][:2] == ["  edge  deploy", "  mock  remove"]
    assert any(line.startswith(f"  new-{domain}  gets an operator name") for line in lines)
    assert any(f"loses {domain}.cdn.example.net" in line for line in lines)
    assert installation.session.get(url, timeout=10).headers["ETag"] == tag


def test_plan_from_options(domain):
    options = ("--domain", domain, "--origin", "origin.example.com", "--flavor", "standard")
    shown = run("service", "plan", *options)
    assert (shown.code, shown.out.splitlines()[0]) == (
        0,
        f"A service would be created: '{domain}', flavor standard",
    )
    assert services_with(domain) == []
    refused(run("service", "plan", domain), "missing: --file")
    refused(run("service", "plan", *options, "-f", "service.yaml"), "can't be used with --domain")
    refused(run("service", "plan", *options, "-f", "value"), 'give "--format value"')


def test_plan_for_another_provider_shows_that_names_move(domain):
    create(domain, "--wait")
    write(domain, flavor_id="other")
    told = run("service", "plan", "-f", "service.yaml", domain)
    assert f"{domain}.cdn.example.net would point to another provider" in told.out


def test_plan_shows_what_would_be_refused(domain):
    create(domain, "--wait")
    for changes, message in (
        ({"flavor_id": "none"}, "There is no flavor 'none'"),
        ({}, f"Domain {domain} has already been taken"),
    ):
        write(domain, **changes)
        told = run("service", "plan", "-f", "service.yaml")
        refused(told, message, "Problems:")
        assert "A service would be created" in told.out
    write(domain)
    same = run("service", "plan", "-f", "service.yaml", domain)
    assert (same.code, "Nothing would change" in same.out) == (0, True)


def test_plan_needs_a_server_with_dry_runs(domain, network):
    write(domain, cacheing=[])
    refused(run("service", "plan", "-f", "service.yaml"), "[document]-Additional prop", "cacheing")
    write(domain)
    assert run("service", "plan", "-f", "service.yaml").code == 0
    network.restart(lambda number: 404 if number == 1 else "ok")
    refused(run("service", "plan", "-f", "service.yaml"), "has no dry runs")
    assert services_with(domain) == []


def test_purge_and_analytics_by_domain_and_name(domain, installation):
    made = create(domain, "--wait")
    for name, *options in (
        (domain, "--url", "/a", "--url", "/b", "--soft"),
        (made["name"], "--all"),
    ):
        purged = run("service", "purge", name, *options, "--wait")
        assert purged.code == 0, purged.shown
        assert "purge succeeded: mock done" in purged.shown
    (stored,) = [
        entry
        for file in installation.objects.glob("*.json")
        if (entry := json.loads(file.read_text()))["service_id"] == made["id"]
    ]
    assert stored["purges"] == [
        {"url": "/a", "hard": False},
        {"url": "/b", "hard": False},
        {"url": None, "hard": True},
    ]
    counted = run("service", "analytics", domain, "--metric", "bandwidthOut", "-f", "json")
    assert {entry["Zone"] for entry in json.loads(counted.out)} >= {"EMEA"}
    refused(run("service", "analytics", domain, "--metric", "nonsense"), "metricType")
    counted = run("service", "analytics", domain, "--by-country", "-f", "json")
    assert {entry["Zone"] for entry in json.loads(counted.out)} == {"DE", "US", "ZZ"}


def test_operator_cancels_and_retries_a_failing_operation(domain, installation):
    aside = installation.objects.with_name("aside")
    create(domain, "--wait")
    installation.objects.rename(aside)
    installation.objects.write_text("no directory")
    try:
        write(domain, caching=[{"name": "short", "ttl": 60}])
        changed = run("service", "set", domain, "-f", "service.yaml", "--wait", "--timeout", "4")
        refused(changed, "update waiting", "next try", "is not done after 4 s")
        listed = run("operation", "list", "--all-projects", "--state", "waiting", "-f", "json")
        (found,) = json.loads(listed.out)
        operation = found["ID"]
        cancelled = run("operation", "cancel", operation)
        assert cancelled.code == 0, cancelled.shown
        shown = json.loads(run("operation", "show", domain, operation, "-f", "json").out)
        assert (shown["state"], shown["reason"]) == ("failed", "cancelled by operator")
        refused(run("operation", "cancel", operation), "")
    finally:
        installation.objects.unlink()
        aside.rename(installation.objects)
    assert run("operation", "retry", operation).code == 0
    ended = lambda: json.loads(run("operation", "show", domain, "-f", "json").out)["state"]  # noqa: E731
    wait(lambda: ended() == "succeeded", 20)
    refused(run("operation", "cancel", "--service", domain, operation), "only one that waits")
    refused(run("operation", "retry", operation), "give --project and --service")


def test_permanent_failure_ends_the_wait_with_its_reason(domain, installation):
    """A purge fails permanently when the provider has no such service."""
    made = create(domain, "--wait")
    for file in installation.objects.glob("*.json"):
        if json.loads(file.read_text())["service_id"] == made["id"]:
            file.unlink()
    purged = run("service", "purge", domain, "--all", "--wait")
    refused(purged, f"The purge of service {made['id']} failed", "has no service")


def test_delete_reports_how_many_failed(domain):
    create(domain)
    gone = run("service", "delete", domain, str(uuid.uuid4()), "--wait")
    refused(gone, "delete succeeded", "1 of 2 failed")
    assert services_with(domain) == []


def test_lost_response_to_delete_is_no_error(domain, network):
    made = create(domain, "--wait")
    network.restart(lambda number: "lost" if number == 1 else "ok")
    assert run("service", "delete", made["id"], "--wait").code == 0
    assert services_with(domain) == []


def test_flavors_and_limits():
    name = f"flavor-{uuid.uuid4().hex[:8]}"
    made = run("flavor", "create", name, "--provider", "mock=http://www.example.com")
    assert made.code == 0, made.shown
    refused(run("flavor", "create", name, "--provider", "mock=http://www.example.com"), name)
    refused(run("flavor", "create", "gold", "--provider", "nobody=http://a.example"), "nobody")
    assert name in run("flavor", "list", "-f", "value").out
    assert json.loads(run("flavor", "show", name, "-f", "json").out)["id"] == name
    assert run("flavor", "delete", name).code == 0
    refused(run("flavor", "show", name), name)
    assert run("limit", "set", "someone", "7").code == 0
    assert json.loads(run("limit", "show", "someone", "-f", "json").out)["limit"] == 7
    refused(run("limit", "set", "someone", "-1"), "limit")


def test_list_returns_all_pages(domain):
    for number in range(11):
        create(f"n{number}-{domain}")
    listed = json.loads(run("service", "list", "-f", "json").out)
    assert sum(entry["Domains"][0].endswith(f"-{domain}") for entry in listed) == 11
    assert len(json.loads(run("service", "list", "--limit", "11", "-f", "json").out)) == 11
    (entry,) = json.loads(run("service", "list", "--long", "--limit", "1", "-f", "json").out)
    assert (entry["Tags"], entry["Errors"]) == ([], [])
    assert entry["Created"].endswith("Z")
    assert entry["Updated"] >= entry["Created"]


def test_server_messages_are_shown_unchanged(domain, monkeypatch):
    write(domain, domains=[{"domain": domain, "protocol": "<ftp>"}], origins=[])
    refused(
        run("service", "create", "-f", "service.yaml"),
        "[domains][0][protocol]-'<ftp>' is not one of ['http', 'https']",
        "[origins]-",
    )
    refused(run("service", "show", "nobody"), "There is no service with the id, domain or name")
    refused(run("service", "create", "-f", "none.yaml"), "none.yaml: No such file")
    monkeypatch.delenv("POPPY_PROJECT_ID")
    refused(run("flavor", "list"), "Project ID must be provided")


def test_unreachable_server_is_named(monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    monkeypatch.setenv("POPPY_ENDPOINT", "http://127.0.0.1:1")
    refused(run("flavor", "list"), "http://127.0.0.1:1/v1.0 refuses connections")


def test_installed_program(domain):
    create(domain)
    ended = program("poppy", "service", "list", "--domain", domain, "-f", "json")
    assert (ended.code, ended.shown) == (0, ended.out)
    assert json.loads(ended.out)[0]["Domains"] == [domain]


def test_openstackclient_plugin(domain, installation, monkeypatch):
    pytest.importorskip(
        "openstackclient", reason="not installed: pip install -e './client[openstack]'"
    )
    create(domain)
    monkeypatch.delenv("POPPY_ENDPOINT")
    monkeypatch.delenv("POPPY_PROJECT_ID")
    listed = run(
        *("openstack", "--os-auth-type", "none", "--os-endpoint", installation.base),
        *("--os-cdn-project-id", PROJECT),
        *("cdn", "service", "list", "--domain", domain, "-f", "json"),
    )
    assert listed.code == 0, listed.shown
    assert json.loads(listed.out)[0]["Domains"] == [domain]
