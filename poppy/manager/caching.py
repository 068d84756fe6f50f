# SPDX-License-Identifier: Apache-2.0
"""Caches of function results, so that concurrent callers share one call."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

import cachetools

T = TypeVar("T")


def cached(ask: Callable[[], T], seconds: float) -> Callable[[], T]:
    """Cache a function's result; concurrent callers wait for the same call.

    Args:
        ask: the function. Its exceptions are not cached.
        seconds: how long a result is valid.
    """
    cache: cachetools.TTLCache[object, T] = cachetools.TTLCache(1, seconds, timer=_now)
    function: Callable[[], T] = cachetools.cached(cache, condition=threading.Condition())(ask)
    return function


class StaleWhileRevalidate(Generic[T]):
    """A slow function whose callers wait only briefly and may get a stale result.

    Args:
        ask: the function.
        timeout: how long a caller waits, in seconds.
        stale: how long a result may replace one that is still pending, in seconds.
    """

    def __init__(self, ask: Callable[[], T], timeout: float, stale: float) -> None:
        self._ask = ask
        self._timeout = timeout
        self._stale = stale
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None
        self._ended_at = 0.0
        self._known: tuple[T, float] | None = None

    def __call__(self) -> T | None:
        """Return the result; if it is late, a recent one, or None without one."""
        asked = self._begin()
        if wait([asked], self._timeout).not_done:
            known = self._known
            return known[0] if known is not None and self._is_recent(known[1]) else None
        with self._lock:
            if self._asked is asked:
                self._asked = None
        return asked.result()

    def _begin(self) -> Future[T]:
        """Start a call, unless one is pending or has a recent result."""
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
        return time.monotonic() - moment <= self._stale


def _now() -> float:
    return time.monotonic()
