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
    """

    def __init__(self, ask: Callable[[], T], patience: float) -> None:
        self._ask = ask
        self._patience = patience
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None
        self._known: T | None = None

    def __call__(self) -> T | None:
        """The answer; if it does not come in time the one of before, None if there is none."""
        with self._lock:
            if self._asked is None:
                pool = ThreadPoolExecutor(max_workers=1)
                self._asked = pool.submit(self._ask)
                pool.shutdown(wait=False)
            asked = self._asked
        if wait([asked], self._patience).not_done:
            return self._known
        with self._lock:
            if self._asked is asked:
                self._asked = None
        self._known = asked.result()
        return self._known
