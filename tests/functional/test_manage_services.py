# SPDX-License-Identifier: Apache-2.0
"""poppy-manage services: list, show, redeploy, export and import."""

import json
import pathlib
import uuid

import pytest
import yaml

from poppy.common import errors
from poppy.model.operations import Kind
from poppy.model.services import Status
from poppy.testing.builders import make_flavor
from tests.functional.commands import listed, printed
from tests.functional.harness import PROJECT, Harness


@pytest.fixture
def other(tmp_path, poppy):
    """A second Poppy with the same providers and DNS as the first."""
    (tmp_path / "other").mkdir()
    made = Harness(tmp_path / "other")
    for name in ("cdn_a", "cdn_b", "dns"):
        getattr(made, name).__dict__ = getattr(poppy, name).__dict__
    yield made
    made.close()


@pytest.fixture
def take(other, capsys):
    """Import services into the second Poppy and return the printed lines."""
    return lambda *line: printed(other, capsys, "services", "import", *line).splitlines()


@pytest.fixture
def exported(run, tmp_path):
    """Export services to a file and return its path and the documents."""

    def export(*line):
        path = tmp_path / "services"
        path.write_text(run("services", "export", *line))
        return str(path), list(yaml.safe_load_all(path.read_text()))

    return export


def deployed(poppy, *domains, project=PROJECT, **changes):
    """Deploy a service for each of these domains and return their ids."""
    made = [
        poppy.services.create(project, poppy.document(name, **changes), None) for name in domains
    ]
    with poppy.working():
        for service_id in made:
            assert poppy.settle(service_id, project).status is Status.DEPLOYED
    return made


def write(path, *contents):
    path.write_text("".join(json.dumps(it) + "\n" for it in contents))
    return str(path)


def names(rows):
    return [row["service_id"] for row in rows]


def test_services_are_listed_by_project_status_and_provider(poppy, run):
    first, second = deployed(poppy, "a.example.com", "b.example.com")
    (third,) = deployed(poppy, "c.example.com", project="42", flavor_id="both")
    waiting = poppy.services.create("42", poppy.document("d.example.com"), None)
    poppy.boot.manager.certificates.create(
        None,
        {
            "flavor_id": "standard",
            "cert_type": "san",
            "domain_name": "order.example.com",
            "project_id": "42",
        },
        None,
    )
    everything = [first, second, third, waiting]
    assert sorted(names(listed(run, "services", "list"))) == sorted(everything)
    assert names(listed(run, "services", "list", "--project", "42")) == [third, waiting]
    in_progress = ("--status", "create_in_progress")
    assert names(listed(run, "services", "list", *in_progress)) == [waiting]
    assert names(listed(run, "services", "list", "--provider", "cdn-b")) == [third]
    both = ("--project", "42", *in_progress)
    assert names(listed(run, "services", "list", *both)) == [waiting]
    table = run("services", "list", "--project", "42").splitlines()
    assert table[0].split() == [
        *("service_id", "project_id", "status", "flavor", "providers", "name", "domains"),
    ]
    assert " ".join(table[2].split()) == (
        f"{third} 42 deployed both cdn-a, cdn-b site c.example.com"
    )


@pytest.mark.parametrize("narrow", [("--project", PROJECT), ("--status", "create_in_progress")])
def test_list_is_limited_and_continues_after_the_marker(poppy, run, monkeypatch, narrow):
    monkeypatch.setattr("poppy.cmd.services._PAGE", 2)
    made = [poppy.create(domain=f"w{n}.example.com") for n in range(5)]
    seen = []
    marker = ()
    for more in (True, True, False):
        page = names(listed(run, "services", "list", *narrow, "--limit", "2", *marker))
        seen += page
        marker = ("--marker", page[-1].upper())
        assert poppy.said[1] == (f"There are more: continue with --marker {page[-1]}.\n" * more)
    assert sorted(seen) == made
    run("services", "list", "--limit", "4")
    assert poppy.said[1] == "There are more: raise --limit.\n"
    run("services", "list", "--limit", "5")
    assert poppy.said[1] == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--limit", "0"), "--limit must be 1 or more"),
        (("--marker", str(uuid.uuid4())), "--marker needs --project or --status"),
        (("--marker", "x", "--project", "42"), "--marker must be a UUID"),
    ],
)
def test_invalid_list_options_are_refused(run, line, message):
    with pytest.raises(errors.InvalidRequest, match=message):
        run("services", "list", *line)


def test_service_is_shown_by_id_or_domain(poppy, run):
    (service_id,) = deployed(poppy, "www.example.com")
    document = listed(run, "services", "show", service_id)
    assert document["status"] == "deployed"
    (provider,) = document["providers"]
    assert provider["provider_service_id"] == f"cdn-a-{service_id}"
    assert provider["access_urls"][0]["operator_url"] == "www.example.com.cdn.example.net"
    assert [it["kind"] for it in document["operations"]] == ["create"]
    for line in (("WWW.example.com",), (service_id.upper(), "--project", PROJECT)):
        assert listed(run, "services", "show", *line) == document
    shown = run("services", "show", service_id)
    assert "- domain: www.example.com, protocol: http\n" in shown
    assert "- provider: cdn-a, status: deployed, provider_service_id: cdn-a-" in shown
    for line in (
        (str(uuid.uuid4()),),
        ("no.example.com",),
        (service_id, "--project", "42"),
        ("www.example.com", "--project", "42"),
    ):
        with pytest.raises(errors.NotFound):
            run("services", "show", *line)


def test_service_is_redeployed_by_id_or_domain(poppy, run):
    (service_id,) = deployed(poppy, "www.example.com")
    for wanted in (service_id, service_id.upper(), "www.example.com"):
        said = run("services", "redeploy", "--service", wanted)
        assert said == f"Service {service_id} is being redeployed.\n"
        with pytest.raises(errors.ServiceBusy):
            run("services", "redeploy", "--service", wanted)
        with poppy.working():
            poppy.settle(service_id)
    assert poppy.states(service_id)[1:] == [("update", "succeeded")] * 3
    for line, error in (
        ((str(uuid.uuid4()),), errors.NotFound),
        (("no.example.com",), errors.NotFound),
        (("",), errors.InvalidRequest),
        ((service_id, "--project", "42"), errors.NotFound),
        ((service_id, "--provider", "cdn-b"), errors.InvalidRequest),
    ):
        with pytest.raises(error):
            run("services", "redeploy", "--service", *line)
    assert len(poppy.states(service_id)) == 4


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_imported_services_keep_ids_objects_and_names(poppy, other, take, run, tmp_path, form):
    ids = deployed(poppy, "a.example.com", "b.example.com", flavor_id="both")
    (third,) = deployed(poppy, "c.example.com", project="42")
    path = tmp_path / "services"
    path.write_text(run("services", "export", "-f", form))
    assert poppy.said[1] == "3 services.\n"
    objects, cnames = dict(poppy.cdn_a.objects), dict(poppy.dns.cnames)

    assert take(str(path), "--dry-run")[-1] == (
        "3 created, 0 unchanged, 0 skipped, 0 failed (dry run)"
    )
    assert list(other.storage.services.scan()) == []
    lines = take(str(path))
    assert sorted(lines[:-1]) == sorted(
        [*(f"created  {PROJECT}  {it}" for it in ids), f"created  42  {third}"]
    )
    assert lines[-1] == "3 created, 0 unchanged, 0 skipped, 0 failed"
    with other.working():
        for service_id, project in [*((it, PROJECT) for it in ids), (third, "42")]:
            service = other.settle(service_id, project)
            known = poppy.get(service_id, project)
            assert service.status is Status.DEPLOYED
            assert service.spec == known.spec
            assert service.provider_details == known.provider_details
    assert (other.cdn_a.objects, other.dns.cnames) == (objects, cnames)
    assert take(str(path))[-1] == "0 created, 3 unchanged, 0 skipped, 0 failed"
    for service_id in ids:
        assert len(other.operations(service_id)) == 1


def test_export_of_one_project(poppy, exported):
    deployed(poppy, "a.example.com")
    (wanted,) = deployed(poppy, "c.example.com", project="42")
    _, documents = exported("--project", "42")
    assert names(documents) == [wanted]


def test_disabled_and_moved_domains_are_imported(poppy, other, take, exported):
    switched, led = deployed(poppy, "a.example.com", "b.example.com")
    manager = poppy.boot.manager.actions
    manager.disable(PROJECT, switched, None)
    manager.move(
        led,
        {
            "project_id": PROJECT,
            "domain_name": "b.example.com",
            "operator_url": "b.example.com.cdn.example.net",
            "provider_url": "elsewhere.example.org",
        },
        None,
    )
    with poppy.working():
        poppy.settle(switched), poppy.settle(led)
    path, _ = exported()
    take(path)
    with other.working():
        assert other.settle(switched).status is Status.DISABLED
        assert other.settle(led).status is Status.DEPLOYED
    assert other.dns.cnames == {
        "a.example.com.cdn.example.net": "notfound.example.net",
        "b.example.com.cdn.example.net": "elsewhere.example.org",
    }


def test_imported_shared_domain_keeps_its_full_name(poppy, other, take, exported, tmp_path):
    poppy.conf.set_override("shared_ssl_num_shards", 2, "drivers:dns:scripted")
    document = poppy.document()
    document["domains"] = [{"domain": "shop", "protocol": "https", "certificate": "shared"}]
    service_id = poppy.services.create(PROJECT, document, None)
    path, (given,) = exported()
    name = given["spec"]["domains"][0]["domain"]
    assert name.startswith("shop.") and poppy.dns.owns(name)
    take(path)
    assert other.get(service_id).spec.domain_names == {name}
    foreign = given | {"service_id": str(uuid.uuid4())}
    foreign["spec"]["domains"][0]["domain"] = "shop.shard0.example.org"
    with pytest.raises(errors.InvalidRequest, match="1 services could not be imported"):
        take(write(tmp_path / "foreign", foreign))
    assert "not under a shared certificate of this Poppy" in other.said[0]


def test_import_skips_a_service_that_was_being_deleted(poppy, other, take, exported):
    (service_id,) = deployed(poppy, "a.example.com")
    poppy.services.delete(PROJECT, service_id, None)
    path, _ = exported()
    lines = take(path)
    assert lines[0] == f"skipped  {PROJECT}  {service_id}: it was being deleted"
    assert list(other.storage.services.scan()) == []


def test_import_skips_services_with_a_failed_delete(poppy, other, take, exported):
    failed, disabled = deployed(poppy, "a.example.com", "b.example.com")
    poppy.boot.manager.actions.disable(PROJECT, disabled, None)
    with poppy.working():
        poppy.settle(disabled)
    poppy.cdn_a.script = [errors.PermanentError("no"), errors.PermanentError("no")]
    for service_id in (failed, disabled):
        poppy.services.delete(PROJECT, service_id, None)
    with poppy.working():
        for service_id in (failed, disabled):
            poppy.settle(service_id)
    assert poppy.get(failed).status is Status.FAILED
    assert poppy.get(disabled).status is Status.DISABLED
    path, documents = exported()
    assert {it["status"] for it in documents} == {"delete_in_progress"}
    assert [line.split()[0] for line in take(path)[: len(documents)]] == ["skipped"] * len(
        documents
    )
    assert list(other.storage.services.scan()) == []


def test_import_skips_a_service_deleted_since_an_earlier_import(poppy, other, take, exported):
    (service_id,) = deployed(poppy, "a.example.com")
    path, _ = exported()
    take(path)
    with other.working():
        other.settle(service_id)
        other.services.delete(PROJECT, service_id, None)
        assert other.settle(service_id) is None
    assert take(path)[0] == f"skipped  {PROJECT}  {service_id}: it was deleted here"
    assert list(other.storage.services.scan()) == []


def test_import_drops_avoided_marks_of_providers(poppy, other, take, exported):
    (service_id,) = deployed(poppy, "a.example.com", flavor_id="both")
    path, (document,) = exported()
    document["provider_details"]["cdn-a"]["avoided"] = True
    pathlib.Path(path).write_text(json.dumps(document))
    take(path)
    details = other.get(service_id).provider_details
    assert not any(detail.avoided for detail in details.values())


def test_import_failures_do_not_affect_other_services(poppy, other, take, exported, tmp_path):
    deployed(poppy, "a.example.com")
    _, (good,) = exported()
    there = other.create(domain="taken.example.com")

    def but(**changes):
        return good | {"service_id": str(uuid.uuid4())} | changes

    def spec(**changes):
        return but(spec=good["spec"] | changes)

    cases = {
        "Domain taken.example.com has already been taken": spec(
            domains=[{"domain": "taken.example.com"}]
        ),
        "There is no flavor 'gold'": spec(flavor_id="gold"),
        "[service_id]-must be a UUID": but(service_id="x" * 36),
        "[spec][domains]-needs 1 entry or more, has 0": spec(domains=[]),
        "Provider 'cdn-z', which may have the service, is not loaded": but(
            provider_details={"cdn-z": good["provider_details"]["cdn-a"]}
        ),
        "The service already exists with another document": good | {"service_id": there},
        "Domain x.cdn.example.net is one of the operator's own names": spec(
            domains=[{"domain": "x.cdn.example.net"}]
        ),
        "[document]-'spec' is a required property": {"project_id": "42", "service_id": "x" * 36},
        "[document]-'nonsense' is not of type 'object'": "nonsense",
    }
    path = tmp_path / "mixed.yaml"
    path.write_text(yaml.safe_dump_all([*cases.values(), good]))
    for dry_run in (True, False):
        with pytest.raises(errors.InvalidRequest, match=f"{len(cases)} services could not be"):
            take(str(path), *(["--dry-run"] if dry_run else []))
        lines = other.said[0].splitlines()
        for line, message in zip(lines, cases, strict=False):
            assert line.startswith("failed  ") and message in line
        assert lines[-2] == f"created  {PROJECT}  {good['service_id']}"
    assert len(list(other.storage.services.scan())) == 2


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_import_respects_the_service_limit_of_a_project(poppy, other, take, exported, dry):
    deployed(poppy, "a.example.com", "b.example.com")
    there = other.create(domain="there.example.com")
    other.storage.projects.set_limit(PROJECT, 2)
    path, _ = exported()
    with pytest.raises(errors.InvalidRequest, match="1 services could not be imported"):
        take(path, *dry)
    assert "may not have more than 2 services" in other.said[0]
    assert "1 created" in other.said[0]
    assert (len(list(other.storage.services.scan())) == 1) == bool(dry)
    assert other.get(there).status is Status.CREATE_IN_PROGRESS


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_import_detects_duplicate_ids(poppy, take, exported, tmp_path, other, dry):
    deployed(poppy, "a.example.com")
    _, (document,) = exported()
    changed = document | {"spec": document["spec"] | {"domains": [{"domain": "b.example.com"}]}}
    path = write(tmp_path / "twice", document, document, changed)
    with pytest.raises(errors.InvalidRequest, match="1 services could not be imported"):
        take(path, *dry)
    said = [line.partition(" ")[0] for line in other.said[0].splitlines()[:3]]
    assert said == ["created", "unchanged", "failed"]
    assert "The service already exists with another document" in other.said[0]


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
def test_import_reports_a_duplicate_domain(poppy, take, exported, tmp_path, other, dry):
    deployed(poppy, "a.example.com")
    _, (document,) = exported()
    twin = document | {"service_id": str(uuid.uuid4())}
    path = write(tmp_path / "twice", document, twin)
    with pytest.raises(errors.InvalidRequest):
        take(path, *dry)
    first, second, *_ = other.said[0].splitlines()
    assert first.startswith("created")
    assert second.startswith("failed")
    assert "Domain a.example.com has already been taken" in second


def test_import_without_provider_details(poppy, other, take, exported, tmp_path):
    (service_id,) = deployed(poppy, "a.example.com")
    _, (document,) = exported()
    for member in ("provider_details", "status", "disabled", "log_url"):
        del document[member]
    take(write(tmp_path / "bare", document))
    with other.working():
        assert other.settle(service_id).provider_details == poppy.get(service_id).provider_details


def test_import_cleans_a_provider_that_left_the_flavor(poppy, other, take, exported):
    (service_id,) = deployed(poppy, "a.example.com", flavor_id="both")
    path, _ = exported()
    other.storage.flavors.delete("both")
    other.storage.flavors.create(make_flavor("both", ["cdn-b"]))
    take(path)
    with other.working():
        assert set(other.settle(service_id).provider_details) == {"cdn-b"}
    assert service_id not in other.cdn_a.objects
    assert [it.kind for it in other.operations(service_id)] == [Kind.CREATE]
