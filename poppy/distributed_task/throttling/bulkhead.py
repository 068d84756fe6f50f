# SPDX-License-Identifier: Apache-2.0
"""The bulkhead: a hung driver does not take the slots that other drivers need."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from poppy.common.limits import Limits
from poppy.distributed_task.throttling.deferred import Deferred, Subject, Turns

#: Seconds to wait for a free place while the driver's calls are quick.
PATIENCE = 0.1
#: Seconds: a driver with a call that has run longer is not quick.
QUICK = 1.0
#: Seconds: the longest deferral of a call.
LONGEST = 60.0
#: Seconds: places of a driver with shorter calls are not reserved, for one is free soon anyway.
SHORT = 0.25
#: Seconds that a reserved place stays free after the call that it is for is due: the time in which
#: its operation is posted and claimed.
SLACK = 2.0
#: The maximum number of projects to remember.
MOST_PROJECTS = 1000
#: Seconds for which options are cached, because reading them is slow compared with the rest.
FRESH = 1.0


class Slots:
    """The slots of a worker, divided between drivers.

    Each driver has reserved slots; the rest is first come, first served. However many drivers
    hang, every other driver still has its own slots. An operation that calls several drivers in
    parallel holds one slot.

    Args:
        total: how many operations the worker runs at the same time; None for no limit.
        drivers: returns the current options of each driver.
    """

    def __init__(
        self,
        total: int | None = None,
        drivers: Mapping[str, Callable[[], Limits]] | None = None,
    ) -> None:
        self._total = total
        self._drivers = dict(drivers or {})
        self._reserved: dict[str, int | None] = {}
        self._stale_at = 0.0
        self._calls: collections.Counter[str] = collections.Counter()
        self._holders: collections.Counter[Subject] = collections.Counter()
        #: Guards this and the bulkheads that share it; notified when a call ends.
        self.changed = threading.Condition()

    def take(self, driver: str, subject: Subject, spare: int = 0) -> bool:
        """Count a new call; return False if the driver may not have another slot.

        Args:
            spare: how many more slots must be left for the driver.
        """
        if not self._has_room(driver, subject, spare):
            return False
        self._calls[driver] += 1
        self._holders[subject] += 1
        return True

    def release(self, driver: str, subject: Subject) -> None:
        """Count the end of a call."""
        self._calls[driver] -= 1
        self._holders[subject] -= 1
        # A Counter keeps keys with a count of zero.
        if not self._holders[subject]:
            del self._holders[subject]
        self.changed.notify_all()

    def _has_room(self, driver: str, subject: Subject, spare: int) -> bool:
        if self._total is None or self._calls[driver] + spare < self._own(driver):
            return True
        held = len(self._holders) + (subject not in self._holders)
        kept = sum(
            max(0, self._own(other) - self._calls[other])
            for other in self._drivers
            if other != driver
        )
        return held + kept + spare <= self._total

    def _own(self, driver: str) -> int:
        """Return a driver's reserved slots: its option, or its part of half of all slots."""
        if time.monotonic() >= self._stale_at:
            self._reserved = {it: read().reserved for it, read in self._drivers.items()}
            self._stale_at = time.monotonic() + FRESH
        reserved = self._reserved.get(driver)
        if reserved is None:
            reserved = (self._total or 0) // (2 * max(1, len(self._drivers)))
        # Without any, the driver could wait forever.
        return max(1, reserved)


class Bulkhead:
    """Limits a worker's concurrent calls of one driver.

    Unless calls are short, the next free place is reserved for a deferred call of the project
    that had its last place before all others that wait. Otherwise a project with many deferred
    calls could take every place just before the call of another project is retried.
    """

    def __init__(self, driver: str, slots: Slots, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._slots = slots
        self._clock = clock
        self._turns = Turns(clock, LONGEST)
        self._began: dict[object, float] = {}
        # A moving average of the duration of calls.
        self._seconds = 1.0
        # When each project last began a call, oldest first.
        self._served: dict[str, float] = {}
        self._reserved: Subject | None = None
        self._reserved_until = 0.0

    @contextlib.contextmanager
    def place(self, limits: Limits, workers: int, subject: Subject) -> Iterator[None]:
        """Hold a place for the duration of a call.

        Raises:
            Deferred: no place is free.
        """
        call = object()
        with self._slots.changed:
            if not self._slots.changed.wait_for(
                lambda: self._begin(call, limits, workers, subject), self._patience()
            ):
                raise self._deferred(subject)
        try:
            yield
        except Deferred:
            self._end(call, subject)
            raise
        except BaseException:
            self._learn(call)
            self._end(call, subject)
            raise
        else:
            self._learn(call)
            self._end(call, subject)

    def _begin(self, call: object, limits: Limits, workers: int, subject: Subject) -> bool:
        most = max(1, limits.concurrent // workers) if limits.concurrent else None
        spare = int(self._is_reserved_against(subject))
        if most is not None and len(self._began) + spare >= most:
            return False
        if not self._slots.take(self._driver, subject, spare):
            return False
        self._began[call] = self._clock()
        if self._reserved is not None and self._reserved.project_id == subject.project_id:
            self._reserved = None
        self._served.pop(subject.project_id, None)
        self._served[subject.project_id] = self._clock()
        if len(self._served) > MOST_PROJECTS:
            del self._served[next(iter(self._served))]
        return True

    def _is_reserved_against(self, subject: Subject) -> bool:
        """Whether the next free place is reserved for another project."""
        holder = self._holder()
        return holder is not None and holder.project_id != subject.project_id

    def _holder(self) -> Subject | None:
        return self._reserved if self._clock() < self._reserved_until else None

    def _reserve(self, subject: Subject) -> float | None:
        """Reserve the next place; return the seconds until it is probably free, or None.

        Only a call of a project that was served earlier replaces the present holder.
        """
        oldest, holder = self._oldest(), self._holder()
        if max(self._seconds, oldest) <= SHORT:
            return None
        if holder not in (None, subject) and (self._served_at(subject) >= self._served_at(holder)):
            return None
        wait = self._seconds - oldest if oldest < self._seconds else min(oldest, LONGEST)
        self._reserved, self._reserved_until = subject, self._clock() + wait + SLACK
        return wait

    def _served_at(self, subject: Subject) -> float:
        """Return when a call of the project last began; 0 if none is known."""
        return self._served.get(subject.project_id, 0.0)

    def _end(self, call: object, subject: Subject) -> None:
        with self._slots.changed:
            del self._began[call]
            self._slots.release(self._driver, subject)

    def _learn(self, call: object) -> None:
        with self._slots.changed:
            self._seconds += 0.2 * (self._clock() - self._began[call] - self._seconds)

    def _oldest(self) -> float:
        """Return the age of the oldest running call in seconds; 0 if none runs."""
        return self._clock() - min(self._began.values(), default=self._clock())

    def _patience(self) -> float:
        # Quick calls free a place in a moment, and parking an operation costs more than that.
        return PATIENCE if max(self._seconds, self._oldest()) <= QUICK else 0.0

    def _deferred(self, subject: Subject) -> Deferred:
        under_way = len(self._began)
        interval = max(self._seconds, self._oldest()) / max(1, under_way)
        reserved = self._reserve(subject)
        return Deferred(
            f"{self._driver} already runs {under_way} calls of this worker",
            self._turns.next(interval, subject.project_id) if reserved is None else reserved,
        )
