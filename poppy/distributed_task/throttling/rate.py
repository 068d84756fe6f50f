# SPDX-License-Identifier: Apache-2.0
"""The rate limiter: a token bucket."""

import threading
import time
from collections.abc import Callable

from poppy.common import waits
from poppy.common.limits import Limits
from poppy.distributed_task.throttling.deferred import Deferred, Subject, Turns

#: Seconds to wait for a token instead of deferring the call.
PATIENCE = 0.1


class RateLimiter:
    """Limits the rate of calls of one driver to this worker's share."""

    def __init__(self, driver: str, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._clock = clock
        self._turns = Turns(clock, waits.LONGEST)
        self._lock = threading.Lock()
        self._tokens: float | None = None
        self._counted_at = 0.0

    def take(self, limits: Limits, workers: int, subject: Subject) -> None:
        """Take a token, if necessary after a short wait.

        Raises:
            Deferred: the wait would be longer than :data:`PATIENCE`.
        """
        if not limits.rate:
            return
        with self._lock:
            delay = self._take(limits, workers, subject)
        if delay > 0:
            time.sleep(delay)

    def give_back(self) -> None:
        """Return a token for a call that was not made."""
        with self._lock:
            if self._tokens is not None:
                self._tokens += 1

    def _take(self, limits: Limits, workers: int, subject: Subject) -> float:
        """Take a token and return the seconds to wait for it."""
        rate = limits.rate / workers
        burst = max(1.0, limits.burst / workers)
        now = self._clock()
        if self._tokens is None:
            self._tokens = burst
        self._tokens = min(burst, self._tokens + rate * (now - self._counted_at))
        self._counted_at = now
        delay = max(0.0, (1 - self._tokens) / rate)
        if delay > PATIENCE:
            raise Deferred(
                f"{self._driver} is limited to {limits.rate:g} calls per second",
                self._turns.next(1 / rate, subject.project_id),
            )
        self._tokens -= 1
        return delay
