# SPDX-License-Identifier: Apache-2.0
"""Cached results of functions that are slow or fail."""

import functools
import threading
import time

import pytest

from poppy.manager.remembered import Remembered, Unhurried


def awaited(asked):
    deadline = time.monotonic() + 10
    while (answer := asked()) is None:
        assert time.monotonic() < deadline
    return answer


def test_a_late_result_is_returned_to_a_later_caller():
    go_on = threading.Event()
    asked = Unhurried(lambda: go_on.wait(10), 0.01, 60.0)
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

    asked = Unhurried(ask, 0.2, 60.0)
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

    asked = Unhurried(ask, 0.2, 0.3)
    assert awaited(asked) == 1
    time.sleep(0.4)
    go_on.clear()
    assert asked() is None
    # The result arrives soon, but expires before the next call.
    go_on.set()
    time.sleep(1.0)
    assert awaited(asked) == 3


@pytest.mark.parametrize("kind", [Remembered, functools.partial(Unhurried, patience=5.0)])
def test_an_error_is_raised_once_and_not_cached(kind):
    answers = [1, KeyError("bug")]

    def ask():
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    asked = kind(ask, memory=5.0)
    with pytest.raises(KeyError):
        asked()
    assert asked() == 1
