# SPDX-License-Identifier: Apache-2.0
"""One attempt at an operation: the state that its tasks share, and what it stores.

The tasks of a flow call drivers; the run keeps the books. It tries each step (with quick retries
where they help) and stores the outcome, so that a later attempt continues where this one stopped.
Steps that follow each other within a second are stored together, which saves writes. If the worker
dies in between, these steps are repeated, which drivers allow.

Every write is conditional on the attempt: an overtaken worker finds out at its next write and
stops. A run that a delete has superseded reports the end of its last call, because the delete
waits for that.
"""

import datetime
import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from oslo_context import context
from oslo_log import log

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.distributed_task import compensation, instrumentation, operation_result
from poppy.distributed_task.call_pool import CallPool, Interrupted
from poppy.distributed_task.operation_result import Details
from poppy.distributed_task.throttling import Deferred, Subject, Throttles
from poppy.model.operations import Kind, Operation, OperationKey, State, Step, StepState
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: A run renews its lease when a fifth of it has passed without a write. So a short run never has
#: to, and a live one can miss two renewals and keep its lease.
SIGNS = 5
#: Seconds after the last write from which a run stores the outcome of a step at once.
CHECKPOINT_AGE = 1.0


@dataclass(frozen=True)
class Dependencies:
    """What all runs of a worker share.

    Attributes:
        policy: returns the current retry policy.
        lease: how long after its last write a run counts as lost.
        calls: runs driver calls.
        throttles: decide whether a driver may be called now.
    """

    storage: Storage
    policy: Callable[[], RetryPolicy]
    lease: datetime.timedelta
    calls: CallPool
    throttles: Throttles


class _NotAgain(errors.PoppyError):
    """Do not repeat a failed call: the run has been overtaken, or may have been."""


class OperationRun:
    """One attempt at an operation.

    Raises:
        NotRunnable: this worker can't run the operation now.
        Unavailable: storage does not answer.

    Args:
        runner: the job that delivered the operation.

    Attributes:
        service: as stored, with the provider details that this run has reached.
        lost: the run may no longer write; its tasks do nothing from then on.
        following: the service's next operation, which can run now that this one is finished.
        handed_back: the operation is unfinished and another worker can continue it at once.
    """

    def __init__(self, dependencies: Dependencies, key: OperationKey, runner: str) -> None:
        now = _now()
        storage = dependencies.storage
        self._lease = dependencies.lease
        self._operation, self.service = storage.operations.begin(
            key, runner, now, now + self._lease
        )
        self.lost = False
        self.following: Operation | None = None
        self.handed_back = False
        self._storage = storage
        self._dependencies = dependencies
        self._policy = dependencies.policy()
        self._superseded = False
        self._ended = False
        self._stopped = False
        self._outage: errors.Unavailable | None = None
        self._failed = False
        self._retry_after: float | None = None
        self._written_at = self._signed_at = time.monotonic()
        # Steps since the last write, each with its undo.
        self._unwritten: list[tuple[str, Callable[[], None] | None]] = []
        # Tasks of several providers, and the renewal of the lease, run in parallel.
        self._lock = threading.RLock()

    @property
    def operation(self) -> Operation:
        """The operation, with the progress of this run."""
        return self._operation

    def done(self, *steps: str) -> bool:
        """Whether all these steps are done, in this attempt or an earlier one."""
        return not self.lost and all(
            self._operation.step(step).state is StepState.DONE for step in steps
        )

    def attempt(
        self,
        step: str,
        driver: str,
        work: Callable[[], None],
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Do one step, unless it is done or has failed for good.

        Args:
            step: the name under which its outcome is stored.
            driver: the driver that ``work`` calls, as ``<kind>:<name>``.
            work: calls the driver, and may :meth:`remember` the result.
            undo: removes what ``work`` created, in case it took effect too late.
        """
        known = self._operation.step(step).state
        if self.lost or self._stopped or known in (StepState.DONE, StepState.FAILED):
            return
        try:
            reached = self._call(step, driver, work, undo)
        except Interrupted:
            self._stopped = True
            return
        except Deferred as exc:
            instrumentation.deferred(driver, exc.seconds)
            self._wait(exc.seconds)
            # Nothing has happened, so it is not stored before the run parks.
            with self._lock:
                self._operation = self._operation.with_step(
                    Step(step, StepState.WAITING, str(exc))
                )
            return
        except _NotAgain:
            reached = None
        try:
            self._record(step, reached, undo)
            self.compensate_late_steps()
        except errors.Unavailable as exc:
            self._outage = exc
            self._stopped = True

    def _is_overtaken(self) -> bool:
        """Whether another run may have started without waiting for this run's calls."""
        return self.lost and not self._superseded

    def _call(
        self, step: str, driver: str, work: Callable[[], None], undo: Callable[[], None] | None
    ) -> Step:
        """Call the driver and return the step with its outcome."""

        verb = instrumentation.verb_of(step, self._operation.kind)

        def may_repeat() -> None:
            self._check_right()
            instrumentation.repeated(driver, verb)

        def called() -> None:
            self.bind_log_context()
            self._policy.call(work, may_repeat)

        ended_late = functools.partial(self._compensate, step, undo)
        try:
            subject = Subject(self.service.project_id, self.service.service_id)
            with (
                self._dependencies.throttles.passing(driver, subject),
                instrumentation.call(driver, verb),
            ):
                self._dependencies.calls.run(called, self._policy.step_timeout, ended_late)
        except errors.InProgressError as exc:
            self._wait(exc.poll_after)
            return Step(step, StepState.WAITING, str(exc))
        except errors.RetryableError as exc:
            LOG.warning("%s: %s failed and will be retried: %s", self, step, exc)
            self._failed = True
            self._wait(exc.retry_after)
            return _step(step, StepState.WAITING, exc)
        except errors.PermanentError as exc:
            LOG.warning("%s: %s failed: %s", self, step, exc)
            return _step(step, StepState.FAILED, exc)
        except (Interrupted, Deferred, _NotAgain):
            raise
        except Exception as exc:  # noqa: BLE001 - a driver's bug must not lose the operation
            LOG.exception("%s: %s broke; this is a bug in the driver", self, step)
            self._failed = True
            return _step(step, StepState.WAITING, exc, "internal error; see the operator's log")
        LOG.debug("%s: %s is done", self, step)
        return Step(step, StepState.DONE)

    def _check_right(self) -> None:
        """Prevent the repetition of a call if the run was overtaken during the call.

        Otherwise a worker that was frozen in a call would repeat it with an outdated document.
        """
        with self._lock:
            try:
                self._renew()
            except errors.Unavailable as exc:
                self._outage = exc
                self._stopped = True
        if self.lost or self._stopped or self._ended:
            raise _NotAgain("the run may have been overtaken")

    def holds(self, domain: str) -> bool:
        """Whether the domain is free or claimed by this service.

        Raises:
            Unavailable: storage does not answer.
        """
        try:
            claim = self._storage.domains.get(domain)
        except errors.NotFound:
            return True
        return claim.service_id in (None, self.service.service_id)

    def remember(self, change: Callable[[Details], object]) -> None:
        """Change the service's provider details, to be stored with the step's outcome."""
        with self._lock:
            details = dict(self.service.provider_details)
            change(details)
            self.service = self.service.with_details(details)

    def bind_log_context(self) -> None:
        """Add the API request's ids to this thread's log context."""
        operation = self._operation
        context.RequestContext(
            request_id=operation.request_id,
            project_id=operation.project_id,
            resource_uuid=operation.service_id,
        )

    def _wait(self, seconds: object) -> None:
        """Record a step's wait before the next attempt; the longest one counts."""
        asked = self._policy.asked(seconds)
        if asked is not None:
            self._retry_after = max(self._retry_after or 0.0, asked)

    def _record(self, name: str, step: Step | None, undo: Callable[[], None] | None) -> None:
        """Record a step's outcome, if any, and store it unless the last write is recent."""
        with self._lock:
            self._unwritten.append((name, undo))
            if step is None:
                return
            self._operation = self._operation.with_step(step)
            if time.monotonic() - self._written_at >= CHECKPOINT_AGE:
                self._checkpoint()

    def _checkpoint(self) -> None:
        now = _now()
        self._operation = replace(
            self._operation, updated_at=now, next_attempt_at=now + self._lease
        )
        self._write()

    def compensate_late_steps(self) -> None:
        """Undo or redo steps of this run that took effect after it was overtaken.

        Raises:
            Unavailable: storage does not answer; call it again.
        """
        if not self._is_overtaken():
            return
        with self._lock:
            steps, self._unwritten = self._unwritten, []
        for number, (step, undo) in enumerate(steps):
            compensate = functools.partial(self._compensate, step, undo)
            try:
                # This may call a driver, which may hang.
                self._dependencies.calls.run(compensate, self._policy.step_timeout, _nothing)
            except errors.Unavailable:
                with self._lock:
                    self._unwritten += steps[number:]
                raise
            except (errors.RetryableError, Interrupted) as exc:
                LOG.error("%s: could not compensate for late step %s: %s", self, step, exc)

    def _compensate(self, step: str, undo: Callable[[], None] | None) -> None:
        compensation.compensate(
            self._storage, self._operation, self.service, step, self._policy, undo
        )

    def _write(self) -> None:
        # Only operations that are shown write details: requests may be changing the service.
        details = self.service.provider_details if self._operation.is_shown else None
        try:
            following = self._storage.operations.save(self._operation, details)
            self.following = following
            self._written_at = self._signed_at = time.monotonic()
            self._unwritten.clear()
        except errors.Fenced as exc:
            self._lose(exc)

    def _lose(self, reason: errors.Fenced) -> None:
        """Stop writing: another run or a delete has taken over."""
        if not self.lost:
            LOG.warning("%s: given up: %s", self, reason)
        self.lost = True
        self._superseded = isinstance(reason, errors.Superseded)

    def renew(self) -> None:
        """Renew the run's lease, unless that was done recently.

        A superseded run renews it too, for the delete that waits for its end.
        """
        if time.monotonic() - self._signed_at < self._lease.total_seconds() / SIGNS:
            return
        # If another thread holds the lock, it is writing, which renews the lease as well.
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._renew()
        finally:
            self._lock.release()

    def _renew(self) -> None:
        if self._ended or self._is_overtaken():
            return
        if self._unwritten and not self.lost and self._operation.state is State.RUNNING:
            self._checkpoint()
            return
        operations = self._storage.operations
        key, attempt = self._operation.key, self._operation.attempt
        try:
            if not operations.renew(key, attempt, _now() + self._lease):
                self._lose(errors.Superseded("a delete has overtaken it"))
            self._signed_at = time.monotonic()
        except errors.Fenced as exc:
            # The run may have ended concurrently.
            if not self._ended:
                self._lose(exc)

    @property
    def outcome(self) -> str:
        """The result of this run in one word, as used in metrics."""
        if self.lost:
            return "superseded" if self._superseded else "lost"
        if self.handed_back:
            return "handed_back"
        if self._operation.state is State.WAITING:
            return "retried" if self._failed else "parked"
        return str(self._operation.state) if self._operation.state.finished else "broken"

    @property
    def crashes(self) -> int:
        """How many consecutive runs before this one were lost."""
        return self._operation.crashes

    def hand_back(self) -> None:
        """Let another worker continue the operation at once.

        Raises:
            Unavailable: storage does not answer.
        """
        with self._lock:
            if self.lost or self._ended:
                return
            now = _now()
            self._operation = replace(
                self._operation, state=State.QUEUED, updated_at=now, next_attempt_at=now
            )
            self._ended = True
            self._write()
        self.handed_back = not self.lost
        LOG.info("%s: handed back", self)

    def conclude(self) -> None:
        """Store the result of the attempt: parked, finished or handed back.

        Raises:
            Unavailable: storage does not answer; give the attempt up.
        """
        if self._outage is not None:
            raise self._outage
        if self._stopped:
            self.hand_back()
        else:
            with self._lock:
                self._end()
        self.compensate_late_steps()

    def _end(self) -> None:
        before = self._operation, self.service
        try:
            if not self.lost:
                self._conclude()
            if self._superseded:
                self._acknowledge()
        except errors.Unavailable:
            # The result was not stored: restore the state before it.
            self._operation, self.service = before
            raise
        self._ended = True

    def _acknowledge(self) -> None:
        key, attempt = self._operation.key, self._operation.attempt
        following = self._storage.operations.acknowledge(key, attempt, _now())
        self.following = following
        LOG.info("%s: ended; the delete that superseded it can run", self)

    def _conclude(self) -> None:
        if operation_result.waits(self._operation):
            now = _now()
            self._operation = operation_result.counted(
                self._operation, self._failed, self._policy, now
            )
        if operation_result.waits(self._operation):
            self._park()
            return
        failed = [step for step in self._operation.steps if step.state is StepState.FAILED]
        if failed:
            self._finish_failed(failed)
        else:
            self._finish()

    def _park(self) -> None:
        now, operation = _now(), self._operation
        if self._failed:
            pause = self._policy.parked_for(operation.failures, self._retry_after)
        else:
            pause = self._policy.polled_after(self._retry_after)
        self._operation = operation_result.parked(operation, self._policy, now, pause)
        self.remember(lambda details: operation_result.show(details, operation.kind))
        self._write()
        until = self._operation.next_attempt_at
        LOG.info("%s: waits until %s: %s", self, until, self._operation.error)

    def _finish(self) -> None:
        self._operation = operation_result.finished(self._operation, State.SUCCEEDED, None, _now())
        if self._operation.kind is Kind.DELETE:
            try:
                self._storage.operations.remove(self._operation)
                self._unwritten.clear()
            except errors.Fenced as exc:
                self._lose(exc)
        else:
            self.remember(
                lambda details: operation_result.settle(details, self._operation.kind, [])
            )
            self._write()
        if not self.lost:
            LOG.info("%s: succeeded", self)

    def fail(self, reason: str, error_class: str) -> None:
        """Fail the operation for good, for a reason outside its drivers.

        Raises:
            Unavailable: storage does not answer.
        """
        try:
            self._finish_failed([Step("", StepState.FAILED, reason, error_class)], reason)
            if self._superseded:
                self._acknowledge()
        finally:
            self._ended = True

    def _finish_failed(self, failed: list[Step], reason: str | None = None) -> None:
        reason = reason or operation_result.reasons(self._operation, StepState.FAILED)
        self._operation = operation_result.finished(self._operation, State.FAILED, reason, _now())
        self.remember(
            lambda details: operation_result.settle(details, self._operation.kind, failed)
        )
        self._write()
        if not self.lost:
            LOG.error("%s: failed: %s", self, self._operation.error)

    def __str__(self) -> str:
        operation = self._operation
        return (
            f"{operation.kind} {operation.operation_id} of service {operation.service_id}, "
            f"attempt {operation.attempt}"
        )


def _step(name: str, state: StepState, error: Exception, message: str | None = None) -> Step:
    return Step(name, state, message or str(error), type(error).__name__)


def _nothing() -> None:
    """Do nothing."""


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
