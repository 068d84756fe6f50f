# SPDX-License-Identifier: Apache-2.0
"""Which errors are retried, how often, and after how long."""

import dataclasses
import datetime
import random
import time

import pytest

from poppy.common import errors
from poppy.common.retry import RetryPolicy

QUICK = RetryPolicy(quick_attempts=3, quick_ceiling=0.01)


class Flaky:
    """Work that fails a number of times, then succeeds."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "answer"


def test_a_short_failure_is_retried_in_place():
    work = Flaky(2, errors.RetryableError("busy"))
    assert QUICK.call(work) == "answer"
    assert work.calls == 3


def test_a_lasting_error_is_raised_unchanged():
    error = errors.RetryableError("busy")
    work = Flaky(9, error)
    with pytest.raises(errors.RetryableError) as caught:
        QUICK.call(work)
    assert caught.value is error
    assert work.calls == 3


def test_refused_credentials_are_not_retried_at_once():
    work = Flaky(9, errors.Unauthorized("401"))
    with pytest.raises(errors.Unauthorized):
        QUICK.call(work)
    assert work.calls == 1


def test_may_repeat_can_prevent_a_retry():
    work, asked = Flaky(9, errors.RetryableError("busy")), []

    def may_repeat():
        asked.append(work.calls)
        if work.calls == 2:
            raise errors.Fenced("overtaken")

    with pytest.raises(errors.Fenced):
        QUICK.call(work, may_repeat)
    assert asked == [1, 2]
    assert work.calls == 2


@pytest.mark.parametrize(
    "error",
    [
        errors.PermanentError("no"),
        errors.RetryableError("later", retry_after=60),
        ValueError("a bug"),
    ],
)
def test_other_errors_are_not_retried_in_place(error):
    work = Flaky(9, error)
    with pytest.raises(type(error)):
        QUICK.call(work)
    assert work.calls == 1


def test_a_short_retry_after_is_retried_in_place():
    work = Flaky(1, errors.RetryableError("soon", retry_after=0.005))
    assert QUICK.call(work) == "answer"


def test_the_parked_wait_is_random_under_a_ceiling_that_doubles():
    policy = RetryPolicy(park_base=4, park_ceiling=100)
    for failures, ceiling in [(1, 4), (2, 8), (3, 16), (6, 100), (5000, 100)]:
        waits = [policy.parked_for(failures, None).total_seconds() for _ in range(200)]
        assert 0 <= min(waits) < 0.2 * ceiling
        assert 0.8 * ceiling < max(waits) <= ceiling


def test_the_parked_wait_is_at_least_retry_after():
    policy = RetryPolicy(park_base=4)
    waits = [policy.parked_for(3, 30).total_seconds() for _ in range(200)]
    assert min(waits) >= 30
    assert max(waits) <= 34
    assert len(set(waits)) > 1, "they would all come back at the same moment"


def test_the_budget_ends_by_number_or_by_age():
    policy = RetryPolicy(max_failures=3, max_age=datetime.timedelta(hours=1))
    minute = datetime.timedelta(minutes=1)
    assert not policy.exhausted(2, 59 * minute)
    assert policy.exhausted(3, minute)
    assert policy.exhausted(0, 60 * minute)


def test_an_outage_of_a_minute_does_not_exhaust_the_budget():
    """With the default options and any random numbers, the operation succeeds in the end."""
    outage, policy = 60.0, RetryPolicy()
    random.seed(7)
    ends = []
    for _ in range(2000):
        now, failures = 0.0, 0
        while now < outage:
            failures += 1
            assert not policy.exhausted(failures, datetime.timedelta(seconds=now))
            now += policy.parked_for(failures, None).total_seconds()
        ends.append(now)
    # Most operations do not wait much longer than the outage.
    assert sorted(ends)[len(ends) // 2] < 2 * outage
    assert max(ends) < outage + policy.park_ceiling


def test_a_timeout_is_not_retried_at_once():
    work = Flaky(9, errors.TimedOut("no answer"))
    with pytest.raises(errors.TimedOut):
        QUICK.call(work)
    assert work.calls == 1


def test_a_slow_failure_of_any_kind_is_not_retried_at_once():
    calls = []

    def hang():
        calls.append(time.sleep(0.1))
        raise errors.RetryableError("a third party's timeout")

    with pytest.raises(errors.RetryableError):
        dataclasses.replace(QUICK, quick_time=0.05).call(hang)
    assert len(calls) == 1


@pytest.mark.parametrize("seconds", [1e12, 10**400, 315360000])
def test_retry_after_is_bounded_by_the_option(seconds):
    policy = RetryPolicy(max_retry_after=100, park_base=5)
    assert policy.parked_for(1, seconds).total_seconds() <= 105
    assert policy.polled_after(seconds).total_seconds() == 100


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, "30", None, 0])
def test_an_invalid_retry_after_is_ignored(seconds):
    policy = RetryPolicy(park_base=5)
    assert policy.parked_for(1, seconds).total_seconds() <= 5
    assert policy.polled_after(seconds).total_seconds() == 5


def test_an_error_that_bypasses_the_constructor_is_bounded():
    class Own(errors.RetryableError):
        retry_after = "soon"

        def __init__(self):
            Exception.__init__(self, "x")

    work = Flaky(1, Own())
    assert QUICK.call(work) == "answer"
