# SPDX-License-Identifier: Apache-2.0
"""Throttling: whether a driver may be called now.

Every driver call passes three guards. A :class:`Bulkhead` keeps slots free for other drivers, a
:class:`RateLimiter` spreads calls over time, and a :class:`CircuitBreaker` stops calls to a
provider that is down. A call that may not begin raises :class:`Deferred`: its operation is parked
and holds no resources. That is not a failure and does not count as an attempt.

Workers share little state. A breaker is a row in storage. Each worker reads it once a second, and
writes it when it opens or closes. Rates and concurrency are divided by the number of live workers,
and each worker keeps to its share.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from poppy.common.limits import Limits
from poppy.distributed_task.throttling.breaker import CircuitBreaker
from poppy.distributed_task.throttling.breaker_cache import BreakerCache
from poppy.distributed_task.throttling.bulkhead import Bulkhead, Slots
from poppy.distributed_task.throttling.deferred import Deferred, Subject
from poppy.distributed_task.throttling.rate import RateLimiter

__all__ = [
    "BreakerCache",
    "Bulkhead",
    "CircuitBreaker",
    "Deferred",
    "RateLimiter",
    "Slots",
    "Subject",
    "Throttle",
    "Throttles",
]


class Throttle:
    """The bulkhead, rate limiter and circuit breaker of one driver, in one worker process.

    Args:
        driver: ``<kind>:<name>``.
        limits: returns the driver's current options.
        breakers: the breakers that all workers share.
        workers: returns the number of live workers.
        slots: the worker's slots; unlimited by default.
    """

    def __init__(
        self,
        driver: str,
        limits: Callable[[], Limits],
        breakers: BreakerCache,
        workers: Callable[[], int],
        slots: Slots | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._workers = workers
        self._bulkhead = Bulkhead(driver, slots or Slots(), clock)
        self._rate = RateLimiter(driver, clock)
        self._breaker = CircuitBreaker(driver, breakers, clock)

    @contextlib.contextmanager
    def passing(self, subject: Subject) -> Iterator[None]:
        """Admit a call and learn from its outcome.

        Raises:
            Deferred: the driver may not be called now.
        """
        limits, workers = self._limits(), max(1, self._workers())
        with self._bulkhead.place(limits, workers, subject):
            self._rate.take(limits, workers, subject)
            try:
                probes = self._breaker.enter(limits, subject)
            except Deferred:
                # No call was made, so its token goes to the next one.
                self._rate.give_back()
                raise
            with self._breaker.watching(limits, subject, probes):
                yield


class Throttles:
    """The throttles of all drivers, by ``<kind>:<name>``.

    Args:
        limits: returns each driver's current options.
        breakers: the breakers that all workers share.
        workers: returns the number of live workers.
        slots: how many operations this worker runs at the same time.
    """

    def __init__(
        self,
        limits: Mapping[str, Callable[[], Limits]],
        breakers: BreakerCache,
        workers: Callable[[], int],
        slots: int,
    ) -> None:
        shared = Slots(slots, limits)
        self._throttles = {
            driver: Throttle(driver, read, breakers, workers, shared)
            for driver, read in limits.items()
        }

    def passing(self, driver: str, subject: Subject) -> contextlib.AbstractContextManager[None]:
        """Admit a call by :meth:`Throttle.passing`. An unknown driver is not throttled."""
        throttle = self._throttles.get(driver)
        return contextlib.nullcontext() if throttle is None else throttle.passing(subject)
