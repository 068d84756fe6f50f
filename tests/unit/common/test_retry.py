# SPDX-License-Identifier: Apache-2.0
"""What is tried again, how often, and after how long."""

import dataclasses
import datetime
import random
import time

import pytest

from poppy.common import errors
from poppy.common.retry import RetryPolicy

QUICK = RetryPolicy(quick_attempts=3, quick_ceiling=0.01)


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "answer"


def test_a_hiccup_is_retried_in_place():
    work = Flaky(2, errors.RetryableError("busy"))
    assert QUICK.call(work) == "answer"
    assert work.calls == 3


def test_what_does_not_pass_is_raised_as_it_was():
    error = errors.RetryableError("busy")
    work = Flaky(9, error)
    with pytest.raises(errors.RetryableError) as caught:
        QUICK.call(work)
    assert caught.value is error
    assert work.calls == 3


def test_what_waits_for_the_operator_is_not_repeated_at_once():
    work = Flaky(9, errors.Unauthorized("401"))
    with pytest.raises(errors.Unauthorized):
        QUICK.call(work)
    assert work.calls == 1


def test_a_call_that_must_not_be_repeated_is_not():
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
def test_what_would_not_help_is_not_retried_in_place(error):
    work = Flaky(9, error)
    with pytest.raises(type(error)):
        QUICK.call(work)
    assert work.calls == 1


def test_a_short_wait_that_was_asked_for_is_retried_in_place():
    work = Flaky(1, errors.RetryableError("soon", retry_after=0.005))
    assert QUICK.call(work) == "answer"


def test_the_parked_wait_is_random_under_a_ceiling_that_doubles():
    policy = RetryPolicy(park_base=4, park_ceiling=100)
    for failures, ceiling in [(1, 4), (2, 8), (3, 16), (6, 100), (5000, 100)]:
        waits = [policy.parked_for(failures, None).total_seconds() for _ in range(200)]
        assert 0 <= min(waits) < 0.2 * ceiling
        assert 0.8 * ceiling < max(waits) <= ceiling


def test_the_parked_wait_is_never_shorter_than_asked_for():
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


def test_an_outage_of_a_minute_uses_up_no_budget_and_is_soon_forgotten():
    """With the default options, whatever chance says: what was asked for is done in the end."""
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
    # Most don't wait much longer than the outage took.
    assert sorted(ends)[len(ends) // 2] < 2 * outage
    assert max(ends) < outage + policy.park_ceiling


def test_a_timeout_is_not_repeated_at_once():
    work = Flaky(9, errors.TimedOut("no answer"))
    with pytest.raises(errors.TimedOut):
        QUICK.call(work)
    assert work.calls == 1


def test_what_took_long_is_not_repeated_at_once_whatever_a_driver_calls_it():
    calls = []

    def hang():
        calls.append(time.sleep(0.1))
        raise errors.RetryableError("a third party's timeout")

    with pytest.raises(errors.RetryableError):
        dataclasses.replace(QUICK, quick_time=0.05).call(hang)
    assert len(calls) == 1


@pytest.mark.parametrize("seconds", [1e12, 10**400, 315360000])
def test_no_wait_that_is_asked_for_is_longer_than_the_option_says(seconds):
    policy = RetryPolicy(max_retry_after=100, park_base=5)
    assert policy.parked_for(1, seconds).total_seconds() <= 105
    assert policy.polled_after(seconds).total_seconds() == 100


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, "30", None, 0])
def test_what_is_no_wait_is_as_if_nothing_was_asked_for(seconds):
    policy = RetryPolicy(park_base=5)
    assert policy.parked_for(1, seconds).total_seconds() <= 5
    assert policy.polled_after(seconds).total_seconds() == 5


def test_a_driver_whose_error_hides_its_number_can_do_no_harm():
    class Own(errors.RetryableError):
        retry_after = "soon"

        def __init__(self):
            Exception.__init__(self, "x")

    work = Flaky(1, Own())
    assert QUICK.call(work) == "answer"
