# SPDX-License-Identifier: Apache-2.0
"""A call that is not made now, and when to come back."""

import random
from collections.abc import Callable
from typing import NamedTuple

from poppy.common import errors


class Deferred(errors.PoppyError):
    """The driver is not to be called now.

    The words are for any tenant: they tell nothing of the operations of others.

    Attributes:
        seconds: after which to come back; different for each that asks.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Subject(NamedTuple):
    """What a call is for."""

    project_id: str
    service_id: str


class Turns:
    """Gives those that have to wait a turn each, one after the other.

    Args:
        most: seconds; nobody is told to wait longer, give or take one interval.
    """

    def __init__(self, clock: Callable[[], float], most: float) -> None:
        self._clock = clock
        self._most = most
        self._promised = 0.0

    def next(self, interval: float) -> float:
        """Seconds until the next turn, of which there is one each ``interval``."""
        now = self._clock()
        self._promised = min(max(now, self._promised) + interval, now + self._most)
        return self._promised - now + random.uniform(0, interval)
