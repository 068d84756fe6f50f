# SPDX-License-Identifier: Apache-2.0
"""A service with a parked operation, for example until the tenant creates a DNS record."""

import pytest

from poppy.common import errors
from poppy.model.operations import Purge
from tests.functional.harness import Hold

FOR_THE_TENANT = errors.InProgressError("make _acme-challenge.typo a CNAME", poll_after=3600)
TYPO = {"domain": "typo.example.com", "protocol": "https", "certificate": "san"}
ADD = [{"op": "add", "path": "/domains/-", "value": TYPO}]
TAKE_BACK = [{"op": "remove", "path": "/domains/1"}]
RENAME = [{"op": "replace", "path": "/name", "value": "another"}]


def get(api, path, **options):
    answer = api.call("GET", path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json


def listed(api, path):
    """Return the operations of a service, the oldest first."""
    return get(api, f"{path}/operations?limit=100")["operations"][::-1]


def states(api, path):
    return [(it["action"], it["state"]) for it in listed(api, path)]


def wait_for(api, path, action, state):
    """Run a worker until the latest operation of a kind is in a state."""

    def reached():
        return [it for it in states(api, path) if it[0] == action][-1:] == [(action, state)]

    with api.harness.working():
        api.harness.wait(reached)


def cancel(api, path, operation, body=None, **options):
    where = f"{path}/operations/{operation['id']}/action"
    return api.call("POST", where, {"cancel": {}} if body is None else body, **options)


@pytest.fixture
def path(api):
    """A deployed service with an update that is parked until the tenant acts."""
    path = api.create()
    api.deploy(path)
    api.harness.cdn_a.script = [FOR_THE_TENANT]
    assert api.call("PATCH", path, ADD).status_code == 202
    wait_for(api, path, "update", "waiting")
    return path


@pytest.mark.parametrize("hard", ["true", "false"])
def test_service_with_a_parked_update_can_be_purged(api, path, hard):
    assert api.call("DELETE", f"{path}/assets?url=/a&hard={hard}").status_code == 202
    wait_for(api, path, "purge", "succeeded")
    assert api.harness.cdn_a.purges == [Purge("/a", hard == "true")]
    assert states(api, path)[1:] == [("update", "waiting"), ("purge", "succeeded")]
    assert get(api, path)["status"] == "update_in_progress"


def test_failed_purge_does_not_end_a_parked_update(api, path):
    api.harness.cdn_a.script = [errors.PermanentError("no")]
    assert api.call("DELETE", f"{path}/assets?all=true&hard=false").status_code == 202
    wait_for(api, path, "purge", "failed")
    assert states(api, path)[1] == ("update", "waiting")
    document = get(api, path)
    assert (document["status"], document["errors"]) == ("update_in_progress", [])


def test_change_supersedes_a_parked_update(api, path):
    assert api.call("PATCH", path, TAKE_BACK).status_code == 202
    assert states(api, path)[1:] == [("update", "superseded"), ("update", "queued")]
    document = get(api, path)
    assert document["status"] == "update_in_progress"
    assert [it["domain"] for it in document["domains"]] == ["www.example.com"]
    refused = api.post(api.document("typo.example.com"), project="another")
    assert refused.status_code == 400, "until it is known that no provider serves it"
    api.deploy(path)
    assert get(api, path)["status"] == "deployed"
    # The domain was released: it is free for this project, and in quarantine for others.
    refused = api.post(api.document("typo.example.com"), project="another")
    assert "released recently" in refused.json["message"]
    api.create("typo.example.com")


def test_change_supersedes_a_requeued_update(api, path):
    storage = api.harness.storage
    waiting = api.harness.operations(path.rpartition("/")[2])[-1]
    assert storage.operations.requeue(waiting, waiting.next_attempt_at)
    assert listed(api, path)[-1]["state"] == "queued"
    assert api.call("PATCH", path, TAKE_BACK).status_code == 202
    assert states(api, path)[1:] == [("update", "superseded"), ("update", "queued")]


def test_change_of_a_parked_create_keeps_create_in_progress(api):
    path = api.create()
    api.harness.cdn_a.script = [FOR_THE_TENANT]
    wait_for(api, path, "create", "waiting")
    assert api.call("PATCH", path, RENAME).status_code == 202
    assert get(api, path)["status"] == "create_in_progress"
    assert states(api, path) == [("create", "superseded"), ("update", "queued")]
    api.deploy(path)
    document = get(api, path)
    assert (document["status"], document["name"]) == ("deployed", "another")


def test_running_update_refuses_a_change_and_delays_a_purge(api):
    path = api.create()
    api.deploy(path)
    hold = Hold()
    api.harness.cdn_a.script = [hold]
    assert api.call("PATCH", path, RENAME).status_code == 202
    with api.harness.working():
        assert hold.begun.wait(20)
        refused = api.call("PATCH", path, RENAME)
        assert refused.status_code == 400
        assert "update_in_progress" in refused.json["message"]
        assert api.call("DELETE", f"{path}/assets?all=true").status_code == 202
        assert cancel(api, path, listed(api, path)[1]).status_code == 409
        assert api.harness.cdn_a.purges == []
        hold.go.set()
        api.harness.settle(path.rpartition("/")[2])
    assert api.harness.cdn_a.calls[-2:] == ["ensure", "purge"]


def test_purge_runs_once_the_update_before_it_is_parked(api):
    path = api.create()
    api.deploy(path)
    hold = Hold()

    def wait_in_the_end():
        hold()
        raise FOR_THE_TENANT

    api.harness.cdn_a.script = [wait_in_the_end]
    assert api.call("PATCH", path, ADD).status_code == 202
    with api.harness.working():
        assert hold.begun.wait(20)
        assert api.call("DELETE", f"{path}/assets?all=true").status_code == 202
        hold.go.set()
        api.harness.wait(lambda: states(api, path)[-1] == ("purge", "succeeded"))
    assert states(api, path)[1] == ("update", "waiting")


def test_tenant_cancels_a_parked_update_and_changes_the_service(api, path):
    waiting = listed(api, path)[-1]
    answer = cancel(api, path, waiting)
    assert (answer.status_code, answer.body) == (202, b"")
    ended = listed(api, path)[-1]
    assert (ended["state"], ended["reason"]) == ("failed", "cancelled by the project")
    document = get(api, path)
    assert document["status"] == "failed"
    assert document["errors"] == [{"message": "cancelled by the project"}]
    assert len(document["domains"]) == 2, "it stays as it was changed"
    for hard in ("true", "false"):
        assert api.call("DELETE", f"{path}/assets?all=true&hard={hard}").status_code == 202
    api.deploy(path)
    assert len(api.harness.cdn_a.purges) == 2
    document = get(api, path)
    assert (document["status"], len(document["errors"])) == ("failed", 1), "a purge mends nothing"
    assert api.call("PATCH", path, TAKE_BACK).status_code == 202
    api.deploy(path)
    assert get(api, path)["status"] == "deployed"


def test_tenant_cancels_a_create_and_deletes_the_service(api):
    path = api.create()
    api.harness.cdn_a.script = [FOR_THE_TENANT]
    wait_for(api, path, "create", "waiting")
    assert cancel(api, path, listed(api, path)[0]).status_code == 202
    assert get(api, path)["status"] == "failed"
    assert api.call("DELETE", path).status_code == 202
    api.deploy(path)
    assert api.call("GET", path).status_code == 404


def test_only_parked_operations_can_be_cancelled(api, path):
    done, waiting = listed(api, path)
    for operation, state in ((done, "succeeded"), (waiting, None), (waiting, "failed")):
        answer = cancel(api, path, operation)
        assert answer.status_code == (409 if state else 202)
        if state:
            assert state in answer.json["message"]
    path = api.create("b.example.com")
    assert cancel(api, path, listed(api, path)[0]).status_code == 409, "it has not begun yet"


def test_tenant_cannot_cancel_a_delete_or_an_operators_operation(api):
    path = api.create()
    service_id = path.rpartition("/")[2]
    api.deploy(path)
    api.harness.dns.script = [errors.RetryableError("away", retry_after=3600)]
    api.harness.boot.manager.actions.disable(api.headers["X-Project-ID"], service_id, None)
    wait_for(api, path, "disable", "waiting")
    refused = cancel(api, path, listed(api, path)[-1])
    assert (refused.status_code, refused.json["message"]) == (400, "A disable can't be cancelled")
    api.harness.dns.script = [errors.RetryableError("away", retry_after=3600)]
    assert api.call("DELETE", path).status_code == 202
    wait_for(api, path, "delete", "waiting")
    refused = cancel(api, path, listed(api, path)[-1])
    assert (refused.status_code, refused.json["message"]) == (400, "A delete can't be cancelled")


@pytest.mark.parametrize("body", [[], {}, {"cancel": None}, {"cancel": {"a": 1}}, {"retry": {}}])
def test_invalid_action_of_a_tenant_is_refused(api, path, body):
    assert cancel(api, path, listed(api, path)[-1], body).status_code == 400
    assert states(api, path)[-1] == ("update", "waiting")


def test_other_projects_and_readers_cannot_cancel(api, path):
    assert cancel(api, path, listed(api, path)[-1], project="another").status_code == 404
    reader = cancel(api, path, listed(api, path)[-1], **{"X-Roles": "reader"})
    assert reader.status_code == 403
    assert states(api, path)[-1] == ("update", "waiting")


def test_operator_disables_a_service_with_a_parked_update(api, path):
    service_id = path.rpartition("/")[2]
    api.harness.boot.manager.actions.disable(api.headers["X-Project-ID"], service_id, None)
    wait_for(api, path, "disable", "succeeded")
    assert set(api.harness.dns.cnames.values()) == {"notfound.example.net"}
    assert states(api, path)[1] == ("update", "waiting")
    refused = api.call("PATCH", path, TAKE_BACK)
    assert (refused.status_code, "disabled" in refused.json["message"]) == (400, True)
    assert api.call("DELETE", f"{path}/assets?all=true").status_code == 400


def test_purge_is_refused_without_a_provider_object(api):
    path = api.create()
    api.harness.cdn_a.script = [errors.PermanentError("no")]
    api.deploy(path)
    refused = api.call("DELETE", f"{path}/assets?all=true")
    assert refused.status_code == 400
    assert "failed" in refused.json["message"]


def test_purge_calls_only_providers_with_the_service(api):
    path = api.create(flavor_id="both")
    api.harness.cdn_b.script = [errors.PermanentError("no")]
    api.deploy(path)
    assert api.call("DELETE", f"{path}/assets?all=true").status_code == 202
    api.deploy(path)
    assert (len(api.harness.cdn_a.purges), api.harness.cdn_b.purges) == (1, [])
    assert states(api, path)[-1] == ("purge", "succeeded")


def test_empty_patch_is_accepted_and_changes_nothing(api, path):
    before, rows = get(api, path), api.rows()
    answer = api.call("PATCH", path, [])
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"http://localhost{path}"
    assert (get(api, path), api.rows()) == (before, rows)
    unknown = path[:-12] + "0" * 12
    assert api.call("PATCH", unknown, []).status_code == 404
    assert api.call("PATCH", path, [], project="another").status_code == 404
    assert api.call("PATCH", path, [], **{"X-Roles": "reader"}).status_code == 403
    assert api.call("PATCH", path, [], **{"If-Match": '"other"'}).status_code == 412
