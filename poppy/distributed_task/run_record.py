# SPDX-License-Identifier: Apache-2.0
"""The record of one run: its progress as stored, and its right to write.

Steps that follow each other within a second are stored together, which saves writes. If the worker
dies in between, these steps are repeated, which drivers allow.

Every write is conditional on the attempt. So an overtaken run finds out at its next write.
"""

import contextlib
import datetime
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.model.operations import Operation, OperationKey, State, Step
from poppy.model.provider_details import ProviderDetail
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: A run renews its lease when a fifth of it has passed without a write. So a short run never has
#: to, and a live one can miss two renewals and keep its lease.
SIGNS = 5
#: Seconds after the last write from which a run stores the outcome of a step at once.
CHECKPOINT_AGE = 1.0


class RunRecord:
    """Begins a run and stores its progress. Threads may share it.

    Args:
        runner: the job that delivered the operation.
        lease: how long after its last write a run counts as lost.

    Attributes:
        operation: with the progress of this run.
        service: as stored, with the provider details that this run has reached.
        lost: another run or a delete has taken over, and this run may no longer write.
        is_superseded: a delete has taken over; it waits for the end of this run.
        ended: the result of the run is stored.
        following: the service's next operation, which can run now that this one is finished.
        lock: guards all of this; a thread can take it repeatedly.

    Raises:
        NotRunnable: this worker can't run the operation now.
        Unavailable: storage does not answer.
    """

    def __init__(
        self, storage: Storage, key: OperationKey, runner: str, lease: datetime.timedelta
    ) -> None:
        now = now_utc()
        self.operation, self.service = storage.operations.begin(key, runner, now, now + lease)
        self.lost = False
        self.is_superseded = False
        self.ended = False
        self.following: Operation | None = None
        self.lock = threading.RLock()
        self._storage = storage
        self._lease = lease
        self._written_at = self._signed_at = time.monotonic()
        self._unwritten: list[str] = []

    @property
    def is_overtaken(self) -> bool:
        """Whether another run may have started without waiting for this run's calls."""
        return self.lost and not self.is_superseded

    def apply(self, details: Mapping[str, ProviderDetail | None]) -> None:
        """Change provider details, to be stored with the next write.

        Args:
            details: by provider; None to remove them.
        """
        with self.lock:
            changed = {**self.service.provider_details, **details}
            kept = {name: detail for name, detail in changed.items() if detail is not None}
            self.service = self.service.with_details(kept)

    def set_step(self, step: Step) -> None:
        """Set a step that need not be stored before the run ends."""
        with self.lock:
            self.operation = self.operation.with_step(step)

    def add_step(self, name: str, step: Step | None) -> None:
        """Add the outcome of a step, if any, and store it unless the last write is recent.

        Raises:
            Unavailable: storage does not answer.
        """
        with self.lock:
            self._unwritten.append(name)
            if step is None:
                return
            self.operation = self.operation.with_step(step)
            if time.monotonic() - self._written_at >= CHECKPOINT_AGE:
                self._checkpoint()

    def take_unwritten(self) -> list[str]:
        """Take the names of the steps whose outcome is not stored."""
        with self.lock:
            steps, self._unwritten = self._unwritten, []
        return steps

    def put_back(self, steps: list[str]) -> None:
        """Return steps from :meth:`take_unwritten`."""
        with self.lock:
            self._unwritten += steps

    def write(self, operation: Operation) -> None:
        """Store the operation, unless the run is lost.

        Raises:
            Unavailable: storage does not answer.
        """
        self.operation = operation
        # Only operations that are shown write details: requests may be changing the service.
        details = self.service.provider_details if operation.is_shown else None
        try:
            self.following = self._storage.operations.save(operation, details)
            self._written_at = self._signed_at = time.monotonic()
            self._unwritten.clear()
        except errors.Fenced as exc:
            self._lose(exc)

    def remove(self, operation: Operation) -> None:
        """Store the end of a delete, which removes the service.

        Raises:
            Unavailable: storage does not answer.
        """
        self.operation = operation
        try:
            self._storage.operations.remove(operation)
            self._unwritten.clear()
        except errors.Fenced as exc:
            self._lose(exc)

    def acknowledge(self) -> None:
        """Tell the delete that has superseded this run that its calls have ended.

        Raises:
            Unavailable: storage does not answer.
        """
        key, attempt = self.operation.key, self.operation.attempt
        self.following = self._storage.operations.acknowledge(key, attempt, now_utc())

    def renew_when_due(self) -> None:
        """Renew the lease, unless that was done recently.

        A superseded run renews it too, for the delete that waits for its end.

        Raises:
            Unavailable: storage does not answer.
        """
        if time.monotonic() - self._signed_at < self._lease.total_seconds() / SIGNS:
            return
        # If another thread holds the lock, it is writing, which renews the lease as well.
        if not self.lock.acquire(blocking=False):
            return
        try:
            self.renew()
        finally:
            self.lock.release()

    def renew(self) -> None:
        """Renew the lease, and store steps that are not stored yet.

        Raises:
            Unavailable: storage does not answer.
        """
        if self.ended or self.is_overtaken:
            return
        if self._unwritten and not self.lost and self.operation.state is State.RUNNING:
            self._checkpoint()
            return
        operations = self._storage.operations
        key, attempt = self.operation.key, self.operation.attempt
        try:
            if not operations.renew(key, attempt, now_utc() + self._lease):
                self._lose(errors.Superseded("a delete has overtaken it"))
            self._signed_at = time.monotonic()
        except errors.Fenced as exc:
            # The run may have ended concurrently.
            if not self.ended:
                self._lose(exc)

    @contextlib.contextmanager
    def unless_unavailable(self) -> Iterator[None]:
        """Restore operation and service if storage does not answer in this block."""
        before = self.operation, self.service
        try:
            yield
        except errors.Unavailable:
            self.operation, self.service = before
            raise

    def _checkpoint(self) -> None:
        now = now_utc()
        self.write(replace(self.operation, updated_at=now, next_attempt_at=now + self._lease))

    def _lose(self, reason: errors.Fenced) -> None:
        """Stop writing: another run or a delete has taken over."""
        if not self.lost:
            LOG.warning("%s: given up: %s", self, reason)
        self.lost = True
        self.is_superseded = isinstance(reason, errors.Superseded)

    def __str__(self) -> str:
        operation = self.operation
        return (
            f"{operation.kind} {operation.operation_id} of service {operation.service_id}, "
            f"attempt {operation.attempt}"
        )
