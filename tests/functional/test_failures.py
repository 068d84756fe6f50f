# SPDX-License-Identifier: Apache-2.0
"""Operations are never lost, duplicated or stuck, with a real store, job board and worker."""

import datetime
import threading

import pytest

from poppy.common import errors
from poppy.model.membership import BreakerState
from poppy.model.operations import Purge, State
from poppy.model.services import Status
from poppy.testing.builders import make_flavor
from tests.functional.harness import PROJECT, Harness, Hold

WHOLE = errors.Scope.PROVIDER
DOWN = errors.RetryableError("the provider is down", scope=WHOLE)
LATER = errors.RetryableError("the provider limits our rate", retry_after=30, scope=WHOLE)


@pytest.fixture
def make(tmp_path):
    """Make a Poppy with options."""
    made = []

    def make(**options):
        made.append(Harness(tmp_path, **options))
        return made[-1]

    yield make
    for it in made:
        it.close()


class TestDeleteDuringRun:
    @pytest.mark.parametrize("where", ["cdn_a", "dns"])
    def test_delete_waits_for_the_running_call(self, make, where):
        poppy, hold = make(), Hold()
        getattr(poppy, where).script = [hold]
        service_id = poppy.create()
        with poppy.working():
            assert hold.begun.wait(10)
            poppy.services.delete(PROJECT, service_id, None)
            # Longer than the dispatcher takes.
            threading.Event().wait(0.5)
            assert poppy.states(service_id) == [("create", "superseded"), ("delete", "queued")]
            assert "remove" not in poppy.cdn_a.calls
            hold.go.set()
            assert poppy.settle(service_id) is None
        assert poppy.states(service_id) == [("create", "superseded"), ("delete", "succeeded")]
        assert poppy.cdn_a.objects == {}
        assert poppy.dns.cnames == {}
        assert poppy.cdn_a.calls == ["ensure", "remove"], "it is cleaned up once"

    def test_delete_begins_as_soon_as_the_run_ends(self, make):
        poppy, hold = make(run_lease=900, redelivery=600), Hold()
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()

        def is_deferred():
            delete = poppy.operations(service_id)[-1]
            return (delete.next_attempt_at - delete.created_at).total_seconds() > 700

        with poppy.working():
            assert hold.begun.wait(10)
            poppy.services.delete(PROJECT, service_id, None)
            # The job of the delete is claimed, is deferred and leaves the board.
            poppy.wait(is_deferred)
            hold.go.set()
            assert poppy.settle(service_id) is None

    def test_delete_begins_after_the_lease_of_a_lost_worker(self, make):
        poppy = make()
        service_id = poppy.create()
        key = poppy.operations(service_id)[0].key
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(seconds=1)
        poppy.storage.operations.begin(key, "of a worker that is gone", now, until)
        poppy.services.delete(PROJECT, service_id, None)
        with poppy.working():
            assert poppy.settle(service_id) is None
        assert datetime.datetime.now(datetime.UTC) >= until

    def test_lease_is_renewed_only_in_long_runs(self, make, monkeypatch):
        poppy, hold = make(run_lease=2.5), Hold()
        signs, renew = [], poppy.storage.operations.renew

        def noted(*arguments):
            signs.append(arguments)
            return renew(*arguments)

        monkeypatch.setattr(poppy.storage.operations, "renew", noted)
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working() as worker:
            assert hold.begun.wait(10)
            worker._conductor.renew_runs()
            assert signs == [], "it has been heard of just now"
            # The lease is renewed after each fifth of its duration.
            poppy.wait(lambda: len(signs) >= 3)
            hold.go.set()
            assert poppy.settle(service_id).status is Status.DEPLOYED
        (operation,) = poppy.operations(service_id)
        assert (operation.attempt, operation.crashes) == (1, 0)

    def test_lease_is_renewed_during_a_call(self, make):
        poppy, hold = make(run_lease=1), Hold()
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working():
            assert hold.begun.wait(10)
            poppy.services.delete(PROJECT, service_id, None)
            threading.Event().wait(2.5)
            assert poppy.states(service_id)[-1] == ("delete", "queued")
            hold.go.set()
            assert poppy.settle(service_id) is None
        assert poppy.cdn_a.objects == {}

    @pytest.mark.parametrize("where", ["cdn_a", "dns"])
    def test_run_that_lost_its_lease_compensates_after_the_delete(self, make, where):
        poppy, hold = make(run_lease=1), Hold()
        getattr(poppy, where).script = [hold]
        service_id = poppy.create()
        with poppy.working() as worker:
            # Simulate a worker that cannot reach the store.
            worker._conductor.renew_runs = lambda: None
            assert hold.begun.wait(10)
            poppy.services.delete(PROJECT, service_id, None)
            assert poppy.settle(service_id) is None
            removals = poppy.dns.removals + poppy.cdn_a.calls.count("remove")
            hold.go.set()
            poppy.wait(lambda: poppy.dns.removals + poppy.cdn_a.calls.count("remove") > removals)
            poppy.wait(lambda: not poppy.cdn_a.objects and not poppy.dns.cnames)


class TestJobThatCrashesWorkers:
    def lose_runs(self, poppy, service_id, times):
        key = poppy.operations(service_id)[-1].key
        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
        for number in range(times):
            poppy.storage.operations.begin(key, f"killed-{number}", past, past)

    def test_job_is_set_aside_with_the_reason(self, make):
        poppy = make(max_crashes=3)
        service_id = poppy.create()
        self.lose_runs(poppy, service_id, 3)
        with poppy.working():
            service = poppy.settle(service_id)
        assert service.status is Status.FAILED
        (operation,) = poppy.operations(service_id)
        assert operation.state is State.FAILED
        assert operation.error.startswith("set aside: 3 times in a row its worker died")
        assert service.errors == (operation.error,)
        assert poppy.cdn_a.calls == []

    def test_fewer_crashes_than_the_limit_are_tolerated(self, make):
        poppy = make(max_crashes=3)
        service_id = poppy.create()
        self.lose_runs(poppy, service_id, 2)
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED

    def test_delete_that_was_set_aside_can_be_repeated(self, make):
        poppy = make(max_crashes=2)
        service_id = poppy.create()
        with poppy.working():
            poppy.settle(service_id)
        poppy.services.delete(PROJECT, service_id, None)
        self.lose_runs(poppy, service_id, 2)
        with poppy.working():
            assert poppy.settle(service_id).status is Status.FAILED
            poppy.services.delete(PROJECT, service_id, None)
            assert poppy.settle(service_id) is None

    def test_purge_that_was_set_aside_leaves_the_service_deployed(self, make):
        poppy = make(max_crashes=2)
        service_id = poppy.create()
        with poppy.working():
            poppy.settle(service_id)
        poppy.services.purge(PROJECT, service_id, Purge(None, True), None)
        self.lose_runs(poppy, service_id, 2)
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED
        assert "set aside" in poppy.operations(service_id)[-1].error

    def test_later_operations_of_the_service_still_run(self, make):
        poppy = make(max_crashes=2)
        service_id = poppy.create()
        with poppy.working():
            poppy.settle(service_id)
        poppy.services.purge(PROJECT, service_id, Purge("/a", True), None)
        self.lose_runs(poppy, service_id, 2)
        poppy.services.purge(PROJECT, service_id, Purge("/b", True), None)
        with poppy.working():
            poppy.settle(service_id)
        assert poppy.cdn_a.purges == [Purge("/b", True)]


class TestHungCall:
    def test_hung_call_frees_its_slot_and_is_retried(self, make):
        poppy, hold = make(step_timeout=0.3, concurrency=1), Hold()
        poppy.storage.flavors.create(make_flavor("other", ["cdn-b"]))
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working():
            assert hold.begun.wait(10)
            other = poppy.create(domain="other.example.com", flavor_id="other")
            assert poppy.settle(other).status is Status.DEPLOYED
            assert poppy.settle(service_id).status is Status.DEPLOYED
            (operation,) = poppy.operations(service_id)
            assert (operation.attempt, operation.failures) == (2, 1)
            hold.go.set()

    def test_reason_is_the_timeout(self, make):
        poppy, hold = make(step_timeout=0.3, retry_base=30, retry_ceiling=30), Hold()
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(service_id))
            hold.go.set()
        assert poppy.operations(service_id)[0].error == "provider:cdn-a: no answer within 0.3 s"

    @pytest.mark.parametrize("where", ["cdn_a", "dns"])
    def test_late_effect_is_undone_after_a_delete(self, make, where):
        poppy, hold = make(step_timeout=0.3, retry_base=30, retry_ceiling=30), Hold()
        getattr(poppy, where).script = [hold]
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(service_id))
            poppy.services.delete(PROJECT, service_id, None)
            assert poppy.settle(service_id) is None
            before = len(poppy.cdn_a.calls) + poppy.dns.removals
            hold.go.set()
            poppy.wait(lambda: len(poppy.cdn_a.calls) + poppy.dns.removals > before)
            poppy.wait(lambda: not poppy.cdn_a.objects and not poppy.dns.cnames)

    @pytest.mark.parametrize("call", ["ensure", "remove"])
    def test_late_effect_is_undone_for_the_next_service_of_the_domain(self, make, call):
        poppy, hold = make(step_timeout=0.3), Hold()
        if call == "ensure":
            poppy.dns.script = [hold]
        service_id = poppy.create()
        with poppy.working():
            if call == "ensure":
                poppy.wait(lambda: poppy.is_waiting(service_id))
            else:
                poppy.settle(service_id)
                poppy.dns.script = [hold]
            poppy.services.delete(PROJECT, service_id, None)
            assert poppy.settle(service_id) is None
            poppy.cdn_a.suffix = "next.example"
            following = poppy.create()
            poppy.settle(following)
            expected = dict(poppy.dns.cnames)
            hold.go.set()
            poppy.wait(lambda: len(poppy.operations(following)) == 2)
            assert poppy.settle(following).status is Status.DEPLOYED
            assert poppy.dns.cnames == expected
            assert [it.request_id for it in poppy.operations(following)] == ["req-1", None]

    def test_late_effect_is_undone_after_a_newer_change(self, make):
        poppy, hold = make(step_timeout=0.3), Hold()
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED
            patch = [{"op": "replace", "path": "/name", "value": "newer"}]
            poppy.services.update(PROJECT, service_id, patch, None)
            poppy.settle(service_id)
            hold.go.set()
            poppy.wait(lambda: len(poppy.operations(service_id)) == 3)
            service = poppy.settle(service_id)
        assert service.status is Status.DEPLOYED
        assert poppy.cdn_a.objects[service_id] == service.spec

    def test_late_failure_is_not_retried_by_the_hung_call(self, make):
        poppy, go = make(step_timeout=0.3), threading.Event()

        def hang_and_fail():
            go.wait(10)
            raise errors.RetryableError("too late")

        poppy.cdn_a.script = [hang_and_fail]
        service_id = poppy.create()
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED
            calls = len(poppy.cdn_a.calls)
            go.set()
            poppy.wait(lambda: len(poppy.operations(service_id)) == 2)
            poppy.settle(service_id)
            # One by the update that compensates for the late call; none by the call itself.
            assert len(poppy.cdn_a.calls) == calls + 1

    def test_too_many_hung_calls_end_the_worker(self, make):
        poppy, hold = make(step_timeout=0.2, max_hung_calls=2), Hold()
        poppy.cdn_a.script = [hold] * 2
        ids = [poppy.create(domain=f"n{number}.example.com") for number in range(2)]
        worker = poppy.boot.worker()
        thread = threading.Thread(target=worker.run)
        thread.start()
        thread.join(timeout=15)
        assert not thread.is_alive(), "it has ended by itself"
        hold.go.set()
        with poppy.working():
            for service_id in ids:
                assert poppy.settle(service_id).status is Status.DEPLOYED


class TestStop:
    def test_running_operation_is_finished(self, make):
        poppy, hold = make(shutdown_grace=20), Hold()
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working() as worker:
            assert hold.begun.wait(10)
            worker.stop()
            hold.go.set()
        assert poppy.get(service_id).status is Status.DEPLOYED

    def test_no_new_operation_is_begun(self, make):
        poppy, hold = make(shutdown_grace=20, concurrency=1), Hold()
        poppy.cdn_a.script = [hold]
        poppy.create()
        with poppy.working() as worker:
            assert hold.begun.wait(10)
            other = poppy.create(domain="other.example.com")
            worker.stop()
            hold.go.set()
        assert poppy.states(other) == [("create", "queued")]

    def test_operation_is_handed_back_after_the_grace_period(self, make):
        poppy, hold = (
            make(shutdown_grace=0, run_lease=600, redelivery=600, claim_lease=600),
            Hold(),
        )
        poppy.cdn_a.script = [hold]
        service_id = poppy.create()
        with poppy.working() as worker:
            assert hold.begun.wait(10)
            worker.stop()
        (operation,) = poppy.operations(service_id)
        assert (operation.state, operation.crashes) == (State.QUEUED, 0)
        assert operation.next_attempt_at <= datetime.datetime.now(datetime.UTC)
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED
            hold.go.set()
        assert poppy.operations(service_id)[0].failures == 0

    def test_finished_steps_are_not_repeated(self, make):
        poppy, hold = make(shutdown_grace=0), Hold()
        poppy.dns.script = [hold]
        service_id = poppy.create()
        with poppy.working() as worker:
            assert hold.begun.wait(10)
            worker.stop()
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED
            hold.go.set()
        assert poppy.cdn_a.calls == ["ensure"]


class TestStorageOutage:
    def test_failed_save_does_not_count_as_a_crash(self, make, monkeypatch):
        poppy = make(max_crashes=1)
        save = poppy.storage.operations.save
        calls = []

        def broken(operation, details):
            calls.append(operation)
            if len(calls) == 1:
                raise errors.Unavailable("for a moment")
            return save(operation, details)

        monkeypatch.setattr(poppy.storage.operations, "save", broken)
        service_id = poppy.create()
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED

    def test_delete_ends_later_when_its_end_could_not_be_stored(self, make, monkeypatch):
        poppy = make(run_lease=1.0)
        service_id = poppy.create()
        with poppy.working() as worker:
            poppy.settle(service_id)
            remove = poppy.storage.operations.remove
            calls = []

            def broken(operation):
                calls.append(operation)
                if len(calls) == 1:
                    raise errors.Unavailable("for a moment")
                return remove(operation)

            monkeypatch.setattr(poppy.storage.operations, "remove", broken)
            poppy.services.delete(PROJECT, service_id, None)
            poppy.wait(lambda: calls)
            # Renew the lease, which is due, in the pause before the operation is handed back.
            threading.Event().wait(0.3)
            worker._conductor.renew_runs()
            assert poppy.settle(service_id) is None
        assert poppy.states(service_id)[-1] == ("delete", "succeeded")

    def test_outage_during_a_step_does_not_count_as_a_failure(self, make, monkeypatch):
        poppy = make(max_failures=1)
        service_id = poppy.create()
        poppy.services.delete(PROJECT, service_id, None)
        get = poppy.storage.domains.get
        calls = []

        def broken(domain):
            calls.append(domain)
            if len(calls) == 1:
                raise errors.Unavailable("for a moment")
            return get(domain)

        monkeypatch.setattr(poppy.storage.domains, "get", broken)
        with poppy.working():
            assert poppy.settle(service_id) is None
        assert len(calls) > 1
        assert poppy.states(service_id)[-1] == ("delete", "succeeded")


class TestBreaker:
    def test_retry_after_of_a_provider_defers_all_its_services(self, make):
        poppy = make()
        poppy.cdn_a.script = [LATER]
        first = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(first))
            others = [poppy.create(domain=f"n{number}.example.com") for number in range(3)]
            for service_id in others:
                poppy.wait(lambda: poppy.is_waiting(service_id))  # noqa: B023
        assert poppy.cdn_a.calls == ["ensure"]
        for service_id in others:
            (operation,) = poppy.operations(service_id)
            assert operation.failures == 0
            assert "provider cdn-a is not answering at present; tried again" in operation.error
            assert "limits our rate" not in operation.error

    def test_consecutive_failures_of_many_services_open_the_breaker(self, make):
        poppy = make(retry_base=30, retry_ceiling=30)
        poppy.boot.manager.services._default_limit = 100
        poppy.cdn_a.script = [DOWN] * 1000
        ids = [poppy.create(domain=f"n{number}.example.com") for number in range(30)]
        with poppy.working():
            for service_id in ids:
                poppy.wait(lambda: poppy.is_waiting(service_id))  # noqa: B023
        failed = [it for it in ids if poppy.operations(it)[0].failures]
        # Five failures open it; calls that are running at that time may fail as well.
        assert 5 <= len(failed) <= 15
        (breaker,) = poppy.storage.membership.breakers()
        assert (breaker.driver, breaker.state) == ("provider:cdn-a", BreakerState.OPEN)

    def test_failures_of_one_service_do_not_open_the_breaker(self, make):
        poppy = make(max_failures=20)
        poppy.cdn_a.script = [DOWN] * 30
        service_id = poppy.create()
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED
        assert poppy.storage.membership.breakers() == []

    def test_breaker_closes_after_a_successful_call(self, make):
        poppy = make()
        poppy.cdn_a.script = [errors.RetryableError("wait", retry_after=2.1, scope=WHOLE)]
        first = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(first))
            second = poppy.create(domain="b.example.com")
            for service_id in (first, second):
                assert poppy.settle(service_id).status is Status.DEPLOYED
        (breaker,) = poppy.storage.membership.breakers()
        assert (breaker.state, breaker.openings) == (BreakerState.CLOSED, 0)
        assert poppy.operations(second)[0].failures == 0

    def test_other_drivers_are_not_affected(self, make):
        poppy = make()
        poppy.storage.flavors.create(make_flavor("other", ["cdn-b"]))
        poppy.cdn_a.script = [LATER]
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(service_id))
            other = poppy.create(domain="b.example.com", flavor_id="other")
            assert poppy.settle(other).status is Status.DEPLOYED


def test_workers_are_listed_while_they_run(make):
    poppy = make(heartbeat_interval=0.1)
    long_ago = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    with poppy.working():
        poppy.wait(lambda: poppy.storage.membership.workers(long_ago))
        (worker,) = poppy.storage.membership.workers(long_ago)
        assert (worker.slots, worker.busy, worker.hung) == (10, 0, 0)
        poppy.wait(lambda: poppy.storage.membership.workers(long_ago)[0].seen_at > worker.seen_at)
    assert poppy.storage.membership.workers(long_ago) == []
