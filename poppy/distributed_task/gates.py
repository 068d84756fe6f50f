# SPDX-License-Identifier: Apache-2.0
"""Before a driver is called: may it be, now? Rates, concurrency and circuit breakers.

Whoever may not comes back later and holds nothing meanwhile; that is no failure, and costs none of
the operation's attempts. So one tenant's storm, or a provider that is down, does not use up what
the others have.

What workers share is little. A breaker is a row in storage, which everyone reads once a second and
which is written when it opens or closes. Rates and concurrency are divided by the number of
workers that are alive, and each keeps to its share by itself.
"""

import contextlib
import datetime
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from oslo_log import log

from poppy.common import errors
from poppy.common.limits import Limits
from poppy.distributed_task.breakers import Breakers
from poppy.model.fleet import Breaker, BreakerState

LOG = log.getLogger(__name__)

#: Seconds: who is told to wait longer than that by the other side, speaks for everybody.
ASKED = 2.0
#: Seconds: the longest pause of a breaker that nobody asked for.
MAX_PAUSE = 600.0
#: Seconds after which the one call that a breaker lets through counts as lost, and another may
#: try: its worker may have died. (One that takes longer is not disturbed by that.)
PROBE = 30.0
#: Seconds: the least and the most over which those that waited come back.
SPREAD = (1.0, 60.0)
#: Seconds that are waited in place for a token.
PATIENCE = 0.1


class NotNow(errors.PoppyError):
    """The driver is not to be called now.

    Attributes:
        seconds: after which to come back; different for each who asks.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Gate:
    """What stands before one driver, in this process.

    Args:
        limits: gives them as they are now.
        share: how many workers there are.
    """

    def __init__(
        self,
        driver: str,
        limits: Callable[[], Limits],
        breakers: Breakers,
        share: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._limits = limits
        self._breakers = breakers
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._running = 0
        self._tokens: float | None = None
        self._counted_at = 0.0
        # The last moment for which somebody was told to come back.
        self._promised = 0.0
        self._seconds = 1.0
        self._failing: set[str] = set()

    @contextlib.contextmanager
    def passing(self, subject: str) -> Iterator[None]:
        """For the time of a call, whose outcome it sees.

        Args:
            subject: what the call is for; failures are counted once for each.

        Raises:
            NotNow: come back later.
        """
        limits = self._limits()
        self._enter(limits)
        began = None
        try:
            probes = self._pass_breaker(limits)
            began = self._clock()
            try:
                yield
            except errors.RetryableError as exc:
                self._failed(limits, subject, exc, probes)
                raise
            except (errors.PermanentError, errors.InProgressError):
                self._answered(probes)
                raise
            except Exception:
                # It says nothing about the other side: a bug, or the worker stops.
                if probes:
                    self._open(limits, "nobody knows yet", None)
                raise
            else:
                self._answered(probes)
        finally:
            with self._lock:
                self._running -= 1
                if began is None:
                    # There was no call: the next one may have its token.
                    self._tokens = None if self._tokens is None else self._tokens + 1
                else:
                    self._seconds += 0.2 * (self._clock() - began - self._seconds)

    def _enter(self, limits: Limits) -> None:
        with self._lock:
            workers = max(1, self._share())
            most = max(1, limits.concurrent // workers) if limits.concurrent else 0
            if most and self._running >= most:
                raise NotNow(
                    f"{self._driver} has {most} calls of this worker under way",
                    self._promise(self._seconds / most),
                )
            delay = self._take_token(limits, workers)
            self._running += 1
        if delay > 0:
            time.sleep(delay)

    def _take_token(self, limits: Limits, workers: int) -> float:
        """Seconds to wait for the token that was taken."""
        if not limits.rate:
            return 0.0
        rate = limits.rate / workers
        burst = max(1.0, limits.burst / workers)
        now = self._clock()
        if self._tokens is None:
            self._tokens = burst
        self._tokens = min(burst, self._tokens + rate * (now - self._counted_at))
        self._counted_at = now
        delay = max(0.0, (1 - self._tokens) / rate)
        if delay > PATIENCE:
            raise NotNow(
                f"{self._driver} is called {limits.rate:g} times per second at most",
                self._promise(1 / rate),
            )
        self._tokens -= 1
        return delay

    def _promise(self, interval: float) -> float:
        """Seconds until it is the turn of one who may not now, one every ``interval``."""
        now = self._clock()
        self._promised = max(now, self._promised) + interval
        return self._promised - now + random.uniform(0, interval)

    def _pass_breaker(self, limits: Limits) -> bool:
        """Whether this call is the one that an open breaker lets through."""
        if not limits.failures:
            return False
        breaker = self._breakers.get(self._driver)
        if breaker.state is BreakerState.CLOSED:
            return False
        now = _now()
        until = breaker.closes(now)
        if until is not None:
            self._refuse(breaker, (until - now).total_seconds())
        probing = breaker.next(
            state=BreakerState.PROBING, until=now + datetime.timedelta(seconds=PROBE)
        )
        if not self._breakers.swap(probing):
            self._refuse(breaker, 0.0)
        LOG.info("%s: one call is let through", self._driver)
        return True

    def _refuse(self, breaker: Breaker, seconds: float) -> None:
        if breaker.state is BreakerState.PROBING:
            # Its outcome is known long before it counts as lost.
            seconds = min(seconds, 1.0)
        spread = min(max(seconds / 2, SPREAD[0]), SPREAD[1])
        raise NotNow(
            f"{self._driver} is left alone for a while: {breaker.reason}",
            seconds + random.uniform(0, spread),
        )

    def _answered(self, probes: bool) -> None:
        with self._lock:
            self._failing.clear()
        if probes:
            breaker = self._breakers.get(self._driver)
            closed = breaker.next(state=BreakerState.CLOSED, until=None, openings=0, reason=None)
            if self._breakers.swap(closed):
                LOG.info("%s works again", self._driver)

    def _failed(
        self, limits: Limits, subject: str, error: errors.RetryableError, probes: bool
    ) -> None:
        if not limits.failures:
            return
        asked = error.retry_after
        if asked is not None and asked <= ASKED:
            asked = None
        with self._lock:
            self._failing.add(subject)
            many = len(self._failing) >= limits.failures
        if probes or many or asked is not None:
            self._open(limits, str(error), asked)

    def _open(self, limits: Limits, reason: str, asked: float | None) -> None:
        breaker = self._breakers.get(self._driver)
        now = _now()
        pause = min(MAX_PAUSE, limits.pause * 2 ** min(breaker.openings, 30))
        until = now + datetime.timedelta(seconds=pause if asked is None else asked)
        still_open = breaker.state is BreakerState.OPEN and breaker.closes(now)
        if still_open and still_open >= until:
            return
        opened = breaker.next(
            state=BreakerState.OPEN,
            until=until,
            openings=breaker.openings + (0 if still_open else 1),
            reason=reason[:500],
        )
        if self._breakers.swap(opened):
            with self._lock:
                self._failing.clear()
            LOG.warning("%s is left alone until %s: %s", self._driver, until, reason)


class Gates:
    """The gates of all drivers, by ``<kind>:<name>``; unknown ones have the usual limits."""

    def __init__(
        self,
        limits: Mapping[str, Callable[[], Limits]],
        breakers: Breakers,
        share: Callable[[], int],
    ) -> None:
        self._gates = {
            driver: Gate(driver, read, breakers, share) for driver, read in limits.items()
        }

    def passing(self, driver: str, subject: str) -> contextlib.AbstractContextManager[None]:
        """See :meth:`Gate.passing`; without a gate, anybody may pass."""
        gate = self._gates.get(driver)
        return contextlib.nullcontext() if gate is None else gate.passing(subject)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
