# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: puts operations on the board that are due and that no server has posted.

Operations come here when a server could not or should not post them, when the board was lost,
when their worker died, and when the time has come that they were parked for. Now and then those
that have ended long ago are forgotten.
"""

import collections
import datetime
import random
import threading
import time
from collections.abc import Callable, Iterable

import taskflow.exceptions
from oslo_log import log
from taskflow.jobs.base import Job

from poppy.common import errors
from poppy.distributed_task.job_source import Board, place_of
from poppy.model.fairness import SHARE
from poppy.model.operations import Operation, Priority, State
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds between looks, at most, while there is more in storage than the board has room for.
BUSY = 0.1
#: Seconds between looks for operations to be forgotten, and how many at a time.
SWEEP, SWEPT = 3600.0, 500


class Shares:
    """Who may have how much of the board.

    A project may have half of it, and bulk work a quarter. The last quarter is for projects that
    have nothing there: so whoever comes new does not wait until the board has been worked off.

    Args:
        depth: about how many jobs may wait on the board.
        waiting: those that do.
    """

    def __init__(self, depth: int, waiting: Iterable[Job]) -> None:
        self._depth = depth
        places = [place_of(job) for job in waiting]
        self.projects = collections.Counter(place.project_id for place in places)
        self._bulk = sum(place.priority is Priority.BULK for place in places)

    def take(self, operation: Operation) -> bool:
        """Take a place on the board for an operation; whether there is one for it."""
        mine, total = self.projects[operation.project_id], self.projects.total()
        is_bulk = operation.priority is Priority.BULK
        if is_bulk and self._bulk >= max(1, self._depth // 4):
            return False
        if mine and (mine >= share_of(self._depth) or total >= 3 * self._depth // 4):
            return False
        self.projects[operation.project_id] += 1
        self._bulk += is_bulk
        return True


def share_of(depth: int) -> int:
    """How many jobs of one project may wait on a board."""
    return max(1, depth // 2)


class Dispatcher:
    """Looks into storage now and then. Any number of them may do so side by side.

    While there is a backlog, it keeps the board filled: it looks more often, but only at how full
    the board is. When it meets another dispatcher in storage it leaves the rest to that one.

    Args:
        post: puts an operation on the board.
        interval: seconds between looks.
        redelivery: how long after it was posted an operation that no worker has begun is
            posted again.
        depth: about how many jobs may wait on the board.
        retention: how long after their end operations are kept; None means for ever.
        spare: seconds after storage was away for which no run is taken over: its worker could
            not give a sign of life either, and gets time for one.
    """

    def __init__(
        self,
        storage: Storage,
        board: Board,
        post: Callable[[Operation], None],
        interval: float,
        redelivery: datetime.timedelta,
        depth: int,
        retention: datetime.timedelta | None = None,
        spare: float = 0.0,
    ) -> None:
        self._storage = storage
        self._board = board
        self._post = post
        self._interval = interval
        self._redelivery = redelivery
        self._depth = depth
        self._retention = retention
        self._spare = spare
        self._sparing_until = time.monotonic()
        # Dispatchers that were started together do not sweep together.
        self._next_sweep = time.monotonic() + random.uniform(0, SWEEP)

    def run(self, stopped: threading.Event) -> None:
        """Look until ``stopped``; what does not answer is tried again at the next look."""
        pause = self._interval
        # Dispatchers that were started together shall not look at the same moments.
        while not stopped.wait(pause * random.uniform(0.75, 1.25)):
            pause = self._interval
            try:
                if self.look():
                    pause = min(BUSY, self._interval)
                if time.monotonic() >= self._next_sweep:
                    self.sweep()
            except (errors.Unavailable, taskflow.exceptions.TaskFlowException) as exc:
                if isinstance(exc, errors.Unavailable):
                    self._sparing_until = time.monotonic() + self._spare
                LOG.warning("Could not look for due operations: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread nothing parked ever goes on
                LOG.exception("Looking for due operations failed; trying again")

    def sweep(self) -> None:
        """Have storage forget some of what has ended long ago; soon again if there is more.

        Raises:
            Unavailable: storage does not answer.
        """
        self._next_sweep = time.monotonic() + SWEEP
        if self._retention is None:
            return
        before = datetime.datetime.now(datetime.UTC) - self._retention
        if self._storage.operations.prune(before, SWEPT) >= SWEPT:
            self._next_sweep = time.monotonic()

    def look(self) -> bool:
        """Post what is due, as far as the board has room.

        Returns:
            Whether there may be more to post soon: storage holds more, or nobody knows, since
            the board is so full that servers leave theirs in storage.

        Raises:
            Unavailable: storage does not answer, or the board.
            TaskFlowException: the board does not answer.
        """
        if not self._board.connected:
            return False
        room = self._depth - self._board.waiting(self._depth)
        if room <= self._depth // 8:
            return True
        waiting = list(self._board.iterjobs(only_unclaimed=True, ensure_fresh=True))
        shares = Shares(self._depth, waiting)
        now = datetime.datetime.now(datetime.UTC)
        # With fewer, none might be bulk work.
        limit = max(room, SHARE)
        due = self._storage.operations.due(now, limit, shares.projects)
        # One whose job only waits its turn on a busy board needs no second job. A claimed job
        # does not count: its worker may have parked the operation and be about to consume it.
        delivered = {job.name for job in waiting}
        sparing = time.monotonic() < self._sparing_until
        left = False
        for operation in due:
            if sparing and operation.state is State.RUNNING:
                continue
            is_there = operation.operation_id in delivered
            if not is_there and not shares.take(operation):
                left = True
                continue
            if not self._storage.operations.requeue(operation, now + self._redelivery):
                return True
            if not is_there:
                self._post(operation)
        return left or len(due) == limit
