# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: puts what is due, and nobody has delivered, on the board.

Operations come here when a server could not post them, when the board was lost, when their
worker died, and when the time has come that they were parked for. Now and then those that have
ended long ago are forgotten.
"""

import datetime
import random
import threading
import time
from collections.abc import Callable

import taskflow.exceptions
from oslo_log import log

from poppy.common import errors
from poppy.distributed_task.claiming import Board
from poppy.model.operations import OperationKey, State
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds between looks, at most, while there is more in storage than the board has room for.
BUSY = 0.1
#: Seconds between looks for operations to be forgotten, and how many at a time.
SWEEP, SWEPT = 3600.0, 500


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
        post: Callable[[OperationKey], None],
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
        now = datetime.datetime.now(datetime.UTC)
        due = self._storage.operations.due(now, room)
        if not due:
            return False
        # One whose job only waits its turn on a busy board needs no second job. A claimed job
        # does not count: its worker may have parked the operation and be about to consume it.
        waiting = self._board.iterjobs(only_unclaimed=True, ensure_fresh=True)
        delivered = {job.name for job in waiting}
        sparing = time.monotonic() < self._sparing_until
        for operation in due:
            if sparing and operation.state is State.RUNNING:
                continue
            if not self._storage.operations.requeue(operation, now + self._redelivery):
                return True
            if operation.operation_id not in delivered:
                self._post(operation.key)
        return len(due) == room
