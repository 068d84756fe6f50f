# SPDX-License-Identifier: Apache-2.0
"""One attempt at an operation: what its tasks share, and what they may write.

The tasks of a flow know drivers; this knows the bookkeeping. Each step is tried (quickly
retried where that helps), and its outcome is stored, so that an attempt that comes after goes on
where this one stopped. Steps that follow each other within a second are stored together: if the
worker dies meanwhile they are done once more, which drivers allow, and everybody else saves the
time. What is stored is conditional on the attempt: a worker that was overtaken finds out at its
next write and stops.
"""

import datetime
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from oslo_context import context
from oslo_log import log

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.model.operations import Kind, Operation, OperationKey, State, Step, StepState
from poppy.model.services import ProviderDetail, ProviderStatus
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

Details = dict[str, ProviderDetail]

#: Seconds since its last write after which a run stores what a step has reached.
CHECKPOINT_AGE = 1.0


class OperationRun:
    """One attempt at an operation.

    Raises:
        NotRunnable: it is not for this worker to run now.
        Unavailable: storage does not answer.

    Args:
        runner: the job that delivered it.
        lease: how long after its last write the run counts as lost.

    Attributes:
        service: as stored, with the provider details that this run has reached.
        lost: the run may not write any more; its tasks do nothing from then on.
        following: the operation of the service that can run now that this one is finished.
    """

    def __init__(
        self,
        storage: Storage,
        key: OperationKey,
        runner: str,
        policy: RetryPolicy,
        lease: datetime.timedelta,
    ) -> None:
        now = _now()
        self._operation, self.service = storage.operations.begin(key, runner, now, now + lease)
        self.lost = False
        self.following: OperationKey | None = None
        self._storage = storage
        self._policy = policy
        self._lease = lease
        self._failed = False
        self._retry_after: float | None = None
        self._written_at = time.monotonic()
        self._unwritten = False
        self._undos: list[tuple[str, Callable[[], None]]] = []
        # Tasks of several providers run side by side, and signs of life are given meanwhile.
        self._lock = threading.RLock()

    @property
    def operation(self) -> Operation:
        """The operation as this run has last stored it."""
        return self._operation

    def done(self, *steps: str) -> bool:
        """Whether all these steps are done, in this run or before it."""
        return not self.lost and all(
            self._operation.step(step).state is StepState.DONE for step in steps
        )

    def attempt(
        self, step: str, work: Callable[[], None], undo: Callable[[], None] | None = None
    ) -> None:
        """Do one step, unless it has been done or has failed for good before.

        Args:
            step: the name it is remembered by.
            work: calls a driver, and may :meth:`remember` what came of it.
            undo: removes what ``work`` made. Called when a delete has overtaken the run: it
                may have cleaned up before ``work`` had its effect.

        Raises:
            Unavailable: storage does not answer; the attempt is to be given up.
        """
        known = self._operation.step(step).state
        if self.lost or known in (StepState.DONE, StepState.FAILED):
            return
        self.speak_for_the_request()
        try:
            self._policy.call(work)
        except errors.InProgressError as exc:
            self._wait(exc.poll_after)
            outcome = Step(step, StepState.WAITING, str(exc))
        except errors.RetryableError as exc:
            LOG.warning("%s: %s may work later: %s", self, step, exc)
            self._failed = True
            self._wait(exc.retry_after)
            outcome = _step(step, StepState.WAITING, exc)
        except errors.PermanentError as exc:
            LOG.warning("%s: %s failed: %s", self, step, exc)
            outcome = _step(step, StepState.FAILED, exc)
        except Exception as exc:  # noqa: BLE001 - a driver's bug must not lose the operation
            LOG.exception("%s: %s broke; this is a bug in the driver", self, step)
            self._failed = True
            outcome = _step(step, StepState.WAITING, exc, "internal error; see the operator's log")
        else:
            LOG.debug("%s: %s is done", self, step)
            outcome = Step(step, StepState.DONE)
        if undo is not None:
            self._undos.append((step, undo))
        self._record(outcome)

    def _is_deleted(self) -> bool:
        try:
            service = self._storage.services.get(self.service.project_id, self.service.service_id)
        except errors.NotFound:
            return True
        deleting = ProviderStatus.DELETE_IN_PROGRESS
        return all(detail.status is deleting for detail in service.provider_details.values())

    def _undo(self, step: str, undo: Callable[[], None]) -> None:
        try:
            self._policy.call(undo)
        except errors.DriverError as exc:
            LOG.error(
                "%s: %s had its effect after the service was deleted and could not be undone; "
                "please remove it by hand: %s",
                self,
                step,
                exc,
            )
        else:
            LOG.info("%s: %s was undone, the service is deleted", self, step)

    def remember(self, change: Callable[[Details], object]) -> None:
        """Change the service's provider details; stored with the outcome of the step."""
        with self._lock:
            details = dict(self.service.provider_details)
            change(details)
            self.service = self.service.with_details(details)

    def speak_for_the_request(self) -> None:
        """Have what this thread logs carry the ids of the API request that asked for it."""
        operation = self._operation
        context.RequestContext(
            request_id=operation.request_id,
            project_id=operation.project_id,
            resource_uuid=operation.service_id,
        )

    def _wait(self, seconds: float | None) -> None:
        if seconds is not None:
            self._retry_after = max(self._retry_after or 0.0, seconds)

    def _record(self, step: Step) -> None:
        """Note the outcome of a step, and store it unless the last write was just now."""
        with self._lock:
            self._operation = self._operation.with_step(step)
            self._unwritten = True
            if time.monotonic() - self._written_at >= CHECKPOINT_AGE:
                self._checkpoint()

    def _checkpoint(self) -> None:
        now = _now()
        self._operation = replace(
            self._operation, updated_at=now, next_attempt_at=now + self._lease
        )
        self._write(self._writes_details())

    def _writes_details(self) -> bool:
        # These leave the service alone: other requests may change it meanwhile.
        purge = self._operation.purge
        alone = self._operation.kind is Kind.DISABLE or (purge is not None and purge.hard)
        return not alone

    def _write(self, details: bool) -> None:
        try:
            following = self._storage.operations.save(
                self._operation, self.service.provider_details if details else None
            )
            self.following = following.key if following else None
            self._unwritten = False
            self._written_at = time.monotonic()
        except errors.Fenced as exc:
            self._lose(exc)

    def _lose(self, reason: errors.Fenced) -> None:
        """Stop writing: another run, or a delete, has taken over."""
        LOG.warning("%s: given up: %s", self, reason)
        self.lost = True

    def clean_up(self) -> None:
        """Undo what this run has done, if a delete has taken over; after its last task."""
        if self.lost and self._undos and self._is_deleted():
            for step, undo in self._undos:
                self._undo(step, undo)

    def renew(self) -> None:
        """Tell storage that this run is alive."""
        with self._lock:
            if self._operation.state is not State.RUNNING or self.lost:
                return
            if self._unwritten:
                self._checkpoint()
                return
        try:
            self._storage.operations.renew(
                self._operation.key, self._operation.attempt, _now() + self._lease
            )
        except errors.Fenced as exc:
            self._lose(exc)

    def conclude(self) -> None:
        """Store what became of the attempt: parked, or finished.

        Raises:
            Unavailable: storage does not answer; the attempt is to be given up.
        """
        with self._lock:
            if not self.lost:
                self.speak_for_the_request()
                self._conclude()

    def _conclude(self) -> None:
        waiting = any(step.state is StepState.WAITING for step in self._operation.steps)
        if waiting and not self._give_up():
            self._park()
            return
        failed = [step for step in self._operation.steps if step.state is StepState.FAILED]
        if failed:
            self._finish_failed(failed)
        else:
            self._finish()

    def _give_up(self) -> bool:
        """Count this attempt; at the end of the budget, what waits has failed."""
        operation = self._operation
        failures = operation.failures + int(self._failed)
        age = _now() - operation.created_at
        self._operation = replace(operation, failures=failures)
        if not self._policy.exhausted(failures, age):
            return False
        for step in operation.steps:
            if step.state is StepState.WAITING:
                message = f"gave up after {operation.attempt} attempts: {step.message}"
                self._operation = self._operation.with_step(
                    replace(step, state=StepState.FAILED, message=message)
                )
        return True

    def _park(self) -> None:
        now = _now()
        operation = self._operation
        if self._failed:
            pause = self._policy.parked_for(operation.failures, self._retry_after)
        else:
            pause = datetime.timedelta(seconds=self._retry_after or self._policy.park_base)
        self._operation = replace(
            operation,
            state=State.WAITING,
            error=_reasons(operation, StepState.WAITING),
            updated_at=now,
            next_attempt_at=now + pause,
        )
        self._write(self._writes_details())
        LOG.info("%s: waits %.1f s: %s", self, pause.total_seconds(), self._operation.error)

    def _finish(self) -> None:
        self._operation = replace(
            self._operation,
            state=State.SUCCEEDED,
            error=None,
            updated_at=_now(),
            next_attempt_at=None,
        )
        if self._operation.kind is Kind.DELETE:
            try:
                self._storage.operations.remove(self._operation)
            except errors.Fenced as exc:
                self._lose(exc)
        else:
            self._settle_details({})
            self._write(self._writes_details())
        if not self.lost:
            LOG.info("%s: succeeded", self)

    def _finish_failed(self, failed: list[Step]) -> None:
        self._operation = replace(
            self._operation,
            state=State.FAILED,
            error=_reasons(self._operation, StepState.FAILED),
            updated_at=_now(),
            next_attempt_at=None,
        )
        self._settle_details({step.name.rpartition(":")[2]: step for step in failed})
        self._write(self._writes_details())
        if not self.lost:
            LOG.error("%s: failed: %s", self, self._operation.error)

    def _settle_details(self, failed: dict[str, Step]) -> None:
        """Give every provider its final status.

        Args:
            failed: the steps that failed, by provider; one of ``dns`` failed for all of them.
        """
        purge = self._operation.kind is Kind.PURGE

        def settle(details: Details) -> None:
            for name, detail in details.items():
                where = name if name in failed else "dns"
                step = failed.get(where)
                # What could not be purged is still deployed, and serves.
                broken = step is not None and not purge
                details[name] = replace(
                    detail,
                    status=ProviderStatus.FAILED if broken else ProviderStatus.DEPLOYED,
                    error_message=_explain(where, step, purge) if step else None,
                    error_info=step.name if step else None,
                    error_class=step.error_class if step else None,
                )

        self.remember(settle)

    def __str__(self) -> str:
        operation = self._operation
        return (
            f"{operation.kind} {operation.operation_id} of service {operation.service_id}, "
            f"attempt {operation.attempt}"
        )


def _step(name: str, state: StepState, error: Exception, message: str | None = None) -> Step:
    return Step(name, state, message or str(error), type(error).__name__)


def _explain(where: str, step: Step, purge: bool) -> str:
    return f"{'purge at ' if purge else ''}{where}: {step.message}"


def _reasons(operation: Operation, state: StepState) -> str:
    return "; ".join(
        f"{step.name}: {step.message}" for step in operation.steps if step.state is state
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
