# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: posts operations that are due and that no server has posted.

These are operations that a server could not or should not post, that were on a lost board, that
had a worker which died, or that were parked until now. The dispatcher also deletes operations that
ended long ago.
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

#: Maximum seconds between looks while storage has more due operations than the board has room for.
BUSY = 0.1
#: Seconds between deletions of old operations, and how many to delete at a time.
SWEEP, SWEPT = 3600.0, 500


class Shares:
    """Divides the board between projects.

    A project may fill half of it, and bulk work a quarter. The last quarter is for projects with
    nothing on the board, so that a new project does not wait for the whole backlog.

    Args:
        depth: roughly how many jobs may wait on the board.
        waiting: the jobs that wait there now.
    """

    def __init__(self, depth: int, waiting: Iterable[Job]) -> None:
        self._depth = depth
        places = [place_of(job) for job in waiting]
        self.projects = collections.Counter(place.project_id for place in places)
        self._bulk = sum(place.priority is Priority.BULK for place in places)

    def take(self, operation: Operation) -> bool:
        """Take a place on the board for an operation; return whether there was one."""
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
    """Return how many jobs of one project may wait on a board."""
    return max(1, depth // 2)


class Dispatcher:
    """Looks for due operations in storage. Several dispatchers can run side by side.

    During a backlog it keeps the board filled: it checks more often, but only how full the board
    is. When it meets another dispatcher in storage, it leaves the rest to that one. After a look
    that left nothing to post, it asks storage first whether anything is due, and reads the board
    only then.

    Args:
        post: puts an operation on the board.
        interval: seconds between looks.
        redelivery: how long after its posting to post an operation again that no worker has
            begun.
        depth: roughly how many jobs may wait on the board.
        retention: how long to keep operations after their end; None keeps them forever.
        edge_retention: how long to keep purges and withdrawals in the log of the operator's own
            edge; None to keep them.
        traffic_retention: how long to keep what its nodes count; None to keep it.
        spare: seconds after a storage outage during which no run is taken over: its worker could
            not renew its lease either, and gets time to do so.
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
        edge_retention: datetime.timedelta | None = None,
        traffic_retention: datetime.timedelta | None = None,
        spare: float = 0.0,
    ) -> None:
        self._storage = storage
        self._board = board
        self._post = post
        self._interval = interval
        self._redelivery = redelivery
        self._depth = depth
        self._retention = retention
        self._edge_retention = edge_retention
        self._traffic_retention = traffic_retention
        self._spare = spare
        self._sparing_until = time.monotonic()
        self._idle = False
        # Random, so that dispatchers started together do not sweep together.
        self._next_sweep = time.monotonic() + random.uniform(0, SWEEP)

    def run(self, stopped: threading.Event) -> None:
        """Look for due operations until ``stopped``; retry failures at the next look."""
        pause = self._interval
        # Random, so that dispatchers started together do not look at the same moments.
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
        """Delete a batch of old entries each; schedule the next batch at once if there are more.

        Raises:
            Unavailable: storage does not answer.
        """
        self._next_sweep = time.monotonic() + SWEEP
        now = _now()
        pruned = 0
        if self._retention is not None:
            pruned = self._storage.operations.prune(now - self._retention, SWEPT)
        if self._edge_retention is not None:
            pruned = max(pruned, self._storage.edge.prune(now - self._edge_retention, SWEPT))
        if self._traffic_retention is not None:
            before = now - self._traffic_retention
            pruned = max(pruned, self._storage.edge.prune_traffic(before, SWEPT))
        if pruned >= SWEPT:
            self._next_sweep = time.monotonic()

    def look(self) -> bool:
        """Post due operations, as far as the board has room.

        Returns:
            Whether there may be more to post soon: storage has more, or might have, because the
            board is so full that servers leave their operations in storage.

        Raises:
            Unavailable: storage or the board does not answer.
            TaskFlowException: the board does not answer.
        """
        if not self._board.connected:
            return False
        if self._idle and not self._storage.operations.due(_now(), 1, {}):
            return False
        more = self._fill()
        self._idle = not more
        return more

    def _fill(self) -> bool:
        """Post due operations; return whether there may be more to post soon."""
        room = self._depth - self._board.waiting(self._depth)
        if room <= self._depth // 8:
            return True
        waiting = list(self._board.iterjobs(only_unclaimed=True, ensure_fresh=True))
        shares = Shares(self._depth, waiting)
        now = _now()
        # A smaller batch might contain no bulk work.
        limit = max(room, SHARE)
        due = self._storage.operations.due(now, limit, shares.projects)
        # An operation with a job that waits on the board needs no second job. A claimed job does
        # not count: its worker may have parked the operation and be about to consume the job.
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


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
