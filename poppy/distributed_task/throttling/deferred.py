# SPDX-License-Identifier: Apache-2.0
"""Deferred calls, and when to retry them."""

import random
from collections.abc import Callable
from typing import NamedTuple

from poppy.common import errors


class Deferred(errors.PoppyError):
    """The driver may not be called now.

    Any tenant may see the message, so it says nothing about the operations of others.

    Attributes:
        seconds: when to retry; different for each deferred call.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Subject(NamedTuple):
    """The service that a call is for."""

    project_id: str
    service_id: str


class Turns:
    """Assigns consecutive turns to deferred calls.

    Args:
        most: the longest wait in seconds, give or take one interval.
    """

    def __init__(self, clock: Callable[[], float], most: float) -> None:
        self._clock = clock
        self._most = most
        self._promised = 0.0

    def next(self, interval: float) -> float:
        """Return the seconds until the next free turn, with one turn per ``interval``."""
        now = self._clock()
        self._promised = min(max(now, self._promised) + interval, now + self._most)
        return self._promised - now + random.uniform(0, interval)
