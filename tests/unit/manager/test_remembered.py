# SPDX-License-Identifier: Apache-2.0
"""Answers that come late, or not at all."""

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


def test_an_answer_that_is_late_is_given_later():
    go_on = threading.Event()
    asked = Unhurried(lambda: go_on.wait(10), 0.01, 60.0)
    assert asked() is None
    assert asked() is None
    go_on.set()
    assert awaited(asked)


def test_what_was_known_before_is_given_meanwhile():
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


def test_what_was_known_long_before_is_not_given():
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
    # Its answer is there soon, and nobody comes for it in time.
    go_on.set()
    time.sleep(1.0)
    assert awaited(asked) == 3


@pytest.mark.parametrize("kind", [Remembered, functools.partial(Unhurried, patience=5.0)])
def test_an_error_is_told_once_and_then_asked_again(kind):
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
