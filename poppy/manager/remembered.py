# SPDX-License-Identifier: Apache-2.0
"""Answers that are good for a while, so that many may ask and one question is enough."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """A question whose last answer is given again; who comes during one waits for its answer.

    Args:
        ask: gives the answer. What it raises is not remembered.
        memory: seconds for which an answer is good.
    """

    def __init__(self, ask: Callable[[], T], memory: float) -> None:
        self._ask = ask
        self._memory = memory
        self._lock = threading.Lock()
        self._known: tuple[T, float] | None = None

    def __call__(self) -> T:
        """The answer, or that of a moment ago."""
        with self._lock:
            if self._known is None or time.monotonic() >= self._known[1]:
                answer = self._ask()
                self._known = answer, time.monotonic() + self._memory
            return self._known[0]


class Unhurried(Generic[T]):
    """A question that may take long; whoever asks does not wait for the end of it.

    Args:
        ask: gives the answer.
        patience: seconds that one who asks waits.
        memory: seconds for which an answer can stand in for one that is on its way.
    """

    def __init__(self, ask: Callable[[], T], patience: float, memory: float) -> None:
        self._ask = ask
        self._patience = patience
        self._memory = memory
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None
        self._ended_at = 0.0
        self._known: tuple[T, float] | None = None

    def __call__(self) -> T | None:
        """The answer; if it does not come in time a recent one, None if there is none."""
        asked = self._begin()
        if wait([asked], self._patience).not_done:
            known = self._known
            return known[0] if known is not None and self._is_recent(known[1]) else None
        with self._lock:
            if self._asked is asked:
                self._asked = None
        return asked.result()

    def _begin(self) -> Future[T]:
        """Ask, unless somebody has asked and the answer is not out of date by now."""
        with self._lock:
            asked = self._asked
            if asked is None or (asked.done() and not self._is_recent(self._ended_at)):
                pool = ThreadPoolExecutor(max_workers=1)
                self._asked = asked = pool.submit(self._answer)
                pool.shutdown(wait=False)
            return asked

    def _answer(self) -> T:
        try:
            answer = self._ask()
            self._known = answer, time.monotonic()
            return answer
        finally:
            self._ended_at = time.monotonic()

    def _is_recent(self, moment: float) -> bool:
        return time.monotonic() - moment <= self._memory
