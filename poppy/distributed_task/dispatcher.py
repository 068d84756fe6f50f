# SPDX-License-Identifier: Apache-2.0
"""The dispatcher: puts what is due, and nobody has delivered, on the board.

Operations come here when a server could not post them, when the board was lost, when their
worker died, and when the time has come that they were parked for.
"""

import datetime
import threading
from collections.abc import Callable

import taskflow.exceptions
import taskflow.jobs.base
from oslo_log import log

from poppy.common import errors
from poppy.model.operations import OperationKey
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)


class Dispatcher:
    """Looks into storage now and then. Any number of them may do so side by side.

    Args:
        post: puts an operation on the board.
        interval: seconds between looks.
        redelivery: how long after it was posted an operation that no worker has begun is
            posted again.
        depth: about how many jobs the board may hold.
    """

    def __init__(
        self,
        storage: Storage,
        board: taskflow.jobs.base.JobBoard,
        post: Callable[[OperationKey], None],
        interval: float,
        redelivery: datetime.timedelta,
        depth: int,
    ) -> None:
        self._storage = storage
        self._board = board
        self._post = post
        self._interval = interval
        self._redelivery = redelivery
        self._depth = depth

    def run(self, stopped: threading.Event) -> None:
        """Look until ``stopped``; what does not answer is tried again at the next look."""
        pause = self._interval
        while not stopped.wait(pause):
            posted = 0
            try:
                posted = self.look()
            except (errors.Unavailable, taskflow.exceptions.TaskFlowException) as exc:
                LOG.warning("Could not look for due operations: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread nothing parked ever goes on
                LOG.exception("Looking for due operations failed; trying again")
            # There may be more where these came from: see to it that no worker runs dry.
            pause = self._interval / 5 if posted else self._interval

    def look(self) -> int:
        """Post what is due, as far as the board has room.

        Returns:
            How many operations were posted.

        Raises:
            Unavailable: storage does not answer, or the board.
        """
        if not self._board.connected:
            return 0
        room = self._depth - self._board.job_count
        if room <= 0:
            return 0
        now = datetime.datetime.now(datetime.UTC)
        due = self._storage.operations.due(now, room)
        if not due:
            return 0
        # One whose job only waits its turn on a busy board needs no second job. A claimed job
        # does not count: its worker may have parked the operation and be about to consume it.
        waiting = self._board.iterjobs(only_unclaimed=True, ensure_fresh=True)
        delivered = {job.name for job in waiting}
        posted = 0
        for operation in due:
            if not self._storage.operations.requeue(operation, now + self._redelivery):
                continue
            if operation.operation_id not in delivered:
                self._post(operation.key)
                posted += 1
        return posted
