# SPDX-License-Identifier: Apache-2.0
"""Operations of accepted requests, with a real store, job board and worker."""

import threading
import time

import pytest
import webtest
from oslo_context import context

from poppy.common import errors
from poppy.model.operations import Purge, State
from poppy.model.provider_details import ProviderStatus
from poppy.model.services import Status
from poppy.provider.base import Capability, Deployment
from poppy.testing.builders import make_flavor
from tests.functional.harness import PROJECT, Harness

BUSY = errors.RetryableError("the provider is busy", retry_after=0.05)
LATER = errors.RetryableError("the provider limits our rate", retry_after=2.1)
#: Long enough for a request on a busy machine.
MUCH_LATER = errors.RetryableError("the provider limits our rate", retry_after=6)
REFUSED = errors.PermanentError("the provider refuses it")


@pytest.fixture
def poppy(tmp_path):
    made = Harness(tmp_path)
    yield made
    made.close()


def test_create_deploys_to_the_provider_and_dns(poppy):
    service_id = poppy.create()
    assert poppy.get(service_id).status is Status.CREATE_IN_PROGRESS
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED
    detail = service.provider_details["cdn-a"]
    assert detail.provider_service_id == f"cdn-a-{service_id}"
    assert poppy.dns.cnames == {"www.example.com.cdn.example.net": "www.example.com.cdn-a.example"}
    assert detail.access_urls[0].operator_url == "www.example.com.cdn.example.net"
    (operation,) = poppy.operations(service_id)
    assert operation.attempt == 1
    assert operation.request_id == "req-1"
    assert [(step.name, str(step.state)) for step in operation.steps] == [
        ("provider:cdn-a", "done"),
        ("dns", "done"),
    ]


def test_jobs_are_claimed_concurrently(poppy):
    meet = threading.Barrier(3)
    with poppy.working() as worker:
        claim = worker._board.claim

        def slow(job, who):
            meet.wait(timeout=10)
            claim(job, who)

        worker._board.claim = slow
        created = [poppy.create(domain=f"{name}.example.com") for name in "abc"]
        assert {poppy.settle(it).status for it in created} == {Status.DEPLOYED}


def test_job_claimed_by_another_worker_is_not_run(poppy):
    with poppy.working() as worker:
        other = poppy.boot.worker()._board
        other.connect()
        claim, taken = worker._board.claim, []

        def late(job, who):
            if not taken:
                taken.append(job)
                (seen,) = other.iterjobs(only_unclaimed=True, ensure_fresh=True)
                other.claim(seen, "other")
                taken.append(seen)
            claim(job, who)

        worker._board.claim = late
        service_id = poppy.create()
        poppy.wait(lambda: len(taken) == 2)
        # The worker looks at the board many times during this pause.
        time.sleep(0.2)
        assert poppy.get(service_id).status is Status.CREATE_IN_PROGRESS
        other.abandon(taken[1], "other")
        assert poppy.settle(service_id).status is Status.DEPLOYED
        other.close()


def test_update_creates_new_names_and_removes_dropped_ones(poppy):
    service_id = poppy.create(domain="old.example.com")
    with poppy.working():
        poppy.settle(service_id)
        patch = [{"op": "replace", "path": "/domains/0/domain", "value": "new.example.com"}]
        with poppy.cdn_a.held():
            poppy.services.update(PROJECT, service_id, patch, None)
            assert poppy.get(service_id).status is Status.UPDATE_IN_PROGRESS
        service = poppy.settle(service_id)
        assert service.status is Status.DEPLOYED
        assert set(poppy.dns.cnames) == {"new.example.com.cdn.example.net"}
        urls = service.provider_details["cdn-a"].access_urls
        assert [entry.domain for entry in urls] == ["new.example.com"]
        # The dropped domain is free for this project at once, and for others after a delay.
        with pytest.raises(errors.DomainReleased):
            poppy.services.create("other", poppy.document("old.example.com"), None)
        assert poppy.settle(poppy.create(domain="old.example.com")).status is Status.DEPLOYED


def test_change_of_flavor_cleans_the_provider_that_was_dropped(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        assert service_id in poppy.cdn_b.objects
        patch = [{"op": "replace", "path": "/flavor_id", "value": "standard"}]
        poppy.services.update(PROJECT, service_id, patch, None)
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED
    assert list(service.provider_details) == ["cdn-a"]
    assert poppy.cdn_b.objects == {}


def test_delete_removes_everything_from_providers_and_dns(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        with poppy.cdn_a.held():
            poppy.services.delete(PROJECT, service_id, None)
            assert poppy.get(service_id).status is Status.DELETE_IN_PROGRESS
        assert poppy.settle(service_id) is None
    assert poppy.cdn_a.objects == poppy.cdn_b.objects == {}
    assert poppy.dns.cnames == {}


def test_dns_names_are_removed_before_their_targets(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        seen = []
        poppy.cdn_a.script = [lambda: seen.append(dict(poppy.dns.cnames))]
        poppy.services.delete(PROJECT, service_id, None)
        poppy.settle(service_id)
    assert seen == [{}]


def test_repeated_delete_is_one_operation(poppy):
    service_id = poppy.create()
    poppy.services.delete(PROJECT, service_id, None)
    poppy.services.delete(PROJECT, service_id, None)
    assert poppy.states(service_id) == [("create", "superseded"), ("delete", "queued")]
    with poppy.working():
        assert poppy.settle(service_id) is None


def test_purge_reaches_every_provider(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        for purge in (Purge("/a", True), Purge(None, True)):
            poppy.services.purge(PROJECT, service_id, purge, None)
            assert poppy.get(service_id).status is Status.DEPLOYED
            # Otherwise the second purge would join the first.
            poppy.settle(service_id)
        poppy.services.purge(PROJECT, service_id, Purge("/b", False), None)
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED
    for cdn in (poppy.cdn_a, poppy.cdn_b):
        assert cdn.purges == [Purge("/a", True), Purge(None, True), Purge("/b", False)]


def test_repeated_purge_call_keeps_its_reference(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [BUSY]
        for _ in range(2):
            poppy.services.purge(PROJECT, service_id, Purge("/a", True), None)
            poppy.settle(service_id)
    first, repeated, later = poppy.cdn_a.references
    assert first == repeated
    assert later not in ("", first)


def test_all_paths_of_a_purge_are_begun_before_any_is_waited_for(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [errors.InProgressError("one node is left", 0.01)] * 2
        poppy.services.purge(PROJECT, service_id, Purge("/a", True, ("/b", "/c")), None)
        poppy.settle(service_id)
    seen = [reference.rpartition("-")[2] for reference in poppy.cdn_a.references]
    assert seen == ["0", "1", "2", "0", "1", "2"]


def test_a_driver_for_many_paths_gets_them_in_one_call(poppy, monkeypatch):
    service_id = poppy.create()
    monkeypatch.setattr(type(poppy.cdn_a), "SUPPORTS", frozenset(Capability))
    purge = Purge("/0", True, tuple(f"/{number}" for number in range(1, 100)))
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [BUSY]
        poppy.services.purge(PROJECT, service_id, purge, None)
        poppy.settle(service_id)
    assert poppy.cdn_a.purges == [purge]
    assert poppy.cdn_a.references[0] == poppy.cdn_a.references[1] != ""


def test_a_purge_that_a_provider_can_not_do_is_refused_by_name(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
    many = Purge("/0", True, tuple(f"/{number}" for number in range(1, 21)))
    with pytest.raises(
        errors.InvalidRequest, match="'cdn-a' does not support purges of many URLs"
    ):
        poppy.services.purge(PROJECT, service_id, many, None)
    with pytest.raises(errors.InvalidRequest, match="'other.example.com' is no domain"):
        poppy.services.purge(
            PROJECT, service_id, Purge(None, True, host="other.example.com"), None
        )
    poppy.services.purge(PROJECT, service_id, Purge(None, True, tags=("a",)), None)
    with poppy.working():
        poppy.settle(service_id)
    assert poppy.cdn_a.purges == [Purge(None, True, tags=("a",))]


def test_a_prewarm_succeeds_and_says_what_failed(poppy, monkeypatch):
    service_id = poppy.create()
    assets = poppy.boot.manager.assets
    with pytest.raises(errors.ServiceBusy):
        assets.prewarm(PROJECT, service_id, ("/a",), None)
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [errors.InProgressError("node", 0.01), "1 of 1 failed: /a: 404"]
        operation_id = assets.prewarm(PROJECT, service_id, ("/a",), None)
        assert poppy.settle(service_id).status is Status.DEPLOYED
    operation = poppy.operations(service_id)[-1]
    assert operation.operation_id == operation_id
    (step,) = operation.steps
    assert (operation.state, step.message) == (State.SUCCEEDED, "1 of 1 failed: /a: 404")
    assert poppy.cdn_a.prewarmed == operation.prewarm == ("/a",)
    assert set(poppy.cdn_a.references) == {operation_id}
    monkeypatch.setattr(type(poppy.cdn_a), "SUPPORTS", frozenset())
    with pytest.raises(errors.InvalidRequest, match="'cdn-a' does not support prewarming"):
        assets.prewarm(PROJECT, service_id, ("/a",), None)


def test_soft_purge_shows_update_in_progress(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [MUCH_LATER]
        poppy.services.purge(PROJECT, service_id, Purge(None, False), None)
        poppy.wait(lambda: poppy.is_waiting(service_id))
        assert poppy.get(service_id).status is Status.UPDATE_IN_PROGRESS
        with pytest.raises(errors.ServiceBusy):
            poppy.services.update(
                PROJECT, service_id, [{"op": "replace", "path": "/name", "value": "xyz"}], None
            )
        assert poppy.settle(service_id).status is Status.DEPLOYED


def test_failed_purge_leaves_the_service_deployed_with_an_error(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [REFUSED]
        poppy.services.purge(PROJECT, service_id, Purge(None, False), None)
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED
    assert service.errors == ("purge at cdn-a: the provider refuses it",)
    assert poppy.states(service_id)[-1] == ("purge", "failed")


def test_change_waits_for_an_earlier_purge(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.calls.clear()
        poppy.cdn_a.script = [errors.RetryableError("busy", retry_after=2.1)]
    poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
    patch = [{"op": "replace", "path": "/name", "value": "another"}]
    poppy.services.update(PROJECT, service_id, patch, None)
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["purge", "purge", "ensure"]
    assert poppy.states(service_id)[1:] == [("purge", "succeeded"), ("update", "succeeded")]


def test_change_is_refused_while_a_purge_is_parked(poppy):
    service_id = poppy.create()
    patch = [{"op": "replace", "path": "/name", "value": "another"}]
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [MUCH_LATER]
        poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
        poppy.wait(lambda: poppy.is_waiting(service_id))
        with pytest.raises(errors.ServiceBusy, match="its purge, operation .* waits .*our rate"):
            poppy.services.update(PROJECT, service_id, patch, None)
        poppy.settle(service_id)
        poppy.services.update(PROJECT, service_id, patch, None)


def test_short_failure_is_retried_within_the_attempt(poppy):
    poppy.cdn_a.script = [BUSY, BUSY]
    service_id = poppy.create()
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["ensure"] * 3
    assert poppy.operations(service_id)[0].attempt == 1


def test_outage_parks_the_operation_and_frees_its_slot(tmp_path):
    poppy = Harness(tmp_path, concurrency=1)
    poppy.cdn_a.script = [LATER]
    parked = poppy.create()
    with poppy.working():
        poppy.wait(lambda: poppy.is_waiting(parked))
        (operation,) = poppy.operations(parked)
        assert "the provider limits our rate" in operation.error
        assert operation.next_attempt_at > operation.updated_at
        # The only slot of the only worker is free for another service.
        poppy.storage.flavors.create(make_flavor("other", ["cdn-b"]))
        other = poppy.create(domain="other.example.com", flavor_id="other")
        assert poppy.settle(other).status is Status.DEPLOYED
        assert poppy.is_waiting(parked)
        assert poppy.settle(parked).status is Status.DEPLOYED
    (operation,) = poppy.operations(parked)
    assert operation.attempt == 2
    assert operation.error is None
    poppy.close()


def test_permanent_outage_fails_with_the_reason(poppy):
    poppy.cdn_a.script = [BUSY] * 100
    service_id = poppy.create()
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert service.errors == ("cdn-a: gave up after 4 attempts: the provider is busy",)
    assert poppy.dns.cnames == {}


def test_refusal_fails_at_once_and_does_not_change_dns(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        before = dict(poppy.dns.cnames)
        poppy.cdn_a.script = [REFUSED]
        patch = [{"op": "replace", "path": "/domains/0/domain", "value": "new.example.com"}]
        poppy.services.update(PROJECT, service_id, patch, None)
        service = poppy.settle(service_id)
        assert service.status is Status.FAILED
        assert service.errors == ("cdn-a: the provider refuses it",)
        detail = service.provider_details["cdn-a"]
        assert (detail.error_class, detail.error_info) == ("PermanentError", "provider:cdn-a")
        assert poppy.dns.cnames == before
        assert poppy.operations(service_id)[-1].attempt == 1
        # Until a change succeeds, both names belong to this service.
        for name in ("www.example.com", "new.example.com"):
            with pytest.raises(errors.DomainTaken):
                poppy.services.create("other", poppy.document(name), None)
        # A later change may succeed and clears the errors.
        patch = [{"op": "replace", "path": "/name", "value": "again"}]
        poppy.services.update(PROJECT, service_id, patch, None)
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED
    assert service.errors == ()
    assert set(poppy.dns.cnames) == {"new.example.com.cdn.example.net"}


def test_provider_step_is_not_repeated_after_a_dns_outage(poppy):
    poppy.dns.script = [errors.RetryableError("no answer", retry_after=2.1)]
    service_id = poppy.create()
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["ensure"], "only the DNS step is tried again"
    assert poppy.dns.cnames


def test_refusal_by_dns_fails_the_service(poppy):
    poppy.dns.script = [errors.PermanentError("no such zone")]
    service_id = poppy.create()
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert service.errors == ("dns: no such zone",)


def test_delete_keeps_the_provider_object_when_dns_fails(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.dns.script = [errors.PermanentError("refused")]
        poppy.services.delete(PROJECT, service_id, None)
        service = poppy.settle(service_id)
        assert service.status is Status.FAILED
        assert service_id in poppy.cdn_a.objects, "a name would point at nothing"
        poppy.services.delete(PROJECT, service_id, None)
        assert poppy.settle(service_id) is None


def test_delete_refused_by_one_provider_can_be_repeated(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_b.script = [REFUSED]
        poppy.services.delete(PROJECT, service_id, None)
        service = poppy.settle(service_id)
        assert service.status is Status.FAILED
        assert list(service.provider_details) == ["cdn-b"]
        poppy.services.delete(PROJECT, service_id, None)
        assert poppy.settle(service_id) is None
    assert poppy.cdn_a.calls.count("remove") == 1


def test_slow_activation_is_polled_without_counting_as_failure(poppy):
    slow = Deployment("x", {"www.example.com": "x.example"}, in_progress=True, poll_after=0.05)
    poppy.cdn_a.script = [slow] * 8
    service_id = poppy.create()
    with poppy.working():
        poppy.wait(lambda: poppy.is_waiting(service_id))
        assert poppy.get(service_id).status is Status.CREATE_IN_PROGRESS
        detail = poppy.get(service_id).provider_details["cdn-a"]
        assert detail.provider_service_id == "x", "known before it is active"
        assert poppy.settle(service_id).status is Status.DEPLOYED
    (operation,) = poppy.operations(service_id)
    assert operation.attempt == 9
    assert operation.failures == 0


def test_message_of_a_pending_provider_is_stored(poppy):
    urls = {"www.example.com": "x.example"}
    poppy.cdn_a.script = [
        Deployment("x", urls, in_progress=True, poll_after=60, message="make this record")
    ]
    service_id = poppy.create()
    with poppy.working():
        poppy.wait(lambda: poppy.is_waiting(service_id))
    (operation,) = poppy.operations(service_id)
    assert operation.step("provider:cdn-a").message == "make this record"


def test_failure_of_one_provider_of_two_does_not_change_dns(poppy):
    poppy.cdn_b.script = [REFUSED]
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert service.errors == ("cdn-b: the provider refuses it",)
    assert service.provider_details["cdn-a"].status == "deployed"
    assert poppy.dns.cnames == {}


def test_finished_provider_is_not_called_again(poppy):
    poppy.cdn_b.script = [LATER]
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["ensure"]
    assert poppy.cdn_b.calls == ["ensure"] * 2


def test_unexpected_driver_error_is_retried(poppy):
    poppy.cdn_a.script = [KeyError("surprise")]
    service_id = poppy.create()
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.DEPLOYED


def test_repeated_driver_errors_fail_without_leaking_internals(poppy):
    poppy.cdn_a.script = [KeyError("surprise")] * 100
    service_id = poppy.create()
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert "surprise" not in service.errors[0]


def test_provider_that_is_no_longer_loaded_fails_the_operation(poppy):
    service_id = poppy.create(flavor_id="both")
    del poppy.boot.providers["cdn-b"]
    with poppy.working():
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert "not loaded" in service.errors[0]


def test_purge_and_delete_need_all_providers_that_have_the_service(poppy):
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
        removed = poppy.boot.providers.pop("cdn-b")
        names = dict(poppy.dns.cnames)
        assert names
        app = webtest.TestApp(poppy.boot.transport.application)
        url = f"/v1.0/services/{service_id}"
        headers = {"X-Project-ID": PROJECT}
        for path in (f"{url}/assets?all=true", url):
            refused = app.delete(path, headers=headers, status=409)
            assert "'cdn-b' may have the service" in refused.json["message"]
        assert poppy.get(service_id).status is Status.DEPLOYED
        assert (poppy.dns.cnames, poppy.dns.removals) == (names, 0)
        assert poppy.cdn_a.calls == ["ensure"]

        poppy.boot.providers["cdn-b"] = removed
        app.delete(url, headers=headers, status=202)
        assert poppy.settle(service_id) is None


def test_service_at_a_provider_that_is_not_loaded_can_move_to_another(poppy):
    """What is left there is reported: the update fails, but the new provider has the names."""
    service_id = poppy.create(flavor_id="both")
    with poppy.working():
        poppy.settle(service_id)
        del poppy.boot.providers["cdn-b"]
        patch = [{"op": "replace", "path": "/flavor_id", "value": "standard"}]
        poppy.services.update(PROJECT, service_id, patch, "req-2")
        service = poppy.settle(service_id)
    assert service.status is Status.FAILED
    assert "cdn-b" in service.errors[0]
    assert "not loaded" in service.errors[0]
    assert service.provider_details["cdn-a"].status is ProviderStatus.DEPLOYED


def test_operation_without_a_job_is_redelivered_from_storage(tmp_path, monkeypatch):
    poppy = Harness(tmp_path, redelivery=0.2)

    def broken(key):
        monkeypatch.undo()
        raise errors.Unavailable("the board is down")

    monkeypatch.setattr(poppy.boot.distributed_task, "post", broken)
    service_id = poppy.create()
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    poppy.close()


def test_redelivered_job_is_run_once(poppy):
    service_id = poppy.create()
    (operation,) = poppy.operations(service_id)
    for _ in range(5):
        poppy.boot.distributed_task.post(operation)
    with poppy.working():
        poppy.settle(service_id)
        board = poppy.boot.distributed_task._poster()
        poppy.wait(lambda: board.job_count == 0)
    assert poppy.cdn_a.calls == ["ensure"]
    assert poppy.operations(service_id)[0].attempt == 1


def test_job_without_an_operation_is_dropped(poppy):
    board = poppy.boot.distributed_task._poster()
    board.post("junk", details={"who": "knows"})
    board.post("gone", details={"project_id": "p", "service_id": "s", "operation_id": "o"})
    with poppy.working():
        poppy.wait(lambda: board.job_count == 0)


def test_driver_context_has_the_request_id(poppy):
    seen = []
    poppy.cdn_a.script = [lambda: seen.append(context.get_current().to_dict())]
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
    assert seen[0]["request_id"] == "req-1"
    assert seen[0]["project_id"] == PROJECT
    assert seen[0]["resource_uuid"] == service_id


def test_redeploy_restores_the_service(poppy):
    service_id = poppy.create()
    with poppy.working():
        before = poppy.settle(service_id)
        poppy.cdn_a.objects.clear()
        poppy.dns.cnames.clear()
        with poppy.cdn_a.held():
            poppy.services.redeploy(PROJECT, service_id, None)
            with pytest.raises(errors.ServiceBusy):
                poppy.services.redeploy(PROJECT, service_id, None)
        after = poppy.settle(service_id)
    assert after.spec == before.spec
    assert after.provider_details == before.provider_details
    assert poppy.cdn_a.objects == {service_id: before.spec}
    assert poppy.dns.cnames


def test_operations_beyond_the_board_depth_wait_in_storage(tmp_path):
    poppy = Harness(tmp_path, board_depth=3, redelivery=3600)
    poppy.boot.manager.services._default_limit = 100
    assert poppy.boot.distributed_task.has_room(0)
    board = poppy.boot.distributed_task._poster()
    ids = []
    for number in range(30):
        ids.append(poppy.create(domain=f"n{number}.example.com"))
        # Simulate requests that are far apart in time.
        poppy.boot.distributed_task._room = (0.0, False)
    # A project may use half of the board.
    assert board.job_count == 1
    with poppy.working():
        for service_id in ids:
            assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["ensure"] * 30
    assert [poppy.operations(service_id)[0].attempt for service_id in ids] == [1] * 30
    poppy.close()


def test_purge_does_not_free_a_domain_of_a_pending_change(poppy):
    service_id = poppy.create(domains=[{"domain": "a.example.com"}, {"domain": "b.example.com"}])
    with poppy.working():
        poppy.settle(service_id)
    poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
    patch = [{"op": "remove", "path": "/domains/1"}]
    poppy.services.update(PROJECT, service_id, patch, None)
    poppy.cdn_a.script = [None, REFUSED]
    with poppy.working():
        assert poppy.settle(service_id).status is Status.FAILED
    assert poppy.states(service_id)[1:] == [("purge", "succeeded"), ("update", "failed")]
    with pytest.raises(errors.DomainTaken):
        poppy.services.create("other", poppy.document("b.example.com"), None)


def test_unacknowledged_dns_name_is_removed(poppy):
    service_id = poppy.create(domain="a.example.com")
    name = "b.example.com.cdn.example.net"

    def applied_but_lost():
        poppy.dns.cnames[name] = "x"
        raise errors.PermanentError("the reply was lost")

    with poppy.working():
        poppy.settle(service_id)
        poppy.dns.script = [applied_but_lost]
        patch = [{"op": "add", "path": "/domains/-", "value": {"domain": "b.example.com"}}]
        poppy.services.update(PROJECT, service_id, patch, None)
        assert poppy.settle(service_id).status is Status.FAILED
        poppy.services.update(PROJECT, service_id, [{"op": "remove", "path": "/domains/1"}], None)
        poppy.settle(service_id)
        assert name not in poppy.dns.cnames


def test_service_with_a_failed_delete_is_not_redeployed(poppy):
    service_id = poppy.create()
    with poppy.working():
        poppy.settle(service_id)
        poppy.cdn_a.script = [REFUSED]
        poppy.services.delete(PROJECT, service_id, None)
        assert poppy.settle(service_id).status is Status.FAILED
        with pytest.raises(errors.ServiceBusy):
            poppy.services.redeploy(PROJECT, service_id, None)


def test_unexpected_error_does_not_end_the_dispatcher(poppy, monkeypatch):
    due = poppy.storage.operations.due
    calls = []

    def broken(now, limit, had):
        calls.append(now)
        if len(calls) < 3:
            raise ValueError("a row of a newer version")
        return due(now, limit, had)

    monkeypatch.setattr(poppy.storage.operations, "due", broken)
    poppy.cdn_a.script = [LATER]
    service_id = poppy.create()
    with poppy.working():
        assert poppy.settle(service_id).status is Status.DEPLOYED
    assert len(calls) > 3
