# SPDX-License-Identifier: Apache-2.0
"""When to do something again. All times are monotonic: changes of the clock have no effect."""

import random
from collections.abc import Callable


class Schedule:
    """A task that is repeated at intervals, and with back-off after failures. It is due at once.

    Waits are random, so that nodes that failed together do not return together.

    Args:
        clock: tells the time in seconds.
        ceiling: seconds; the longest wait after a failure.
    """

    def __init__(self, clock: Callable[[], float], ceiling: float) -> None:
        self._clock = clock
        self._ceiling = ceiling
        self._failures = 0
        self.next = clock()

    @property
    def due(self) -> bool:
        """Whether the task is to be done now."""
        return self._clock() >= self.next

    @property
    def failing(self) -> bool:
        """Whether the last attempt has failed."""
        return self._failures > 0

    def succeeded(self, interval: float) -> None:
        """Repeat the task after an interval of some seconds; 0 for now."""
        self._failures = 0
        self.next = self._clock() + interval * random.uniform(0.9, 1.1)

    def failed(self, at_least: float = 0.0) -> None:
        """Repeat the task after a wait that doubles from one second on."""
        longest = min(self._ceiling, 2.0**self._failures)
        # Bound the exponent so that the number does not overflow.
        self._failures = min(self._failures + 1, 30)
        wait = max(longest * random.uniform(0.5, 1.0), at_least)
        self.next = self._clock() + min(self._ceiling, wait)
