# SPDX-License-Identifier: Apache-2.0
"""Retries of temporary failures: immediate ones first, then parking the operation."""

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from poppy.common import errors, waits

T = TypeVar("T")

#: Errors that are never retried immediately.
_NEVER_QUICK = (errors.TimedOut, errors.Unauthorized)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to retry, and when to give up.

    Short failures are retried in place while the worker is held. Longer ones park the operation,
    which holds nothing. All waits are random between zero and a ceiling that doubles ("full
    jitter"), so that operations that failed together are not retried together.

    Attributes:
        quick_attempts: total calls in place.
        quick_ceiling: seconds; the longest wait in place. A call with a longer Retry-After is not
            retried in place.
        quick_time: seconds since the first call after which no call is retried in place. A call
            that hung and then failed has held its slot for long enough.
        park_base: seconds; the ceiling of the first parked wait.
        park_ceiling: seconds; the ceiling of parked waits without a Retry-After.
        max_retry_after: seconds; the longest wait that a provider or driver may ask for.
        max_failures: failed attempts after which an operation fails for good.
        max_age: age at which an operation is not retried any more.
        max_crashes: consecutive runs with a dead worker after which an operation fails for good.
        step_timeout: maximum seconds of one step, including its retries in place.
    """

    quick_attempts: int = 3
    quick_ceiling: float = 2.0
    quick_time: float = 5.0
    park_base: float = 5.0
    park_ceiling: float = 600.0
    max_retry_after: float = 3600.0
    max_failures: int = 20
    max_age: datetime.timedelta = datetime.timedelta(days=1)
    max_crashes: int = 5
    step_timeout: float = 300.0

    def call(self, work: Callable[[], T], may_repeat: Callable[[], None] = lambda: None) -> T:
        """Call ``work`` and retry it in place while it raises RetryableError with a short wait.

        Args:
            may_repeat: called before each retry; raises to prevent it.

        Raises:
            DriverError: the last one, as raised.
        """

        def before(state: tenacity.RetryCallState) -> None:
            if state.attempt_number > 1:
                may_repeat()

        return tenacity.Retrying(
            before=before,
            retry=tenacity.retry_if_exception(self._is_quick),
            stop=tenacity.stop_after_attempt(self.quick_attempts)
            | tenacity.stop_after_delay(self.quick_time),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=self.quick_ceiling),
            reraise=True,
        )(work)

    def _is_quick(self, error: BaseException) -> bool:
        if not isinstance(error, errors.RetryableError) or isinstance(error, _NEVER_QUICK):
            return False
        asked = self.asked(error.retry_after)
        return asked is None or asked <= self.quick_ceiling

    def asked(self, seconds: object) -> float | None:
        """Return a driver's requested wait, bounded; None if it is not a valid number of seconds.

        Every number from a driver passes through here before it becomes a stored deadline.
        """
        return waits.bounded(seconds, self.max_retry_after)

    def parked_for(self, failures: int, retry_after: float | None) -> datetime.timedelta:
        """Return how long to park after ``failures`` failures; at least ``retry_after``."""
        # Bound the exponent so that the float does not overflow.
        ceiling = min(self.park_ceiling, self.park_base * 2 ** min(failures - 1, 30))
        seconds = random.uniform(0, ceiling)
        asked = self.asked(retry_after)
        if asked is not None:
            # All callers got the same Retry-After: spread the retries after it, never before.
            seconds = asked + random.uniform(0, min(ceiling, self.park_base))
        return datetime.timedelta(seconds=seconds)

    def polled_after(self, asked: float | None) -> datetime.timedelta:
        """Return how long to park while a provider is working or a driver may not be called."""
        return datetime.timedelta(seconds=self.asked(asked) or self.park_base)

    def exhausted(self, failures: int, age: datetime.timedelta) -> bool:
        """Return whether an operation has used up its retries."""
        return failures >= self.max_failures or age >= self.max_age
