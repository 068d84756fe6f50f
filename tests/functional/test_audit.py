# SPDX-License-Identifier: Apache-2.0
"""Audit events: who did what to which service, and whether it was accepted."""

import json
import logging
import subprocess
import sys

import pytest
import webtest
from pycadf import cadftaxonomy

from tests.functional.harness import PROJECT, Harness

HEADERS = {"X-Project-ID": PROJECT, "X-User-ID": "alice", "X-Roles": "member"}
RUN = "import sys; from poppy.cmd.manage import main; sys.exit(main())"
ADMIN = {**HEADERS, "X-User-ID": "bob", "X-Roles": "admin"}


@pytest.fixture
def poppy(tmp_path):
    made = Harness(tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(poppy):
    return webtest.TestApp(poppy.boot.transport.application)


@pytest.fixture
def events(caplog):
    caplog.set_level(logging.INFO, "poppy.audit")

    def events():
        lines = [it.getMessage() for it in caplog.records if it.name == "poppy.audit"]
        return [json.loads(line) for line in lines]

    return events


def attached(event):
    return {it["name"]: it["content"] for it in event.get("attachments", ())}


def create(poppy, app, **changes):
    document = poppy.document(**changes)
    answer = app.post_json("/v1.0/services", document, headers=HEADERS, status=202)
    return answer.headers["Location"].rpartition("/")[2]


def test_create_event_names_the_service_and_its_domains(poppy, app, events):
    service_id = create(poppy, app, domain="www.audited.com")
    (event,) = events()
    assert event["action"] == "create"
    assert event["outcome"] == "pending"
    assert event["target"]["id"] == service_id
    assert event["target"]["typeURI"] == "service/cdn/services"
    assert event["initiator"]["name"] == "alice"
    assert event["initiator"]["project_id"] == PROJECT
    assert event["reason"]["reasonCode"] == "202"
    assert attached(event)["domains"] == "www.audited.com"
    assert attached(event)["rule"] == "cdn:services:create"
    assert attached(event)["request_id"].startswith("req-")


@pytest.mark.parametrize(
    ("method", "suffix", "action"),
    [("DELETE", "", "delete"), ("DELETE", "/assets?all=true", "delete/purge")],
)
def test_change_event_names_the_service_of_the_url(poppy, app, events, method, suffix, action):
    service_id = create(poppy, app)
    app.request(
        f"/v1.0/services/{service_id}{suffix}", method=method, headers=HEADERS, expect_errors=True
    )
    event = events()[-1]
    assert event["action"] == action
    assert event["target"]["id"] == service_id


def test_refused_changes_are_recorded_as_failures(poppy, app, events):
    app.post_json("/v1.0/services", {"name": "x"}, headers=HEADERS, status=400)
    app.post_json(
        "/v1.0/services", poppy.document(), headers={**HEADERS, "X-Roles": "reader"}, status=403
    )
    assert [(it["outcome"], it["reason"]["reasonCode"]) for it in events()] == [
        ("failure", "400"),
        ("failure", "403"),
    ]


def test_only_refused_reads_are_recorded(app, events):
    app.get("/v1.0/services", headers=HEADERS, status=200)
    assert events() == []
    app.get("/v1.0/admin/services?status=deployed", headers=HEADERS, status=403)
    (event,) = events()
    assert event["action"] == "read/list"
    assert event["outcome"] == "failure"


@pytest.mark.parametrize("verb", ["disable", "enable", "delete"])
def test_operator_action_names_the_operator_and_the_domain(poppy, app, events, verb):
    create(poppy, app, domain="www.victim.com")
    body = {"action": verb, "domain": "www.victim.com"}
    app.post_json("/v1.0/admin/services/action", body, headers=ADMIN, status=202)
    event = events()[-1]
    assert event["action"] == verb
    assert event["initiator"]["name"] == "bob"
    assert event["target"]["name"] == "www.victim.com"


def test_documents_and_headers_are_not_recorded(poppy, app, events, caplog):
    document = poppy.document(origins=[{"origin": "secret-origin.example.net"}])
    headers = {**HEADERS, "X-Auth-Token": "gAAAA-very-secret", "Cookie": "poppy=very-secret"}
    app.post_json("/v1.0/services", document, headers=headers, status=202)
    line = json.dumps(events())
    assert "secret" not in line


def test_client_input_is_truncated_and_kept_on_one_line(poppy, app, events, caplog):
    agent = "x" * 5000 + "\\n{}"
    app.post_json("/v1.0/services", {}, headers={**HEADERS, "User-Agent": agent}, status=400)
    (line,) = [it.getMessage() for it in caplog.records if it.name == "poppy.audit"]
    assert "\n" not in line
    assert len(line) < 2000


def test_actions_follow_the_cadf_taxonomy(poppy, app, events):
    service_id = create(poppy, app)
    app.patch_json(f"/v1.0/services/{service_id}", [], headers=HEADERS, expect_errors=True)
    app.put_json("/v1.0/admin/limits/42", {"limit": 3}, headers=ADMIN, status=201)
    app.delete("/v1.0/flavors/standard", headers=ADMIN, expect_errors=True)
    for event in events():
        assert cadftaxonomy.is_valid_action(event["action"])
        assert cadftaxonomy.is_valid_outcome(event["outcome"])
        assert cadftaxonomy.is_valid_resource(event["target"]["typeURI"])


def test_can_be_disabled(tmp_path, events):
    poppy = Harness(tmp_path, {"audit": {"enabled": False}})
    create(poppy, webtest.TestApp(poppy.boot.transport.application))
    assert events() == []
    poppy.close()


def test_commands_with_effects_are_recorded_on_standard_error(poppy, tmp_path):
    flavors = tmp_path / "flavors.yaml"
    flavors.write_text("- id: quick\n  providers: []\n")

    def run(*words):
        file = str(tmp_path / "poppy.conf")
        command = [sys.executable, "-c", RUN, "--config-file", file, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert "poppy.audit" not in run("operations", "list").stderr
    done = run("flavors", "load", str(flavors))
    assert "poppy.audit" not in done.stdout
    (line,) = [it for it in done.stderr.splitlines() if "poppy.audit" in it]
    event = json.loads(line[line.index("{") :])
    assert event["action"] == "configure/flavors-load"
    assert event["outcome"] == "failure"
    assert event["initiator"]["host"]["agent"] == "poppy-manage"
    assert event["initiator"]["name"]
    assert attached(event)["file"] == str(flavors)
