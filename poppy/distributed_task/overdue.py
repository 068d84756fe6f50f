# SPDX-License-Identifier: Apache-2.0
"""Ends operations that have waited beyond their maximum age.

No operation is parked beyond it (see :func:`.operation_result.parked`), but the options may have
changed since, and earlier versions stored any time that a provider asked for.
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

#: Seconds between looks at most; and the maximum age is divided by PART for a shorter interval.
INTERVAL, PART = 3600.0, 24


class Overdue:
    """Makes operations due that wait beyond their maximum age, for a last attempt.

    Several of these can run side by side.

    Args:
        policy: returns the current retry policy.
    """

    def __init__(self, storage: Storage, policy: Callable[[], RetryPolicy]) -> None:
        self._storage = storage
        self._policy = policy

    def run(self, stopped: threading.Event) -> None:
        """Look for such operations, at once and then periodically, until ``stopped``."""
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
        """Make overdue operations due; the dispatcher then posts them.

        Returns:
            The number of overdue operations.

        Raises:
            Unavailable: storage does not answer.
        """
        now = datetime.datetime.now(datetime.UTC)
        oldest = now - self._policy().max_age
        found = 0
        for operation in self._storage.operations.find({State.WAITING}, oldest):
            due = operation.next_attempt_at
            # The age of a retried operation counts from its retry.
            if operation.since > oldest or due is None or due <= now:
                continue
            if self._storage.operations.requeue(operation, now):
                found += 1
                LOG.warning(
                    "Operation %s was parked until %s, beyond its maximum age; it is due now",
                    operation.operation_id,
                    due,
                )
        return found
