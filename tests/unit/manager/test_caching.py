# SPDX-License-Identifier: Apache-2.0
"""Cached results of functions that are slow or fail."""

import threading
import time

import pytest

from poppy.manager.caching import StaleWhileRevalidate, cached


def awaited(asked):
    deadline = time.monotonic() + 10
    while (answer := asked()) is None:
        assert time.monotonic() < deadline
    return answer


def test_a_late_result_is_returned_to_a_later_caller():
    go_on = threading.Event()
    asked = StaleWhileRevalidate(lambda: go_on.wait(10), 0.01, 60.0)
    assert asked() is None
    assert asked() is None
    go_on.set()
    assert awaited(asked)


def test_a_recent_result_is_returned_while_a_call_is_pending():
    go_on = threading.Event()
    go_on.set()
    answers = iter([1, 2])

    def ask():
        assert go_on.wait(10)
        return next(answers)

    asked = StaleWhileRevalidate(ask, 0.2, 60.0)
    assert asked() == 1
    go_on.clear()
    assert asked() == 1
    go_on.set()
    assert asked() == 2


def test_an_old_result_is_not_returned():
    go_on = threading.Event()
    go_on.set()
    answers = iter([1, 2, 3])

    def ask():
        answer = next(answers)
        assert go_on.wait(10)
        return answer

    asked = StaleWhileRevalidate(ask, 0.2, 0.3)
    assert awaited(asked) == 1
    time.sleep(0.4)
    go_on.clear()
    assert asked() is None
    # The result arrives soon, but expires before the next call.
    go_on.set()
    time.sleep(1.0)
    assert awaited(asked) == 3


@pytest.mark.parametrize("of", [cached, lambda ask, age: StaleWhileRevalidate(ask, 5.0, age)])
def test_an_error_is_raised_once_and_not_cached(of):
    answers = [1, KeyError("bug")]

    def ask():
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    asked = of(ask, 5.0)
    with pytest.raises(KeyError):
        asked()
    assert asked() == 1


def test_concurrent_callers_share_one_call():
    calls, go_on = [], threading.Event()

    def ask():
        calls.append(1)
        assert go_on.wait(10)
        return len(calls)

    asked = cached(ask, 60.0)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(asked())) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers == [1, 1, 1, 1]


def test_a_result_expires():
    answers = iter([1, 2])
    asked = cached(lambda: next(answers), 0.05)
    assert asked() == 1
    time.sleep(0.1)
    assert asked() == 2
