# SPDX-License-Identifier: Apache-2.0
"""Rates, concurrency and circuit breakers, of several workers on one store."""

import datetime
import threading

import pytest

from poppy.common import errors
from poppy.common.limits import Limits
from poppy.distributed_task import gates
from poppy.distributed_task.breakers import Breakers
from poppy.distributed_task.gates import Gate, NotNow
from poppy.model.fleet import Breaker, BreakerState

DOWN = errors.RetryableError("down")
ASKED = errors.RetryableError("too many requests", retry_after=120)
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
        monkeypatch.setattr(gates, "_now", self.now)
        monkeypatch.setattr(gates.time, "sleep", self.sleep)
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
    """Makes the gate of another worker on the same store."""

    def make(workers=1, **limits):
        values = Limits(**limits)
        return Gate(DRIVER, lambda: values, Breakers(store, clock), lambda: workers, clock)

    return make


def call(gate, subject="s", error=None):
    """A call that takes no time."""
    with gate.passing(subject):
        if error is not None:
            raise error


def fail(gate, subject="s", error=DOWN):
    with pytest.raises(type(error)):
        call(gate, subject, error)


def refused(gate):
    """Seconds until it may be tried again."""
    with pytest.raises(NotNow) as caught:
        call(gate)
    return caught.value.seconds


class TestRate:
    def test_any_number_may_pass_without_a_limit(self, make):
        gate = make()
        for _ in range(1000):
            call(gate)

    def test_a_burst_may_pass_and_then_one_for_each_token(self, make, clock):
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

    def test_who_has_to_wait_a_moment_only_waits_in_place(self, make, clock):
        gate = make(rate=20, burst=1)
        for _ in range(5):
            call(gate)
        assert clock.slept == pytest.approx(0.2)

    def test_those_that_have_to_wait_are_spread_by_the_rate(self, make):
        gate = make(rate=2, burst=1)
        call(gate)
        waits = [refused(gate) for _ in range(10)]
        for number, seconds in enumerate(waits, start=1):
            assert number * 0.5 <= seconds <= (number + 1) * 0.5

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
                except NotNow:
                    continue
                passed += 1
        assert passed == pytest.approx(40, abs=4), "four per second for ten seconds"


class TestConcurrency:
    def test_so_many_may_be_under_way(self, make):
        gate = make(concurrent=2)
        with gate.passing("a"), gate.passing("b"):
            assert refused(gate) > 0
        call(gate)

    def test_workers_share_it_and_each_may_do_one(self, make):
        with make(workers=2, concurrent=2).passing("a"):
            pass
        gate = make(workers=5, concurrent=2)
        with gate.passing("a"):
            refused(gate)

    def test_a_call_that_fails_ends_as_well(self, make):
        gate = make(concurrent=1)
        for error in (DOWN, errors.PermanentError("no"), KeyError("bug")):
            fail(gate, error=error)
        call(gate)


class TestBreaker:
    def test_it_opens_when_so_many_services_fail_in_a_row(self, make, store):
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

    def test_a_refusal_is_an_answer(self, make):
        gate = make(failures=2)
        for subject in "abcd":
            fail(gate, subject)
            fail(gate, subject, errors.PermanentError("no"))
        call(gate)

    def test_it_opens_at_once_for_as_long_as_it_was_asked_to(self, make):
        gate = make()
        fail(gate, error=ASKED)
        assert 120 <= refused(gate) <= 180

    def test_a_short_wait_that_was_asked_for_concerns_nobody_else(self, make):
        gate = make()
        fail(gate, error=errors.RetryableError("a moment", retry_after=1))
        call(gate)

    def test_other_workers_know_within_a_second(self, make, clock):
        one, other = make(), make()
        call(other)
        fail(one, error=ASKED)
        clock.seconds += 1
        refused(other)

    def test_those_that_wait_come_back_at_different_times_and_never_early(self, make):
        gate = make()
        fail(gate, error=ASKED)
        waits = [refused(gate) for _ in range(50)]
        assert min(waits) >= 120
        assert max(waits) - min(waits) > 20

    def test_who_is_refused_keeps_no_token(self, make, clock):
        gate = make(failures=1, pause=10, rate=0.1, burst=2)
        fail(gate)
        for _ in range(3):
            with pytest.raises(NotNow, match="left alone"):
                call(gate)
        clock.seconds += 10
        call(gate)
        call(gate)
        with pytest.raises(NotNow, match="times per second"):
            call(gate)

    def test_one_is_let_through_and_closes_it_for_all(self, make, store, clock):
        one, other = make(), make()
        fail(one, error=ASKED)
        clock.seconds += 121
        with one.passing("probe"):
            assert store.rows[DRIVER].state is BreakerState.PROBING
            clock.seconds += 1
            assert refused(other) < 3, "its outcome is known soon"
            refused(one)
        call(one)
        clock.seconds += 1
        call(other)
        assert store.rows[DRIVER].state is BreakerState.CLOSED

    def test_of_several_workers_one_tries(self, make, clock):
        workers = [make() for _ in range(5)]
        fail(workers[0], error=ASKED)
        clock.seconds += 121
        let_through = 0
        barrier = threading.Barrier(5, timeout=5)

        def attempt(gate):
            nonlocal let_through
            barrier.wait()
            try:
                with gate.passing("s"):
                    let_through += 1
                    threading.Event().wait(0.1)
            except NotNow:
                pass

        threads = [threading.Thread(target=attempt, args=(gate,)) for gate in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert let_through == 1

    def test_it_stays_open_longer_each_time_that_fails(self, make, clock):
        gate = make(failures=1, pause=10)
        fail(gate)
        for expected in (10, 20, 40, 80, 160, 320, 600, 600):
            seconds = refused(gate)
            assert expected <= seconds <= 1.5 * expected
            clock.seconds += expected + 1
            fail(gate)

    def test_a_probe_that_is_lost_is_followed_by_another(self, make, clock):
        one, other = make(), make()
        fail(one, error=ASKED)
        clock.seconds += 121
        lost = one.passing("of a worker that dies")
        lost.__enter__()
        clock.seconds += gates.PROBE + 1
        call(other)
        call(other)

    def test_a_bug_in_the_driver_says_nothing(self, make, store, clock):
        gate = make(failures=2)
        for subject in "abcd":
            fail(gate, subject, KeyError("bug"))
        call(gate)
        fail(gate, error=ASKED)
        clock.seconds += 121
        fail(gate, error=KeyError("bug"))
        assert store.rows[DRIVER].state is BreakerState.OPEN

    def test_it_can_be_switched_off(self, make):
        gate = make(failures=0)
        for number in range(20):
            fail(gate, str(number), ASKED)
        call(gate)

    def test_it_costs_a_read_per_second_and_writes_only_when_it_changes(self, make, store, clock):
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

    def test_without_storage_what_was_known_counts(self, make, store, clock):
        gate = make()
        store.away = True
        call(gate)
        store.away = False
        clock.seconds += 1
        fail(gate, error=ASKED)
        store.away = True
        clock.seconds += 5
        refused(gate)
