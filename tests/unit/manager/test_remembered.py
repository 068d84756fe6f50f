# SPDX-License-Identifier: Apache-2.0
"""Answers that come late, or not at all."""

import threading
import time

import pytest

from poppy.manager.remembered import Remembered, Unhurried


def test_an_answer_that_is_late_is_given_later():
    go_on = threading.Event()
    asked = Unhurried(lambda: go_on.wait(10), 0.01)
    assert asked() is None
    assert asked() is None
    go_on.set()
    deadline = time.monotonic() + 10
    while asked() is None:
        assert time.monotonic() < deadline


def test_what_was_known_before_is_given_meanwhile():
    go_on = threading.Event()
    go_on.set()
    answers = iter([1, 2])

    def ask():
        assert go_on.wait(10)
        return next(answers)

    asked = Unhurried(ask, 0.2)
    assert asked() == 1
    go_on.clear()
    assert asked() == 1
    go_on.set()
    assert asked() == 2


@pytest.mark.parametrize("kind", [Remembered, Unhurried])
def test_an_error_is_told_once_and_then_asked_again(kind):
    answers = [1, KeyError("bug")]

    def ask():
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    asked = kind(ask, 5.0)
    with pytest.raises(KeyError):
        asked()
    assert asked() == 1
