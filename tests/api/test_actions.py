# SPDX-License-Identifier: Apache-2.0
"""Actions of operators on services through the complete API."""

import pytest

from poppy.common import errors
from poppy.manager import actions
from tests.functional.harness import PROJECT

ACTION = "/v1.0/admin/services/action"
STATUS = "/v1.0/admin/services/status"
DETAILS = "/v1.0/admin/services/provider_details"
NAME = [{"op": "replace", "path": "/name", "value": "another name"}]
NOWHERE = "notfound.example.net"


def id_of(path):
    return path.rpartition("/")[2]


def status_of(api, path, project=None):
    return api.call("GET", path, project=project).json["status"]


def content(api, path):
    """The service without the time of its last change."""
    return {**api.call("GET", path).json, "updated_at": None}


def act(api, action, **target):
    return api.call("POST", ACTION, {"action": action, **target})


def deployed(api, domain="www.example.com", project=PROJECT):
    path = api.create(domain, project=project)
    api.deploy(path, project)
    return path


@pytest.fixture
def cnames(api):
    return api.harness.dns.cnames


OPERATOR = "www.example.com.cdn.example.net"
PROVIDER = "www.example.com.cdn-a.example"


@pytest.mark.parametrize("by", [{"project_id": PROJECT}, {"domain": "www.example.com"}])
def test_disabled_service_points_to_the_404_name_until_enabled(api, cnames, by):
    path = deployed(api)
    before = content(api, path)
    answer = act(api, "disable", **by)
    assert (answer.status_code, answer.body) == (202, b"")
    assert status_of(api, path) == "disabled"
    api.deploy(path)
    assert cnames == {OPERATOR: NOWHERE}
    assert content(api, path) == {**before, "status": "disabled"}
    assert api.call("PATCH", path, NAME).status_code == 400
    assert api.call("DELETE", f"{path}/assets?all=true").status_code == 400
    assert act(api, "enable", **by).status_code == 202
    api.deploy(path)
    assert cnames == {OPERATOR: PROVIDER}
    assert content(api, path) == before


def test_names_of_disabled_services_are_removed_without_a_404_name(api, cnames):
    api.harness.conf.set_override("url_404", None, group="drivers:dns:scripted")
    path = deployed(api)
    act(api, "disable", project_id=PROJECT)
    api.deploy(path)
    assert cnames == {}
    act(api, "enable", project_id=PROJECT)
    api.deploy(path)
    assert cnames == {OPERATOR: PROVIDER}


def test_repeated_action_is_one_operation(api):
    path = deployed(api)
    for action, kinds in (
        ("enable", ["create"]),
        ("disable", ["create", "disable"]),
        ("enable", ["create", "disable", "update"]),
    ):
        for _ in range(2):
            assert act(api, action, project_id=PROJECT).status_code == 202
            assert [str(o.kind) for o in api.harness.operations(id_of(path))] == kinds
        api.deploy(path)


def test_action_applies_only_to_the_project(api):
    mine = [deployed(api, f"n{n}.example.com") for n in range(3)]
    other = deployed(api, "other.example.com", "another")
    act(api, "disable", project_id=PROJECT)
    assert {status_of(api, path) for path in mine} == {"disabled"}
    assert status_of(api, other, "another") == "deployed"
    act(api, "delete", project_id=PROJECT)
    for path in mine:
        assert api.deploy(path) is None
    assert status_of(api, other, "another") == "deployed"
    assert act(api, "delete", domain="other.example.com").status_code == 202
    assert api.deploy(other, "another") is None
    assert act(api, "delete", project_id="nobody").status_code == 202


def test_action_on_many_services_is_done_in_batches(api, monkeypatch):
    paths = [api.create(f"n{n}.example.com") for n in range(5)]
    monkeypatch.setattr(actions, "BATCH", 2)
    url, turns = ACTION, 0
    while url:
        answer = api.call("POST", url, {"action": "disable", "project_id": PROJECT})
        assert answer.status_code == 202
        turns += 1
        disabled = [path for path in paths if status_of(api, path) == "disabled"]
        assert disabled == paths[: 2 * turns]
        link = answer.headers.get("Link", "")
        url = link.partition(">")[0].removeprefix("<http://localhost")
    assert turns == 3


def test_service_disabled_during_create_stays_disabled(api, cnames):
    path = api.create()
    act(api, "disable", project_id=PROJECT)
    assert status_of(api, path) == "disabled"
    api.deploy(path)
    assert status_of(api, path) == "disabled"
    assert cnames == {OPERATOR: NOWHERE}


def test_disabled_service_can_be_deleted(api, cnames):
    path = deployed(api)
    act(api, "disable", project_id=PROJECT)
    api.deploy(path)
    assert api.call("DELETE", path).status_code == 202
    act(api, "enable", project_id=PROJECT)
    assert api.deploy(path) is None
    assert cnames == {}


def test_disable_completes_after_a_dns_outage(api, cnames):
    path = deployed(api)
    api.harness.dns.script = [errors.RetryableError("DNS is down")] * 4
    act(api, "disable", project_id=PROJECT)
    api.deploy(path)
    assert cnames == {OPERATOR: NOWHERE}


def test_enable_skips_services_that_cannot_be_enabled(api, monkeypatch, caplog):
    rules = [{"name": "r", "request_url": "/*", "referrer": "www.example.org"}]
    restrictions = [{"name": "site", "access": "whitelist", "rules": rules}]
    first = api.create("a.example.com", restrictions=restrictions)
    second = api.create("b.example.com")
    for path in (first, second):
        api.deploy(path)
    act(api, "disable", project_id=PROJECT)
    for path in (first, second):
        api.deploy(path)
    monkeypatch.setattr(type(api.harness.cdn_a), "SUPPORTS", frozenset())
    assert act(api, "enable", project_id=PROJECT).status_code == 202
    assert [status_of(api, path) for path in (first, second)] == ["disabled", "update_in_progress"]
    assert f"Skipped service {id_of(first)} of project {PROJECT}" in caplog.text
    assert act(api, "enable", domain="a.example.com").status_code == 400


def test_failed_disable_can_be_repeated(api, cnames):
    path = deployed(api)
    api.harness.dns.script = [errors.PermanentError("no")]
    act(api, "disable", project_id=PROJECT)
    api.deploy(path)
    assert cnames == {OPERATOR: PROVIDER}
    for _ in range(2):
        assert act(api, "disable", project_id=PROJECT).status_code == 202
        kinds = [str(o.kind) for o in api.harness.operations(id_of(path))]
        assert kinds == ["create", "disable", "disable"]
    api.deploy(path)
    assert cnames == {OPERATOR: NOWHERE}
    assert status_of(api, path) == "disabled"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "disable"},
        {"action": "DO_CRAZY_STUFF", "project_id": "p"},
        {"action": "enable", "project_id": "p", "domain": "www.example.com"},
        {"action": "enable", "project_id": "a b"},
        {"action": "enable", "project_id": 7},
        {"action": "enable", "domain": "-"},
        {"action": "enable", "domain": "a_b.example.com"},
        {"action": "enable", "project_id": "p", "more": 1},
    ],
)
def test_invalid_service_action_is_refused(api, body):
    assert api.call("POST", ACTION, body).status_code == 400


def test_action_on_an_unknown_domain_is_not_found(api):
    assert act(api, "disable", domain="nobodys.example.com").status_code == 404


def set_status(api, status, path, project=PROJECT):
    body = {"status": status, "project_id": project, "service_id": id_of(path)}
    return api.call("POST", STATUS, body)


def test_operator_sets_the_status_of_a_service(api):
    path = deployed(api)
    assert set_status(api, "failed", path).status_code == 201
    assert status_of(api, path) == "failed"
    assert api.call("GET", "/v1.0/services?status=failed").json["services"]
    assert set_status(api, "deployed", path).status_code == 201
    document = api.call("GET", path).json
    assert (document["status"], document["errors"]) == ("deployed", [])
    assert [str(o.kind) for o in api.harness.operations(id_of(path))] == ["create"]


def test_setting_deployed_redeploys_a_service_without_provider_objects(api):
    api.harness.cdn_a.script = [errors.PermanentError("no")]
    path = deployed(api)
    assert status_of(api, path) == "failed"
    assert set_status(api, "deployed", path).status_code == 202
    assert api.deploy(path).status == "deployed"


def test_status_of_a_service_being_deleted_cannot_be_set(api):
    path = api.create()
    api.call("DELETE", path)
    answer = set_status(api, "deployed", path)
    assert answer.status_code == 400
    assert "is being deleted" in answer.json["message"]
    assert status_of(api, path) == "delete_in_progress"


def test_service_status_cannot_be_set_during_an_operation(api):
    path = deployed(api)
    api.call("PATCH", path, NAME)
    answer = set_status(api, "failed", path)
    assert answer.status_code == 400
    assert "unfinished" in answer.json["message"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "gone"}, 400),
        ({"service_id": "x"}, 400),
        ({"service_id": "x" * 36}, 400),
        ({"project_id": "a b"}, 400),
        ({"more": 1}, 400),
        ({"project_id": "another"}, 404),
    ],
)
def test_invalid_status_request_is_refused(api, changes, status):
    path = deployed(api)
    body = {"status": "failed", "project_id": PROJECT, "service_id": id_of(path), **changes}
    assert api.call("POST", STATUS, body).status_code == status
    assert status_of(api, path) == "deployed"


def move(api, path, project=PROJECT, **changes):
    body = {
        "project_id": project,
        "domain_name": "www.example.com",
        "operator_url": OPERATOR,
        "provider_url": "new.provider.example",
        **changes,
    }
    return api.call("PATCH", f"{DETAILS}/{id_of(path)}", body)


def test_moved_name_keeps_its_target(api, cnames):
    path = deployed(api)
    assert move(api, path).status_code == 201
    assert status_of(api, path) == "update_in_progress"
    api.deploy(path)
    assert cnames == {OPERATOR: "new.provider.example"}
    assert move(api, path).status_code == 202
    api.call("PATCH", path, NAME)
    assert api.deploy(path).status == "deployed"
    assert cnames == {OPERATOR: "new.provider.example"}
    url = "/v1.0/admin/domains?provider_url=new.provider.example"
    assert api.call("GET", url).json == ["www.example.com"]
    assert move(api, path, provider_url=PROVIDER).status_code == 201
    api.deploy(path)
    assert cnames == {OPERATOR: PROVIDER}


def test_move_is_refused_during_an_operation_that_writes_details(api, cnames):
    path = deployed(api)
    api.call("PATCH", path, NAME)
    answer = move(api, path)
    assert answer.status_code == 400
    assert "unfinished" in answer.json["message"]
    api.deploy(path)
    api.call("DELETE", f"{path}/assets?all=true")
    assert move(api, path).status_code == 201, "a purge that only evicts writes none"
    api.deploy(path)
    assert cnames == {OPERATOR: "new.provider.example"}


def test_replaced_name_works_until_the_service_is_deleted(api, cnames):
    path = deployed(api)
    assert move(api, path, operator_url="other.cdn.example.net").status_code == 201
    api.deploy(path)
    target = "new.provider.example"
    assert cnames == {OPERATOR: target, "other.cdn.example.net": target}
    links = api.call("GET", path).json["links"]
    shown = [link["href"] for link in links if link["rel"] == "access_url"]
    assert shown == ["other.cdn.example.net", OPERATOR]
    act(api, "disable", domain="www.example.com")
    api.deploy(path)
    assert set(cnames.values()) == {NOWHERE}
    act(api, "enable", domain="www.example.com")
    api.deploy(path)
    assert set(cnames.values()) == {target}
    api.call("DELETE", path)
    assert api.deploy(path) is None
    assert cnames == {}


def test_moved_name_is_removed_with_its_domain(api, cnames):
    path = deployed(api)
    move(api, path, operator_url="other.cdn.example.net")
    api.deploy(path)
    domains = [{"domain": "new.example.com"}]
    patch = [{"op": "replace", "path": "/domains", "value": domains}]
    assert api.call("PATCH", path, patch).status_code == 202
    api.deploy(path)
    assert cnames == {"new.example.com.cdn.example.net": "new.example.com.cdn-a.example"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"domain_name": "other.example.com"}, 404),
        ({"project": "another"}, 404),
        ({"provider_url": "a b"}, 400),
        ({"operator_url": "x"}, 400),
        ({"domain_name": 5}, 400),
        ({"more": 1}, 400),
    ],
)
def test_invalid_move_is_refused(api, cnames, changes, status):
    path = deployed(api)
    assert move(api, path, **changes).status_code == status
    assert status_of(api, path) == "deployed"


def test_move_of_an_unknown_service_is_refused(api):
    assert move(api, "/not-a-uuid").status_code == 400
    assert move(api, "/01890000-0000-7000-8000-000000000001").status_code == 404
