# SPDX-License-Identifier: Apache-2.0
"""Ends waits that last beyond an operation's time.

No operation is parked beyond that (see :func:`.outcome.parked`), but the options may have changed
since, and earlier versions stored whatever moment a provider named.
"""

import datetime
import random
import threading
from collections.abc import Callable

from oslo_log import log

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.model.operations import State
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds between looks: the most, and the part of an operation's time.
INTERVAL, PART = 3600.0, 24


class Overdue:
    """Has operations that wait beyond their time tried for the last time.

    Any number of these may look side by side.

    Args:
        policy: gives the retry policy as it is now.
    """

    def __init__(self, storage: Storage, policy: Callable[[], RetryPolicy]) -> None:
        self._storage = storage
        self._policy = policy

    def run(self, stopped: threading.Event) -> None:
        """Look, at once and then now and then, until ``stopped``."""
        while not stopped.is_set():
            try:
                self.look()
            except errors.Unavailable as exc:
                LOG.warning("Could not look for operations that wait too long: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread they would wait on
                LOG.exception("Looking for operations that wait too long failed; trying again")
            pause = min(INTERVAL, max(1.0, self._policy().max_age.total_seconds() / PART))
            stopped.wait(pause * random.uniform(0.75, 1.25))

    def look(self) -> int:
        """Make due what waits beyond its time; the dispatcher then posts it.

        Returns:
            How many there were.

        Raises:
            Unavailable: storage does not answer.
        """
        now = datetime.datetime.now(datetime.UTC)
        oldest = now - self._policy().max_age
        found = 0
        for operation in self._storage.operations.find({State.WAITING}, oldest):
            due = operation.next_attempt_at
            # One that was tried again has time since then.
            if operation.since > oldest or due is None or due <= now:
                continue
            if self._storage.operations.requeue(operation, now):
                found += 1
                LOG.warning(
                    "Operation %s was to wait until %s, beyond its time; it is due now",
                    operation.operation_id,
                    due,
                )
        return found
