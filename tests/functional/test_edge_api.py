# SPDX-License-Identifier: Apache-2.0
"""The API of the nodes of the operator's own edge: joins, changes and reports."""

import json
import logging
from copy import deepcopy

import pytest
import webtest

from poppy.common import errors
from poppy.edge.agent.changes import Change
from poppy.model.edge import Prewarmed
from poppy.model.operations import Purge
from poppy.transport.pecan import auth
from poppy.transport.pecan.guesses import PER_ADDRESS
from tests.functional.fakes import refused

CHANGES, REPORT, JOIN = "/edge/v1/changes", "/edge/v1/report", "/edge/v1/join"
DOCUMENT = {
    "instance": "agent-1",
    "revision": 0,
    "ready": True,
    "version": "1.0",
    "started": {"agent": "2030-01-02T03:04:05Z", "haproxy": "2030-01-02T03:04:05+01:00"},
    "failures": {"service-1": {"revision": 0, "reason": "too many"}},
}


@pytest.fixture
def app(poppy):
    return webtest.TestApp(poppy.boot.transport.application)


@pytest.fixture
def log(poppy):
    return poppy.storage.edge


def join(poppy, app, name="node-1"):
    body = {"name": name, "token": poppy.boot.manager.edge.add(name)}
    return app.post_json(JOIN, body, status=201).json["token"]


@pytest.fixture
def node(poppy, app):
    """The header fields of a node that has joined."""
    return {"Authorization": f"Bearer {join(poppy, app)}"}


def changed(*path, value):
    """Return a report with another value; without the member if the value is None."""
    document = deepcopy(DOCUMENT)
    place = document
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


class TestJoin:
    def test_token_is_valid_once(self, poppy, app):
        body = {"name": "node-1", "token": poppy.boot.manager.edge.add("node-1")}
        token = app.post_json(JOIN, body, status=201).json["token"]
        assert token != body["token"]
        refused(app.post_json(JOIN, body, status=401), 401)
        app.get(CHANGES, headers={"Authorization": f"bearer {token}"}, status=200)

    def test_join_token_gives_no_other_access(self, poppy, app):
        headers = {"Authorization": f"Bearer {poppy.boot.manager.edge.add('node-1')}"}
        refused(app.get(CHANGES, headers=headers, status=401), 401)

    @pytest.mark.parametrize("name", ["node-1", "node-2", "node-3"])
    def test_other_tokens_and_names_are_refused_alike(self, poppy, app, name):
        poppy.boot.manager.edge.add("node-1")
        other = poppy.boot.manager.edge.add("node-2") if name != "node-2" else "x" * 43
        response = app.post_json(JOIN, {"name": name, "token": other}, status=401)
        assert refused(response, 401) == "The name or the token of the join is not valid"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"name": "node-1"}, "token"),
            ({"name": "Node", "token": "x" * 43}, "[name]"),
            ({"name": "n" * 65, "token": "x" * 43}, "[name]"),
            ({"name": "node-1", "token": "x" * 101}, "[token]"),
            ({"name": "node-1", "token": 1}, "[token]"),
            ({"name": "node-1", "token": "x" * 43, "pool": "a"}, "pool"),
            ([], "document"),
        ],
    )
    def test_invalid_body_names_the_field(self, app, body, field):
        assert field in app.post_json(JOIN, body, status=400).text

    def test_failed_joins_are_limited(self, poppy, app):
        body = {"name": "node-1", "token": "x" * 43}
        for _ in range(PER_ADDRESS):
            app.post_json(JOIN, body, status=401)
        right = {"name": "node-1", "token": poppy.boot.manager.edge.add("node-1")}
        response = app.post_json(JOIN, right, status=429)
        assert int(response.headers["Retry-After"]) > 0
        elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
        app.post_json(JOIN, right, extra_environ=elsewhere, status=201)

    def test_tokens_are_neither_logged_nor_audited(self, poppy, app, caplog):
        poppy.conf.set_override("enabled", True, group="audit")
        poppy.boot.__dict__.pop("transport")
        audited = webtest.TestApp(poppy.boot.transport.application)
        body = {"name": "node-1", "token": poppy.boot.manager.edge.add("node-1")}
        with caplog.at_level(logging.DEBUG):
            token = audited.post_json(JOIN, body, status=201).json["token"]
            again = audited.post_json(JOIN, body, status=401)
            audited.get(CHANGES, headers={"Authorization": f"Bearer {token}x"}, status=401)
            headers = {"Authorization": f"Bearer {token}"}
            audited.put_json(REPORT, DOCUMENT, headers=headers)
        assert body["token"] not in caplog.text + again.text
        assert token not in caplog.text
        events = [json.loads(it.message) for it in caplog.records if "audit" in it.name]
        assert [(it["action"], it["outcome"]) for it in events] == [
            ("create/token", "success"),
            ("create/token", "failure"),
            ("read", "failure"),
        ]
        assert events[0]["initiator"]["name"] == "node-1"


class TestAccess:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-Project-ID": "1", "X-Roles": "admin"},
            {"X-Auth-Token": "x" * 43},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer " + "x" * 43},
            {"Authorization": "Bearer " + "x" * 5000},
            {"Authorization": "Basic " + "x" * 43},
        ],
    )
    def test_needs_the_token_of_a_node(self, app, headers):
        for response in (
            app.get(CHANGES, headers=headers, status=401),
            app.put_json(REPORT, DOCUMENT, headers=headers, status=401),
        ):
            refused(response, 401)
            assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_token_of_a_node_gives_no_access_elsewhere(self, app, node):
        app.get("/v1.0/services", headers=node, status=400)
        app.get("/v1.0/admin/domains/a.example.com", headers=node, status=400)

    def test_does_not_depend_on_the_authentication_of_other_clients(
        self, poppy, node, monkeypatch
    ):
        class Down:
            def identify(self, request):
                raise errors.Unavailable("The identity service does not answer")

        monkeypatch.setattr(auth, "make", lambda conf: Down())
        poppy.boot.__dict__.pop("transport")
        app = webtest.TestApp(poppy.boot.transport.application)
        app.get("/v1.0/services", status=503)
        app.get(CHANGES, headers=node, status=200)
        join(poppy, app, "node-2")

    def test_removed_node_is_refused(self, poppy, app, node):
        app.put_json(REPORT, DOCUMENT, headers=node)
        poppy.storage.edge.remove_node("node-1")
        refused(app.put_json(REPORT, DOCUMENT, headers=node, status=401), 401)


class TestChanges:
    def test_empty_log(self, app, node):
        response = app.get(CHANGES, headers=node)
        assert response.json == {"revision": 0, "head": 0, "changes": []}
        assert response.headers["ETag"] == '"0"'

    def test_the_previous_release_reads_every_scope_of_a_purge_as_everything(self, app, node, log):
        scopes = (
            ({"url": "/a", "more": ("/b",)}, {"urls": ["/a", "/b"]}),
            ({"tags": ("a", "b")}, {"tags": ["a", "b"]}),
            ({"prefix": "/a/"}, {"prefix": "/a/"}),
            ({"host": "www.example.com"}, {"host": "www.example.com"}),
        )
        for number, (scope, sent) in enumerate(scopes, 1):
            purge = Purge(**{"url": None, "hard": True, **scope})
            log.purge("service-1", purge)
            response = app.get(f"{CHANGES}?after={number - 1}&snapshot={number}", headers=node)
            (change,) = response.json["changes"]
            assert change["purge"] == {"url": None, "hard": True, **sent}
            assert Change(number, "service-1", change).body() == purge

    def test_prewarm(self, app, node, log):
        log.prewarm("service-1", ("/a", "/b"), "op-0")
        (change,) = app.get(CHANGES, headers=node).json["changes"]
        expected = {"revision": 1, "service_id": "service-1", "prewarm": {"urls": ["/a", "/b"]}}
        assert change == expected
        state = {"revision": 1, "done": True, "reason": "/a: 404"}
        app.put_json(REPORT, {**DOCUMENT, "revision": 1, "prewarms": {"a": state}}, headers=node)
        assert log.nodes()[0].report.prewarms["a"] == Prewarmed(1, True, "/a: 404")

    def test_each_kind_of_change(self, app, node, log):
        log.publish("service-1", '{"a": [1, "\\u00e9"]}')
        log.publish("service-2", "{}")
        log.withdraw("service-2")
        log.purge("service-1", Purge("/a", True))
        log.purge("service-1", Purge(None, False))
        response = app.get(f"{CHANGES}?after=0&limit=500", headers=node)
        assert response.json == {
            "revision": 5,
            "head": 5,
            "changes": [
                {"revision": 1, "service_id": "service-1", "program": {"a": [1, "é"]}},
                {"revision": 3, "service_id": "service-2", "program": None},
                {
                    "revision": 4,
                    "service_id": "service-1",
                    "purge": {"url": "/a", "hard": True},
                },
                {
                    "revision": 5,
                    "service_id": "service-1",
                    "purge": {"url": None, "hard": False},
                },
            ],
        }

    def test_pages(self, app, node, log):
        for number in range(3):
            log.publish(f"service-{number}", "{}")
        first = app.get(f"{CHANGES}?limit=2", headers=node).json
        assert (first["revision"], first["head"]) == (2, 3)
        rest = app.get(f"{CHANGES}?after=2&limit=2&snapshot=3", headers=node).json
        assert [change["revision"] for change in rest["changes"]] == [3]

    def test_known_head_is_not_modified(self, app, node, log):
        log.publish("service-1", "{}")
        tag = app.get(f"{CHANGES}?after=0", headers=node).headers["ETag"]
        for given in (tag, f'"7", W/{tag}'):
            response = app.get(
                f"{CHANGES}?after=1", headers={**node, "If-None-Match": given}, status=304
            )
            assert response.headers["ETag"] == tag
            assert response.body == b""
        app.get(f"{CHANGES}?after=1", headers={**node, "If-None-Match": '"0"'}, status=200)

    def test_poll_without_changes_is_not_in_the_access_log(self, app, node, log, caplog):
        log.publish("service-1", "{}")
        caplog.set_level(logging.INFO, "poppy.access")
        tag = app.get(f"{CHANGES}?after=0", headers=node).headers["ETag"]
        app.get(f"{CHANGES}?after=1", headers={**node, "If-None-Match": tag}, status=304)
        (record,) = (it for it in caplog.records if it.name == "poppy.access")
        assert f'"GET {CHANGES}" 200 ' in record.getMessage()

    def test_revision_after_the_head_is_gone(self, app, node):
        refused(app.get(f"{CHANGES}?after=1", headers=node, status=410), 410)

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("after=-1", "after"),
            ("after=x", "after"),
            ("after=1e3", "after"),
            (f"after={10**18}", "after"),
            ("after=1&after=1", "after"),
            ("snapshot=a", "snapshot"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
        ],
    )
    def test_invalid_parameter_is_named(self, app, node, query, name):
        response = app.get(f"{CHANGES}?{query}", headers=node, status=400)
        assert f"'{name}'" in refused(response, 400)


class TestReport:
    def test_is_stored(self, app, node, log):
        log.publish("service-1", "{}")
        document = changed("revision", value=1)
        assert app.put_json(REPORT, document, headers=node).json == {"drained": False}
        (found,) = log.nodes()
        assert found.revision == 1
        assert found.report.failures["service-1"].reason == "too many"
        assert found.report.started["haproxy"].isoformat() == "2030-01-02T03:04:05+01:00"

    def test_reason_may_be_any_text(self, app, node, log):
        document = changed("failures", "service-1", "reason", value="\x1b[2J no\nway ☃")
        app.put_json(REPORT, document, headers=node)
        assert log.nodes()[0].report.failures["service-1"].reason == " [2J no way ☃"

    def test_answer_says_whether_the_node_is_drained(self, app, node, log):
        log.set_drained("node-1", True)
        assert app.put_json(REPORT, DOCUMENT, headers=node).json == {"drained": True}

    def test_of_a_second_instance_conflicts(self, app, node):
        app.put_json(REPORT, DOCUMENT, headers=node)
        other = changed("instance", value="agent-2")
        refused(app.put_json(REPORT, other, headers=node, status=409), 409)

    @pytest.mark.parametrize(
        ("document", "field"),
        [
            (changed("revision", value=1), "[revision]"),
            (changed("revision", value=-1), "[revision]"),
            (changed("revision", value=2**63), "[revision]"),
            (changed("revision", value=True), "[revision]"),
            (changed("revision", value=None), "revision"),
            (changed("ready", value="yes"), "[ready]"),
            (changed("instance", value="a b"), "[instance]"),
            (changed("version", value="x" * 65), "[version]"),
            (changed("started", "agent", value="2030-01-02T03:04:05"), "[started][agent]"),
            (changed("started", "agent", value="yesterday at 10 o'clock"), "[started][agent]"),
            (changed("started", "init", value="2030-01-02T03:04:05Z"), "[started]"),
            (changed("failures", "service-1", "revision", value=-1), "[failures][service-1]"),
            (changed("failures", "service-1", "reason", value="x" * 301), "[failures][service-1]"),
            (changed("failures", "a/b", value={"revision": 1, "reason": "x"}), "[failures]"),
            (
                changed(
                    "failures", value={str(n): {"revision": 0, "reason": "x"} for n in range(1001)}
                ),
                "[failures]",
            ),
            (changed("traffic", value=1), "traffic"),
            (changed("prewarms", value={"a": {"revision": 1, "done": 1}}), "[prewarms][a]"),
        ],
    )
    def test_invalid_report_names_the_field(self, app, node, log, document, field):
        response = app.put_json(REPORT, document, headers=node, status=400)
        assert field in response.text
        assert len(response.text) < 5000
        assert log.nodes()[0].report is None

    def test_too_large_report_is_refused(self, app, node):
        document = changed("version", value="x" * 1024 * 1024)
        app.put_json(REPORT, document, headers=node, status=413)
