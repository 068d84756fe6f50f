# SPDX-License-Identifier: Apache-2.0
"""Rate limiter, bulkhead and circuit breaker of several workers with one store."""

import contextlib
import datetime
import random
import threading
import time

import pytest

from poppy.common import errors
from poppy.common.limits import Limits
from poppy.distributed_task.throttling import (
    BreakerCache,
    Deferred,
    Slots,
    Subject,
    Throttle,
    breaker,
    rate,
)
from poppy.model.membership import Breaker, BreakerState

WHOLE = errors.Scope.PROVIDER
DOWN = errors.RetryableError("down", scope=WHOLE)
ASKED = errors.RetryableError("too many requests", retry_after=120, scope=WHOLE)
DRIVER = "provider:mock"


class Store:
    """Breakers in memory."""

    def __init__(self):
        self.rows = {}
        self.reads = 0
        self.writes = 0
        self.away = False

    def breakers(self):
        if self.away:
            raise errors.Unavailable("away")
        self.reads += 1
        return list(self.rows.values())

    def swap(self, breaker):
        if self.away:
            raise errors.Unavailable("away")
        stored = self.rows.get(breaker.driver, Breaker(breaker.driver))
        if stored.version != breaker.version - 1:
            return False
        self.writes += 1
        self.rows[breaker.driver] = breaker
        return True


class Clock:
    """Both clocks, set by hand."""

    def __init__(self, monkeypatch):
        self.seconds = 1000.0
        self._start = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
        monkeypatch.setattr(breaker, "now_utc", self.now)
        monkeypatch.setattr(rate.time, "sleep", self.sleep)
        self.slept = 0.0

    def __call__(self):
        return self.seconds

    def now(self):
        return self._start + datetime.timedelta(seconds=self.seconds)

    def sleep(self, seconds):
        self.slept += seconds
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def make(clock, store):
    """A function that creates the throttle of another worker on the same store."""

    def make(workers=1, **limits):
        values = Limits(**limits)
        cache = BreakerCache(store, clock)
        return Throttle(DRIVER, lambda: values, cache, lambda: workers, clock=clock)

    return make


def passing(gate, service="s", project="p"):
    return gate.passing(Subject(project, service))


def call(gate, service="s", error=None, project="p"):
    """Make a call that takes no time."""
    with passing(gate, service, project):
        if error is not None:
            raise error


def fail(gate, service="s", error=DOWN, project="p"):
    with pytest.raises(type(error)):
        call(gate, service, error, project)


def refused(gate, project="p", service="s"):
    """Make a call that is deferred, and return the seconds until its retry."""
    with pytest.raises(Deferred) as caught:
        call(gate, service, project=project)
    return caught.value.seconds


class TestRate:
    def test_calls_are_unlimited_without_a_rate(self, make):
        gate = make()
        for _ in range(1000):
            call(gate)

    def test_a_burst_passes_and_then_one_call_per_token(self, make, clock):
        gate = make(rate=2, burst=3)
        for _ in range(3):
            call(gate)
        refused(gate)
        clock.seconds += 0.5
        call(gate)
        refused(gate)
        clock.seconds += 100
        for _ in range(3):
            call(gate)
        refused(gate)

    def test_a_short_wait_happens_in_place(self, make, clock):
        gate = make(rate=20, burst=1)
        for _ in range(5):
            call(gate)
        assert clock.slept == pytest.approx(0.2)

    def test_deferred_calls_are_spread_by_the_rate(self, make):
        gate = make(rate=2, burst=1)
        call(gate)
        waits = [refused(gate) for _ in range(10)]
        for number, seconds in enumerate(waits, start=1):
            assert number * 0.5 <= seconds <= (number + 1) * 0.5

    def test_a_projects_deferred_calls_do_not_delay_another_project(self, make):
        gate = make(rate=2, burst=1)
        call(gate)
        waits = [refused(gate, "hostile") for _ in range(100)]
        assert max(waits) > 45
        assert refused(gate, "victim") <= 3 * 0.5

    def test_workers_share_a_rate(self, make, clock):
        workers = [make(workers=4, rate=4, burst=4) for _ in range(4)]
        for gate in workers:
            call(gate)
            refused(gate)
        passed = 0
        for _ in range(40):
            clock.seconds += 0.25
            for gate in workers:
                try:
                    call(gate)
                except Deferred:
                    continue
                passed += 1
        assert passed == pytest.approx(40, abs=4), "four per second for ten seconds"


class TestConcurrency:
    def test_concurrent_calls_are_limited(self, make):
        gate = make(concurrent=2)
        with passing(gate, "a"), passing(gate, "b"):
            assert refused(gate) > 0
        call(gate)

    def test_workers_share_the_limit_and_each_may_make_one_call(self, make):
        with passing(make(workers=2, concurrent=2), "a"):
            pass
        gate = make(workers=5, concurrent=2)
        with passing(gate, "a"):
            refused(gate)

    def test_a_failed_call_no_longer_counts(self, make):
        gate = make(concurrent=1)
        for error in (DOWN, errors.PermanentError("no"), KeyError("bug")):
            fail(gate, error=error)
        call(gate)


class TestBreaker:
    def test_it_opens_when_several_services_fail_in_a_row(self, make, store):
        gate = make(failures=3, pause=30)
        for subject in "ab":
            fail(gate, subject)
        call(gate)
        for subject in "cde":
            fail(gate, subject)
        assert 30 <= refused(gate) <= 45
        assert store.rows[DRIVER].state is BreakerState.OPEN
        assert "down" in store.rows[DRIVER].reason

    def test_one_service_alone_does_not_open_it(self, make):
        gate = make(failures=3)
        for _ in range(10):
            fail(gate, "the same")
        call(gate)

    def test_a_permanent_error_counts_as_an_answer(self, make):
        gate = make(failures=2)
        for subject in "abcd":
            fail(gate, subject)
            fail(gate, subject, errors.PermanentError("no"))
        call(gate)

    def test_a_long_retry_after_opens_it_at_once_for_that_time(self, make):
        gate = make()
        fail(gate, error=ASKED)
        assert 120 <= refused(gate) <= 180

    def test_a_short_retry_after_does_not_open_it(self, make):
        gate = make()
        fail(gate, error=errors.RetryableError("a moment", retry_after=1, scope=WHOLE))
        call(gate)

    def test_other_workers_see_it_open_within_a_second(self, make, clock):
        one, other = make(), make()
        call(other)
        fail(one, error=ASKED)
        clock.seconds += 1
        refused(other)

    def test_deferred_calls_return_at_different_times_and_never_early(self, make):
        gate = make()
        fail(gate, error=ASKED)
        waits = [refused(gate) for _ in range(50)]
        assert min(waits) >= 120
        assert max(waits) - min(waits) > 20

    def test_a_refused_call_uses_no_token(self, make, clock):
        gate = make(failures=1, pause=10, rate=0.1, burst=2)
        fail(gate)
        for _ in range(3):
            with pytest.raises(Deferred, match="not answering at present"):
                call(gate)
        clock.seconds += 10
        call(gate)
        call(gate)
        with pytest.raises(Deferred, match="calls per second"):
            call(gate)

    def test_a_successful_probe_closes_it_for_all_workers(self, make, store, clock):
        one, other = make(), make()
        fail(one, error=ASKED)
        clock.seconds += 121
        with passing(one, "probe"):
            assert store.rows[DRIVER].state is BreakerState.PROBING
            clock.seconds += 1
            assert refused(other) < 3, "its outcome is known soon"
            refused(one)
        call(one)
        clock.seconds += 1
        call(other)
        assert store.rows[DRIVER].state is BreakerState.CLOSED

    def test_only_one_of_several_workers_probes(self, make, clock):
        workers = [make() for _ in range(5)]
        fail(workers[0], error=ASKED)
        clock.seconds += 121
        let_through = 0
        barrier = threading.Barrier(5, timeout=5)

        def attempt(gate):
            nonlocal let_through
            barrier.wait()
            try:
                with passing(gate, "s"):
                    let_through += 1
                    threading.Event().wait(0.1)
            except Deferred:
                pass

        threads = [threading.Thread(target=attempt, args=(gate,)) for gate in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert let_through == 1

    def test_it_stays_open_longer_after_each_failed_probe(self, make, clock):
        gate = make(failures=1, pause=10)
        fail(gate)
        for expected in (10, 20, 40, 80, 160, 300, 300):
            seconds = refused(gate)
            assert expected <= seconds <= expected + min(expected / 2, 60)
            clock.seconds += expected + 1
            fail(gate)

    def test_a_lost_probe_is_followed_by_another(self, make, clock):
        one, other = make(), make()
        fail(one, error=ASKED)
        clock.seconds += 121
        lost = passing(one, "of a worker that dies")
        lost.__enter__()
        clock.seconds += breaker.PROBE + 1
        call(other)
        call(other)

    def test_a_bug_in_the_driver_neither_opens_nor_closes_it(self, make, store, clock):
        gate = make(failures=2)
        for subject in "abcd":
            fail(gate, subject, KeyError("bug"))
        call(gate)
        fail(gate, error=ASKED)
        clock.seconds += 121
        fail(gate, error=KeyError("bug"))
        assert store.rows[DRIVER].state is BreakerState.OPEN

    def test_it_can_be_disabled(self, make):
        gate = make(failures=0)
        for number in range(20):
            fail(gate, str(number), ASKED)
        call(gate)

    def test_it_costs_a_read_per_second_and_a_write_per_change(self, make, store, clock):
        gate = make()
        for _ in range(100):
            call(gate)
            clock.seconds += 0.01
        assert store.reads <= 2
        assert store.writes == 0
        fail(gate, error=ASKED)
        for _ in range(100):
            refused(gate)
        assert store.writes == 1

    def test_the_last_known_state_counts_during_a_storage_outage(self, make, store, clock):
        gate = make()
        store.away = True
        call(gate)
        store.away = False
        clock.seconds += 1
        fail(gate, error=ASKED)
        store.away = True
        clock.seconds += 5
        refused(gate)


class TestBreakerScope:
    def test_errors_of_service_scope_never_open_it(self, make, store):
        gate = make(failures=2)
        for number in range(20):
            fail(gate, str(number), errors.RetryableError("its origin", retry_after=60))
        call(gate)
        assert store.writes == 0

    def test_default_scopes_of_errors(self):
        assert errors.RetryableError("x").scope is errors.Scope.SERVICE
        assert errors.TimedOut("x").scope is errors.Scope.PROVIDER
        assert errors.Unauthorized("x").scope is errors.Scope.PROVIDER

    def test_failures_of_one_project_do_not_defer_the_others(self, make):
        gate = make(failures=3)
        call(gate, "fine", project="b")
        for number in range(20):
            fail(gate, str(number), project="a")
        call(gate, "fine", project="b")
        for number in range(3):
            fail(gate, str(number), project="a")
        fail(gate, "fine", project="b")
        assert refused(gate) > 0

    def test_projects_that_called_long_ago_do_not_count(self, make, clock):
        gate = make(failures=3)
        call(gate, project="b")
        clock.seconds += breaker.CALLER + 1
        for number in range(3):
            fail(gate, str(number), project="a")
        refused(gate)

    def test_a_probe_error_of_service_scope_does_not_reopen_it(self, make, store, clock):
        gate = make(failures=1, pause=10)
        fail(gate)
        clock.seconds += 11
        fail(gate, "mistyped", errors.RetryableError("its origin", retry_after=60))
        assert store.rows[DRIVER].openings == 1
        call(gate)
        assert store.rows[DRIVER].state is BreakerState.CLOSED

    def test_the_message_for_others_does_not_show_the_cause(self, make, store):
        gate = make(failures=1)
        fail(gate, error=errors.RetryableError("at secret.example.org", scope=WHOLE))
        with pytest.raises(Deferred) as caught:
            call(gate, "other")
        assert str(caught.value).startswith("provider mock is not answering at present; tried ag")
        assert "secret" not in str(caught.value)
        assert "secret.example.org" in store.rows[DRIVER].reason


class TestBreakerIsBounded:
    @pytest.mark.parametrize("seconds", [3600, 315360000, 99999999999, 1e300, 10**400])
    def test_it_lets_a_call_through_every_few_minutes(self, make, clock, seconds):
        gate = make()
        fail(gate, error=errors.RetryableError("x", retry_after=seconds, scope=WHOLE))
        assert refused(gate) <= 360
        clock.seconds += 301
        call(gate)

    @pytest.mark.parametrize("seconds", ["60", float("nan"), float("inf"), -5, True, object()])
    def test_an_invalid_retry_after_is_ignored(self, make, seconds):
        error = errors.RetryableError("x", scope=WHOLE)
        error.retry_after = seconds
        gate = make()
        fail(gate, error=error)
        call(gate)

    def test_an_absurd_stored_time_lets_a_call_through(self, make, store, clock):
        until = clock.now() + datetime.timedelta(days=3650)
        store.rows[DRIVER] = Breaker(DRIVER).next(state=BreakerState.OPEN, until=until, reason="x")
        call(make())
        assert store.rows[DRIVER].state is BreakerState.CLOSED

    def test_long_configured_pauses_are_bounded(self, make):
        gate = make(failures=1, pause=1e30)
        fail(gate)
        assert refused(gate) <= 360


class TestSlots:
    """Ten slots, three drivers: one reserved slot for each driver, seven shared."""

    DRIVERS = ("provider:a", "provider:b", "dns:c")

    def slots(self, total=10, **reserved):
        values = {it: Limits(reserved=reserved.get(it[-1])) for it in self.DRIVERS}
        return Slots(total, {it: lambda it=it: values[it] for it in self.DRIVERS})

    def fill(self, slots, driver, prefix="s"):
        """Take slots for a driver until none is left, and return their number."""
        number = 0
        while number < 100 and slots.take(driver, Subject("p", f"{prefix}{number}")):
            number += 1
        return number

    def test_a_hung_driver_leaves_a_slot_for_each_other_driver(self):
        slots = self.slots()
        assert self.fill(slots, "provider:a") == 8
        assert slots.take("provider:b", Subject("p", "b"))
        assert slots.take("dns:c", Subject("p", "c"))

    def test_two_hung_drivers_leave_a_slot_for_the_third(self):
        slots = self.slots()
        taken = self.fill(slots, "provider:a") + self.fill(slots, "provider:b", "b")
        assert taken == 9
        assert self.fill(slots, "dns:c", "c") == 1

    def test_a_finished_call_frees_its_slot(self):
        slots = self.slots()
        self.fill(slots, "provider:a")
        with slots.changed:
            slots.release("provider:a", Subject("p", "s0"))
        assert slots.take("provider:a", Subject("p", "another"))

    def test_an_operation_with_several_providers_holds_one_slot(self):
        slots = self.slots()
        for number in range(9):
            subject = Subject("p", str(number))
            assert slots.take("provider:a", subject)
            assert slots.take("provider:b", subject)

    def test_an_option_reserves_more_slots(self):
        assert self.fill(self.slots(b=4), "provider:a") == 5

    def test_reserved_slots_are_proportional_to_the_total(self):
        assert self.fill(self.slots(total=60), "provider:a") == 40

    @pytest.mark.parametrize("total", [1, 2, 3])
    def test_each_driver_may_make_one_call_with_few_slots(self, total):
        slots = self.slots(total)
        for driver in self.DRIVERS:
            assert slots.take(driver, Subject("p", driver))


def test_a_call_waits_in_place_for_a_slot_while_calls_are_quick():
    slots = Slots(1, {DRIVER: Limits})
    gate = Throttle(DRIVER, lambda: Limits(failures=0), None, lambda: 1, slots)
    call(gate)
    done = threading.Event()

    def hold():
        with passing(gate, "first"):
            begun.set()
            done.wait(5)

    begun = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(5)
    threading.Timer(0.02, done.set).start()
    for _ in range(50):
        try:
            call(gate, "second")
            break
        except Deferred:
            pass
    thread.join(5)
    assert done.is_set()


def test_calls_do_not_wait_in_place_for_a_hung_driver(make, clock):
    gate = make(concurrent=1)
    with passing(gate, "hangs"):
        clock.seconds += 20
        before = time.monotonic()
        assert 20 <= refused(gate) <= 61 + 20
        assert time.monotonic() - before < 5


def test_a_projects_calls_without_a_slot_do_not_delay_another(make, clock):
    gate = make(concurrent=1)
    with passing(gate, "running", "hostile"):
        clock.seconds += 2
        waits = [refused(gate, "hostile", f"s{n}") for n in range(40)]
        assert max(waits) > 35
        assert refused(gate, "victim") <= 8


@pytest.mark.parametrize("projects", [1, 2, 5])
def test_waiting_projects_share_a_driver(make, clock, projects):
    """All calls are retried when they are due; each project gets its share."""
    # The retries are spread at random; few sequences leave more turns unused than is allowed.
    random.seed(1)
    gate = make(rate=1, burst=1)
    call(gate, project="first")
    due = {(f"p{n}", call_): 0.0 for n in range(projects) for call_ in range(20 * (n + 1))}
    start, passed = clock.seconds, dict.fromkeys((f"p{n}" for n in range(projects)), 0)
    while clock.seconds - start < 60:
        clock.seconds += 0.1
        for (project, number), at in sorted(due.items(), key=lambda it: it[1]):
            if at > clock.seconds:
                break
            try:
                call(gate, str(number), project=project)
            except Deferred as exc:
                due[project, number] = clock.seconds + exc.seconds
            else:
                del due[project, number]
                passed[project] += 1
    share = min(20, 60 / projects)
    assert min(passed.values()) >= share / 4, passed
    assert sum(passed.values()) >= (20 if projects == 1 else 36), passed


@pytest.mark.parametrize("seed", range(10))
def test_a_flood_does_not_take_the_place_of_another_project(make, clock, seed):
    """One project has a call for each free moment; the other's only call is retried when due."""
    random.seed(seed)
    gate = make(concurrent=1)
    for _ in range(5):
        with passing(gate):
            clock.seconds += 2
    start = ends = clock.seconds
    due = {("flood", n): start for n in range(200)} | {("victim", 0): start + 5}
    with contextlib.ExitStack() as running:
        while ("victim", 0) in due:
            clock.seconds += 0.1
            assert clock.seconds < start + 10
            if clock.seconds >= ends:
                running.close()
            for key in sorted((it for it in due if due[it] <= clock.seconds), key=due.get)[:4]:
                try:
                    running.enter_context(passing(gate, f"s{key[1]}", key[0]))
                except Deferred as exc:
                    due[key] = clock.seconds + exc.seconds
                else:
                    del due[key]
                    ends = clock.seconds + 2
