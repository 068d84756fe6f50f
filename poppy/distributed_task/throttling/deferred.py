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
    """Assigns turns to deferred calls, fairly between projects.

    Each project has its own queue. A project with many deferred calls waits for its own calls,
    and the first call of another project comes within a few intervals.

    Args:
        most: the longest wait in seconds, give or take one interval.
    """

    def __init__(self, clock: Callable[[], float], most: float) -> None:
        self._clock = clock
        self._most = most
        # The time of the last turn of each project that waits.
        self._promised: dict[str, float] = {}

    def next(self, interval: float, project_id: str) -> float:
        """Return the seconds until a project's next turn, with one call per ``interval``.

        While several projects wait, about two calls get the same turn. One of them may be
        deferred again, but no turn stays unused.
        """
        now = self._clock()
        self._promised = {it: at for it, at in self._promised.items() if at > now}
        last = self._promised.setdefault(project_id, now)
        waiting = len(self._promised)
        turn = min(last + interval * max(1.0, waiting / 2), now + self._most)
        self._promised[project_id] = turn
        return turn - now + random.uniform(0, interval)
