# SPDX-License-Identifier: Apache-2.0
"""How failures that may pass are retried: quickly at first, then by parking."""

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from poppy.common import errors, waits

T = TypeVar("T")

#: Errors after which another try at once can only do harm.
_NEVER_QUICK = (errors.TimedOut, errors.Unauthorized)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again, and when to give up.

    Short hiccups are retried in place, holding the worker. What lasts longer parks the
    operation, which holds nothing. All waits are random between zero and a ceiling that doubles
    ("full jitter"), so that many operations that failed together do not come back together.

    Attributes:
        quick_attempts: calls in place, in all.
        quick_ceiling: seconds; the longest wait in place. A call that is asked to wait longer
            than that is not repeated in place.
        quick_time: seconds; a call is not repeated in place once the first one began so long
            ago. What hung and then failed has held a slot for long enough.
        park_base: seconds; the ceiling of the first parked wait.
        park_ceiling: seconds; the ceiling of any parked wait that nobody asked for.
        max_retry_after: seconds; the longest wait that a provider or driver may ask for.
        max_failures: after so many failed attempts an operation fails for good.
        max_age: nor is an operation older than this tried again.
        max_crashes: after so many runs in a row whose worker died it fails for good.
        step_timeout: seconds that one step may take, quick retries included.
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
        """Call ``work``, again while it raises RetryableError and the wait is short.

        Args:
            may_repeat: called before each further call; raises if there must be none.

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
        """A wait that a driver asks for, as it is kept; None if it is no number of seconds.

        Every number from a driver passes through here before it becomes a stored deadline.
        """
        return waits.bounded(seconds, self.max_retry_after)

    def parked_for(self, failures: int, retry_after: float | None) -> datetime.timedelta:
        """How long to park after so many failures; at least what the other side asked for."""
        # The exponent is bounded because a float is.
        ceiling = min(self.park_ceiling, self.park_base * 2 ** min(failures - 1, 30))
        seconds = random.uniform(0, ceiling)
        asked = self.asked(retry_after)
        if asked is not None:
            # Everyone was told the same time: spread out behind it, never before it.
            seconds = asked + random.uniform(0, min(ceiling, self.park_base))
        return datetime.timedelta(seconds=seconds)

    def polled_after(self, asked: float | None) -> datetime.timedelta:
        """How long to park while a provider is at it, or a driver is not to be called."""
        return datetime.timedelta(seconds=self.asked(asked) or self.park_base)

    def exhausted(self, failures: int, age: datetime.timedelta) -> bool:
        """Whether an operation has used up its budget."""
        return failures >= self.max_failures or age >= self.max_age
