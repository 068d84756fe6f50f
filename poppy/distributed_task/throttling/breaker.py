# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker of one driver, which all workers share.

Only failures of the provider as a whole count (:class:`poppy.common.errors.Scope`). A failure
caused by one service's document must not make others wait. Drivers can't always tell these apart,
so the failures of a single project do not open the breaker while other projects call the driver
too.
"""

import contextlib
import datetime
import random
import threading
from collections.abc import Callable, Iterator

from oslo_log import log

from poppy.common import errors, waits
from poppy.common.clock import now_utc
from poppy.common.limits import Limits
from poppy.distributed_task.throttling.breaker_cache import BreakerCache
from poppy.distributed_task.throttling.deferred import Deferred, Subject
from poppy.model.membership import Breaker, BreakerState

LOG = log.getLogger(__name__)

#: Seconds: a Retry-After above this opens the breaker for all workers.
ASKED = 2.0
#: Seconds after which the probe of an open breaker counts as lost and another call may probe: the
#: first one's worker may have died. (A probe that takes longer is not disturbed.)
PROBE = 30.0
#: Seconds: the shortest and the longest period over which deferred calls are spread.
SPREAD = (1.0, 60.0)
#: Seconds after a call for which its project counts as one of the driver's callers.
CALLER = 600.0
#: The maximum number of callers to remember.
MOST_CALLERS = 1000


class CircuitBreaker:
    """Stops calls to a failing driver, and lets a probe through now and then."""

    def __init__(self, driver: str, breakers: BreakerCache, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._breakers = breakers
        self._clock = clock
        self._lock = threading.Lock()
        # Consecutive failures, one per service.
        self._failing: set[Subject] = set()
        # The time of each project's last call.
        self._callers: dict[str, float] = {}

    def enter(self, limits: Limits, subject: Subject) -> bool:
        """Admit a call; return whether it is the probe of an open breaker.

        Raises:
            Deferred: the breaker is open.
        """
        if not limits.failures:
            return False
        self._note_caller(subject)
        breaker = self._breakers.get(self._driver)
        if breaker.state is BreakerState.CLOSED:
            return False
        now = now_utc()
        until = breaker.closes(now)
        if until is not None:
            raise self._refusal(breaker, (until - now).total_seconds())
        probing = breaker.next(
            state=BreakerState.PROBING, until=now + datetime.timedelta(seconds=PROBE)
        )
        if not self._breakers.swap(probing):
            raise self._refusal(probing, 0.0)
        LOG.info("%s: one call is let through", self._driver)
        return True

    @contextlib.contextmanager
    def watching(self, limits: Limits, subject: Subject, probes: bool) -> Iterator[None]:
        """Learn from the outcome of a call.

        Args:
            probes: the result of :meth:`enter` for this call.
        """
        try:
            yield
        except errors.RetryableError as exc:
            if exc.scope is errors.Scope.PROVIDER:
                self._failed(limits, subject, exc, probes)
            elif probes:
                self._learned_nothing()
            raise
        except (errors.PermanentError, errors.InProgressError):
            self._answered(probes)
            raise
        except BaseException:
            # A bug or a stopping worker says nothing about the provider.
            if probes:
                self._learned_nothing()
            raise
        else:
            self._answered(probes)

    def _refusal(self, breaker: Breaker, seconds: float) -> Deferred:
        if breaker.state is BreakerState.PROBING:
            # The outcome is known long before the probe counts as lost.
            seconds = min(seconds, 1.0)
        spread = min(max(seconds / 2, SPREAD[0]), SPREAD[1])
        wait = seconds + random.uniform(0, spread)
        # The reason is in the log and in the operators' view; it may name another's service.
        return Deferred(
            f"{self._driver.replace(':', ' ')} is not answering at present; "
            f"tried again in {wait:.0f} s",
            wait,
        )

    def _answered(self, probes: bool) -> None:
        with self._lock:
            self._failing.clear()
        if probes:
            breaker = self._breakers.get(self._driver)
            if self._breakers.swap(breaker.closed()):
                LOG.info("%s works again", self._driver)

    def _learned_nothing(self) -> None:
        """Make the next call the probe."""
        breaker = self._breakers.get(self._driver)
        self._breakers.swap(breaker.next(state=BreakerState.OPEN, until=now_utc()))

    def _failed(
        self, limits: Limits, subject: Subject, error: errors.RetryableError, probes: bool
    ) -> None:
        if not limits.failures:
            return
        asked = waits.bounded(error.retry_after)
        if asked is not None and asked <= ASKED:
            asked = None
        with self._lock:
            self._failing.add(subject)
            many = len(self._failing) >= limits.failures and not self._is_of_one_of_many()
        if probes or many or asked is not None:
            self._open(limits, str(error), asked)

    def _note_caller(self, subject: Subject) -> None:
        with self._lock:
            self._callers[subject.project_id] = self._clock()
            if len(self._callers) > MOST_CALLERS:
                self._forget_callers()

    def _forget_callers(self) -> None:
        since = self._clock() - CALLER
        recent = sorted((at, it) for it, at in self._callers.items() if at >= since)
        self._callers = {it: at for at, it in recent[-MOST_CALLERS // 2 :]}

    def _is_of_one_of_many(self) -> bool:
        """Whether only one project's calls fail while others call the driver too."""
        self._forget_callers()
        return len({it.project_id for it in self._failing}) == 1 < len(self._callers)

    def _open(self, limits: Limits, reason: str, asked: float | None) -> None:
        breaker = self._breakers.get(self._driver)
        now = now_utc()
        pause = limits.pause * 2 ** min(breaker.openings, 30) if asked is None else asked
        until = now + min(datetime.timedelta(seconds=min(pause, 1e6)), Breaker.LONGEST)
        still_open = breaker.closes(now) if breaker.state is BreakerState.OPEN else None
        if still_open is not None and still_open >= until:
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
            LOG.warning("%s is not called until %s: %s", self._driver, until, reason)
