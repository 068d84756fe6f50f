# SPDX-License-Identifier: Apache-2.0
"""One tenant's failures and a provider's absurd waits do not affect other tenants."""

import dataclasses
import datetime

import pytest

from poppy.common import errors
from poppy.model.membership import Breaker, BreakerState
from poppy.model.operations import State
from poppy.model.services import Status
from poppy.provider.base import Deployment
from poppy.testing.builders import make_flavor
from tests.functional.commands import listed
from tests.functional.harness import PROJECT, Harness, Hold

WHOLE = errors.Scope.PROVIDER


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


class TestTenantIsolation:
    """Failures of tenant A neither delay tenant B nor appear in B's errors."""

    def create(self, poppy, project, domain, **changes):
        document = poppy.document(domain=domain, **changes)
        return poppy.services.create(project, document, "req")

    @pytest.mark.parametrize(
        "error",
        [
            errors.RetryableError("The origin secret.example.org can't be resolved", 60),
            errors.RetryableError("Too many requests for service x", 315360000),
            # This also holds if the driver attributes the failure to the provider.
            errors.RetryableError("500: secret.example.org", scope=WHOLE),
        ],
    )
    def test_failures_of_one_tenant_do_not_affect_another(self, make, error):
        poppy = make(retry_base=30, retry_ceiling=30)

        def ensure(service, known):
            if service.project_id == "a":
                raise error
            return type(poppy.cdn_a).ensure(poppy.cdn_a, service, known)

        poppy.cdn_a.ensure = ensure
        first = self.create(poppy, "b", "first.example.com")
        with poppy.working():
            assert poppy.settle(first, "b").status is Status.DEPLOYED
            theirs = [self.create(poppy, "a", f"n{number}.example.com") for number in range(15)]
            for service_id in theirs:
                poppy.wait(lambda: poppy.operations(service_id, "a")[0].failures)  # noqa: B023
            ours = self.create(poppy, "b", "b.example.com")
            assert poppy.settle(ours, "b").status is Status.DEPLOYED
        (operation,) = poppy.operations(ours, "b")
        assert operation.attempt == 1
        assert "secret" not in str(operation)
        assert poppy.storage.membership.breakers() == []


class TestAbsurdWaits:
    """A provider's wait must not park an operation for years; see also tests/security."""

    ABSURD = (315360000, 99999999999, 10**400, float("inf"), float("nan"), -5, "3600")

    def is_within_the_bound(self, operation):
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3601)
        return operation.state.finished or operation.next_attempt_at <= end

    @pytest.mark.parametrize("seconds", ABSURD)
    @pytest.mark.parametrize("scope", list(errors.Scope))
    def test_operation_is_retried_within_the_bound(self, make, seconds, scope):
        poppy = make()
        error = errors.RetryableError("429", retry_after=seconds, scope=scope)
        # With an invalid wait, the call is repeated at once.
        poppy.cdn_a.script = [error] * 3
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.operations(service_id)[0].failures)
        (operation,) = poppy.operations(service_id)
        assert self.is_within_the_bound(operation)
        for breaker in poppy.storage.membership.breakers():
            left = breaker.until - datetime.datetime.now(datetime.UTC)
            assert left <= datetime.timedelta(minutes=5)

    @pytest.mark.parametrize("seconds", ABSURD)
    def test_pending_provider_is_polled_within_the_bound(self, make, seconds):
        poppy = make()
        answer = Deployment("p", {"www.example.com": "x.example"}, True, seconds)
        poppy.cdn_a.script = [answer]
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.operations(service_id)[0].steps)
        (operation,) = poppy.operations(service_id)
        assert self.is_within_the_bound(operation)

    @pytest.mark.parametrize("scope", list(errors.Scope))
    def test_wait_does_not_exceed_the_operations_max_age(self, make, scope):
        poppy = make(max_age=2)
        error = errors.RetryableError("come back in ten years", 315360000, scope=scope)
        poppy.cdn_a.script = [error] * 1000
        service_id = poppy.create()
        with poppy.working():
            assert poppy.settle(service_id).status is Status.FAILED
        (operation,) = poppy.operations(service_id)
        assert operation.error.startswith("provider:cdn-a: gave up after")

    def park_for_ever(self, poppy, service_id):
        """Park an operation for centuries, as an earlier version could."""
        poppy.cdn_a.script = [errors.RetryableError("429", retry_after=3000)]
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(service_id))
        operation = poppy.operations(service_id)[-1]
        far = datetime.datetime(5195, 1, 1, tzinfo=datetime.UTC)
        now = datetime.datetime.now(datetime.UTC)
        assert poppy.storage.operations.requeue(operation, now)
        run = poppy.storage.operations.begin(operation.key, "earlier version", now, far)
        parked = dataclasses.replace(run.operation, state=State.WAITING, next_attempt_at=far)
        poppy.storage.operations.save(parked, None)
        opened = Breaker("provider:cdn-a").next(state=BreakerState.OPEN, until=far, reason="429")
        assert poppy.storage.membership.swap(opened)

    def test_operation_parked_by_an_earlier_version_ends_at_max_age(self, make):
        poppy = make(max_age=5)
        service_id = poppy.create()
        self.park_for_ever(poppy, service_id)
        with poppy.working():
            assert poppy.settle(service_id).status in (Status.DEPLOYED, Status.FAILED)

    def test_parked_operation_is_resumed_by_cancel_and_retry(self, make):
        poppy = make()
        service_id = poppy.create()
        self.park_for_ever(poppy, service_id)
        key = poppy.operations(service_id)[0].key
        poppy.boot.manager.operations.cancel(key)
        poppy.boot.manager.operations.retry(key)
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED

    def test_parked_operation_is_resumed_by_wake(self, make):
        poppy = make()
        service_id = poppy.create()
        self.park_for_ever(poppy, service_id)
        assert poppy.boot.manager.operations.wake("cdn-b") == 0
        assert poppy.boot.manager.operations.wake("cdn-a") == 1
        with poppy.working():
            assert poppy.settle(service_id).status is Status.DEPLOYED

    def test_parked_operation_is_superseded_by_a_delete(self, make):
        poppy = make()
        service_id = poppy.create()
        self.park_for_ever(poppy, service_id)
        poppy.services.delete(PROJECT, service_id, None)
        with poppy.working():
            assert poppy.settle(service_id) is None


class TestHungProvider:
    def test_bulkhead_keeps_slots_for_other_drivers(self, make):
        poppy, hold = make(), Hold()
        poppy.boot.manager.services._default_limit = 100
        poppy.storage.flavors.create(make_flavor("other", ["cdn-b"]))
        poppy.cdn_a.script = [hold] * 40
        for number in range(30):
            poppy.create(domain=f"n{number}.example.com")
        with poppy.working():
            poppy.wait(lambda: len(poppy.cdn_a.calls) == 8)
            others = [
                poppy.create(domain=f"b{number}.example.com", flavor_id="other")
                for number in range(3)
            ]
            for service_id in others:
                assert poppy.settle(service_id).status is Status.DEPLOYED
            assert len(poppy.cdn_a.calls) == 8, "ten slots, one of each other driver's own"
            hold.go.set()

    def test_timeout_is_not_retried_at_once(self, make):
        poppy = make(retry_base=30, retry_ceiling=30)
        poppy.cdn_a.script = [errors.TimedOut("no answer")] * 3
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.operations(service_id)[0].failures)
        assert poppy.cdn_a.calls == ["ensure"]


class TestCommands:
    """See the fixtures ``poppy`` and ``run``."""

    def open(self, poppy):
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=4)
        opened = Breaker("provider:cdn-a").next(
            state=BreakerState.OPEN, until=until, openings=3, reason="429"
        )
        assert poppy.storage.membership.swap(opened)

    def test_breakers_are_listed_with_their_reason(self, poppy, run):
        self.open(poppy)
        found = {it["driver"]: it for it in listed(run, "breakers", "list")}
        assert set(found) == {"provider:cdn-a", "provider:cdn-b", "dns:scripted"}
        assert found["provider:cdn-b"]["state"] == "closed"
        opened = found["provider:cdn-a"]
        assert (opened["state"], opened["reason"], opened["openings"]) == ("open", "429", 3)

    @pytest.mark.parametrize("name", [(), ("cdn-a",), ("provider:cdn-a",)])
    def test_breaker_is_reset(self, poppy, run, name):
        self.open(poppy)
        said = run("breakers", "reset", *name)
        assert said == "The breaker of provider:cdn-a is closed.\n"
        (breaker,) = poppy.storage.membership.breakers()
        assert (breaker.state, breaker.openings) == (BreakerState.CLOSED, 0)

    def test_other_breakers_are_not_reset(self, poppy, run):
        self.open(poppy)
        assert run("breakers", "reset", "cdn-b") == ""
        assert poppy.storage.membership.breakers()[0].state is BreakerState.OPEN

    def test_unknown_driver_is_refused(self, poppy, run):
        with pytest.raises(errors.InvalidRequest, match="no driver 'fasty'"):
            run("breakers", "reset", "fasty")

    def test_parked_operations_are_woken(self, poppy, run):
        poppy.cdn_a.script = [errors.RetryableError("429", retry_after=3000)]
        service_id = poppy.create()
        with poppy.working():
            poppy.wait(lambda: poppy.is_waiting(service_id))
            said = run("operations", "wake", "--provider", "cdn-a")
            assert said == "1 waiting operations are due now.\n"
            assert poppy.settle(service_id).status is Status.DEPLOYED
