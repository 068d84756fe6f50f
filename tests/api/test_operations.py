# SPDX-License-Identifier: Apache-2.0
"""Operations as tenants see them and as operators manage them."""

import datetime
import uuid

import pytest

from poppy.common import errors
from poppy.manager import operations
from poppy.model.operations import Purge
from tests.functional.fakes import refused
from tests.functional.harness import PROJECT

LATER = errors.RetryableError("the provider limits our rate", retry_after=600)
REFUSED = errors.PermanentError("the provider refuses it")
ADMIN = "/v1.0/admin/operations"


def get(api, path, **options):
    answer = api.call("GET", path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json


def only(api, path):
    """Return the only operation of a service."""
    (operation,) = get(api, f"{path}/operations")["operations"]
    return operation


def act(api, operation, wanted, **changes):
    body = {
        "action": wanted,
        "project_id": operation["project_id"],
        "service_id": operation["service_id"],
        **changes,
    }
    return api.call("POST", f"{ADMIN}/{operation['id']}/action", body)


def park(api, path, error=LATER):
    """Park the only operation of a service."""
    api.harness.cdn_a.script = [error]
    with api.harness.working():
        api.harness.wait(lambda: only(api, path)["state"] == "waiting")
    return only(api, path)


def fail(api, path):
    api.harness.cdn_a.script = [REFUSED]
    api.deploy(path)
    return get(api, f"{path}/operations")["operations"][0]


def test_queued_operation_shows_the_request(api):
    path = api.create()
    operation = only(api, path)
    assert {name: operation[name] for name in ("action", "state", "attempts", "failures")} == {
        "action": "create",
        "state": "queued",
        "attempts": 0,
        "failures": 0,
    }
    assert operation["service_id"] == path.rpartition("/")[2]
    assert operation["project_id"] == PROJECT
    assert operation["steps"] == []
    assert operation["request_id"].startswith("req-")
    hrefs = {link["rel"]: link["href"] for link in operation["links"]}
    assert get(api, hrefs["self"].removeprefix("http://localhost")) == operation
    assert hrefs["service"] == f"http://localhost{path}"


def test_parked_operation_shows_the_reason_and_the_due_time(api):
    operation = park(api, api.create(flavor_id="both"))
    assert operation["reason"] == "provider:cdn-a: the provider limits our rate"
    due = datetime.datetime.fromisoformat(operation["next_attempt_at"])
    assert due - datetime.datetime.now(datetime.UTC) > datetime.timedelta(seconds=500)
    steps = sorted(operation["steps"], key=lambda step: step["provider"])
    assert steps == [
        {
            "driver": "provider",
            "provider": "cdn-a",
            "action": "ensure",
            "state": "waiting",
            "message": "the provider limits our rate",
        },
        {
            "driver": "provider",
            "provider": "cdn-b",
            "action": "ensure",
            "state": "done",
            "message": None,
        },
    ]


def test_operations_are_paged_latest_first(api):
    path = api.create()
    api.deploy(path)
    for number in range(3):
        api.call("DELETE", f"{path}/assets?url=/{number}")
        # Otherwise the next purge would join it.
        api.deploy(path)
    first = get(api, f"{path}/operations?limit=3")
    assert [it["purge"]["url"] for it in first["operations"]] == ["/2", "/1", "/0"]
    (link,) = first["links"]
    second = get(api, link["href"].removeprefix("http://localhost"))
    assert [it["action"] for it in second["operations"]] == ["create"]
    assert second["links"] == []
    refused(api.call("GET", f"{path}/operations?limit=0"), 400)
    refused(api.call("GET", f"{path}/operations?marker=x"), 400)


def test_failed_hard_purge_is_listed_for_a_deployed_service(api):
    path = api.create()
    api.deploy(path)
    api.call("DELETE", f"{path}/assets?all=true")
    operation = fail(api, path)
    assert (operation["action"], operation["state"]) == ("purge", "failed")
    assert operation["reason"] == "provider:cdn-a: the provider refuses it"
    assert get(api, path)["status"] == "deployed"


def test_operations_are_listed_after_a_delete(api):
    path = api.create()
    api.deploy(path)
    api.call("DELETE", path)
    assert [it["action"] for it in get(api, f"{path}/operations")["operations"]] == [
        "delete",
        "create",
    ]
    api.deploy(path)
    refused(api.call("GET", path), 404)
    found = get(api, f"{path}/operations")["operations"]
    assert [(it["action"], it["state"]) for it in found] == [
        ("delete", "succeeded"),
        ("create", "succeeded"),
    ]
    assert get(api, f"{path}/operations/{found[0]['id']}") == found[0]


def test_operations_are_visible_only_to_their_project(api):
    path = api.create()
    operation = only(api, path)
    refused(api.call("GET", f"{path}/operations", project="another"), 404)
    refused(api.call("GET", f"{path}/operations/{operation['id']}", project="another"), 404)
    refused(api.call("GET", f"/v1.0/services/{uuid.uuid4()}/operations"), 404)
    refused(api.call("GET", f"{path}/operations/{uuid.uuid4()}"), 404)
    refused(api.call("GET", f"{path}/operations/x"), 400)
    refused(api.call("GET", "/v1.0/services/x/operations"), 400)


def test_operators_list_parked_and_failed_operations(api):
    slow = errors.InProgressError("it is being activated", 600)
    waiting = park(api, api.create("a.example.com"), slow)
    failed = fail(api, api.create("b.example.com"))
    done = api.create("c.example.com", project="another")
    api.deploy(done, "another")
    queued = api.create("d.example.com", project="another")

    def found(query=""):
        return [it["id"] for it in get(api, f"{ADMIN}{query}")["operations"]]

    (of_another,) = get(api, f"{queued}/operations", project="another")["operations"]
    assert found() == [waiting["id"], failed["id"], of_another["id"]]
    assert found("?state=failed") == [failed["id"]]
    assert found("?state=waiting") == [waiting["id"]]
    assert found("?state=unfinished") == [waiting["id"], of_another["id"]]
    assert found("?state=running") == []
    assert found("?limit=1") == [waiting["id"]]
    assert found("?older_than=3600") == []
    assert found("?older_than=0") == found()
    assert found("?provider=cdn-a") == found()
    assert found("?provider=cdn-b") == []


def test_operators_list_is_paged(api):
    ids = [only(api, api.create(f"{name}.example.com"))["id"] for name in "abcde"]
    path, pages = f"{ADMIN}?limit=2&state=queued", []
    while path:
        page = get(api, path)
        pages.append([it["id"] for it in page["operations"]])
        path = "".join(it["href"].removeprefix("http://localhost") for it in page["links"])
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    last = f"{10**18 - 1}/{ids[-1]}"
    assert get(api, f"{ADMIN}?marker={last}") == {"operations": [], "links": []}


def test_page_of_a_provider_examines_a_limited_number_of_operations(api, monkeypatch):
    monkeypatch.setattr(operations, "LOOKED_AT", 2)
    for name in "abc":
        api.create(f"{name}.example.com")
    both = only(api, api.create("d.example.com", flavor_id="both"))
    first = get(api, f"{ADMIN}?provider=cdn-b")
    assert first["operations"] == []
    (link,) = first["links"]
    second = get(api, link["href"].removeprefix("http://localhost"))
    assert [it["id"] for it in second["operations"]] == [both["id"]]
    listed = api.harness.boot.manager.operations.find(operations.OPEN, 0, "cdn-b", 10)
    assert listed.following is not None


@pytest.mark.parametrize(
    "query",
    [
        "marker=x",
        "marker=1/x",
        "marker=-1/0",
        "state=succeeded",
        "state=",
        "older_than=-1",
        "older_than=x",
        "limit=1001",
    ],
)
def test_invalid_query_of_an_operator_is_refused(api, query):
    name = query.partition("=")[0]
    assert name in refused(api.call("GET", f"{ADMIN}?{query}"), 400)


def test_failed_operation_is_retried(api):
    path = api.create(flavor_id="both")
    api.harness.cdn_b.script = [REFUSED]
    api.deploy(path)
    operation = only(api, path)
    assert get(api, path)["status"] == "failed"
    answer = act(api, operation, "retry")
    assert answer.status_code == 202, answer.text
    document = get(api, path)
    assert (document["status"], document["errors"]) == ("create_in_progress", [])
    assert only(api, path)["state"] == "queued"
    api.deploy(path)
    assert get(api, path)["status"] == "deployed"
    again = only(api, path)
    assert (again["id"], again["state"], again["attempts"]) == (operation["id"], "succeeded", 2)
    assert api.harness.cdn_a.calls == ["ensure"], "what was done is not done again"


def test_failed_delete_is_retried(api):
    path = api.create()
    api.deploy(path)
    api.call("DELETE", path)
    operation = fail(api, path)
    assert act(api, operation, "retry").status_code == 202
    assert get(api, path)["status"] == "delete_in_progress"
    api.deploy(path)
    refused(api.call("GET", path), 404)


def test_retry_by_an_operator_resets_the_budget(api):
    api.harness.conf.set_override("max_age", 3600, group="drivers:distributed_task:taskflow")
    path = api.create()
    operation = fail(api, path)
    key = api.harness.operations(operation["service_id"])[0].key
    act(api, operation, "retry")
    retried = api.harness.storage.operations.get(key)
    assert retried.since > retried.created_at
    assert (retried.failures, retried.crashes, retried.error) == (0, 0, None)


def test_only_failed_operations_can_be_retried(api):
    path = api.create()
    assert "only a failed one" in refused(act(api, only(api, path), "retry"), 400)
    api.deploy(path)
    assert "only a failed one" in refused(act(api, only(api, path), "retry"), 400)


def test_retry_is_refused_after_a_newer_change(api):
    path = api.create()
    operation = fail(api, path)
    patch = [{"op": "replace", "path": "/name", "value": "newer"}]
    assert api.call("PATCH", path, patch).status_code == 202
    assert "has changed the service since" in refused(act(api, operation, "retry"), 400)


def purge_that_failed(api):
    """Return the path of a deployed service and its failed purge."""
    path = api.create()
    api.deploy(path)
    api.call("DELETE", f"{path}/assets?all=true")
    return path, fail(api, path)


def test_retry_is_refused_after_a_delete(api):
    path, operation = purge_that_failed(api)
    api.call("DELETE", path)
    assert "has changed the service since" in refused(act(api, operation, "retry"), 400)
    assert get(api, path)["status"] == "delete_in_progress"


def test_purge_can_be_retried_after_a_change(api):
    path, operation = purge_that_failed(api)
    patch = [{"op": "replace", "path": "/name", "value": "newer"}]
    api.call("PATCH", path, patch)
    api.deploy(path)
    assert act(api, operation, "retry").status_code == 202


def test_retried_delete_repeats_all_steps(api):
    path = api.create()
    api.deploy(path)
    cnames = api.harness.dns.cnames
    before = dict(cnames)
    api.call("DELETE", path)
    operation = fail(api, path)
    assert cnames == {}, "DNS is done with first"
    # Simulate names that were created again for any reason.
    cnames.update(before)
    assert act(api, operation, "retry").status_code == 202
    api.deploy(path)
    refused(api.call("GET", path), 404)
    assert cnames == {}


def test_soft_purge_is_retried_only_for_a_deployed_service(api):
    path = api.create()
    api.deploy(path)
    api.call("DELETE", f"{path}/assets?all=true&hard=false")
    operation = fail(api, path)
    patch = [{"op": "replace", "path": "/name", "value": "newer"}]
    api.call("PATCH", path, patch)
    assert "only a deployed service" in refused(act(api, operation, "retry"), 400)
    api.deploy(path)
    assert act(api, operation, "retry").status_code == 202
    assert get(api, path)["status"] == "update_in_progress"
    assert api.deploy(path).status == "deployed"


def test_parked_operation_is_cancelled(api):
    path = api.create()
    operation = park(api, path)
    assert act(api, operation, "cancel").status_code == 202
    document = get(api, path)
    assert document["status"] == "failed"
    assert document["errors"] == [{"message": "cancelled by operator"}]
    cancelled = only(api, path)
    assert (cancelled["state"], cancelled["reason"]) == ("failed", "cancelled by operator")
    assert cancelled["next_attempt_at"] is None
    with api.harness.working():
        api.harness.wait(lambda: api.harness.boot.distributed_task._poster().job_count == 0)
    assert only(api, path)["attempts"] == cancelled["attempts"], "it is left alone"
    # The operator can retry it, as the tenant can make another change.
    assert act(api, cancelled, "retry").status_code == 202


def test_queued_operation_is_cancelled(api):
    path = api.create()
    assert act(api, only(api, path), "cancel").status_code == 202
    assert only(api, path)["state"] == "failed"
    api.deploy(path)
    assert api.harness.cdn_a.calls == []


def test_operations_after_a_cancelled_one_still_run(api):
    path = api.create()
    api.deploy(path)
    # A hard and a soft purge, which do not join.
    for url in ("/a", "/b&hard=false"):
        api.call("DELETE", f"{path}/assets?url={url}")
    _second, first, _create = get(api, f"{path}/operations")["operations"]
    assert act(api, first, "cancel").status_code == 202
    api.deploy(path)
    assert api.harness.cdn_a.purges == [Purge("/b", False)]


def test_refused_cancel_has_a_reason(api):
    path = api.create()
    api.deploy(path)
    assert "only one that is waiting or queued" in refused(
        act(api, only(api, path), "cancel"), 400
    )
    for url in ("/a", "/b&hard=false"):
        api.call("DELETE", f"{path}/assets?url={url}")
    second = get(api, f"{path}/operations")["operations"][0]
    assert "has to wait for" in refused(act(api, second, "cancel"), 400)


def test_refused_cancel_changes_nothing(api):
    path, first = purge_that_failed(api)
    api.call("DELETE", f"{path}/assets?url=/b")
    api.harness.cdn_a.script = [LATER]
    with api.harness.working():
        api.harness.wait(lambda: api.harness.is_waiting(first["service_id"]))
    assert act(api, first, "retry").status_code == 202
    second = get(api, f"{path}/operations")["operations"][0]
    assert second["state"] == "waiting"
    assert "has to wait for" in refused(act(api, second, "cancel"), 400)
    assert get(api, f"{path}/operations")["operations"][0] == second


def test_concurrent_delete_takes_precedence_over_a_cancel(api, monkeypatch):
    path = api.create()
    operation = only(api, path)
    begin = type(api.harness.storage.operations).begin

    def overtaken(*args):
        run = begin(*args)
        monkeypatch.undo()
        api.call("DELETE", path)
        return run

    monkeypatch.setattr(type(api.harness.storage.operations), "begin", overtaken)
    assert "has just been overtaken" in refused(act(api, operation, "cancel"), 409)
    assert api.deploy(path) is None


@pytest.mark.parametrize(
    "changes",
    [{"action": "restart"}, {"project_id": ""}, {"service_id": "x"}, {"more": 1}],
    ids=["action", "project", "service", "unknown key"],
)
def test_invalid_operation_action_is_refused(api, changes):
    refused(act(api, only(api, api.create()), "cancel", **changes), 400)


def test_action_on_an_unknown_operation_is_not_found(api):
    operation = only(api, api.create())
    for changes in ({"project_id": "another"}, {"service_id": str(uuid.uuid4())}):
        refused(act(api, operation, "cancel", **changes), 404)
    refused(act(api, {**operation, "id": str(uuid.uuid4())}, "retry"), 404)
