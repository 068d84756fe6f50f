# SPDX-License-Identifier: Apache-2.0
"""One attempt at an operation: the state that its tasks share, and what it stores.

The tasks of a flow call drivers. The run tries each step (with quick retries where they help) and
stores the outcome in its record, so that a later attempt continues where this one stopped.

An overtaken run stops. A run that a delete has superseded reports the end of its last call,
because the delete waits for that.
"""

import datetime
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oslo_context import context
from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.common.retry import RetryPolicy
from poppy.distributed_task import compensation, instrumentation, operation_result
from poppy.distributed_task.call_pool import CallPool, Interrupted
from poppy.distributed_task.run_record import RunRecord
from poppy.distributed_task.throttling import Deferred, Subject, Throttles
from poppy.model.operations import Kind, Operation, OperationKey, State, Step, StepState
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.storage.base import Storage

if TYPE_CHECKING:
    from poppy.distributed_task.tasks import Task

LOG = log.getLogger(__name__)


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

    Args:
        runner: the job that delivered the operation.

    Raises:
        NotRunnable: this worker can't run the operation now.
        Unavailable: storage does not answer.

    Attributes:
        handed_back: the operation is unfinished and another worker can continue it at once.
        purged: how many purges this run has done, by step.
    """

    def __init__(self, dependencies: Dependencies, key: OperationKey, runner: str) -> None:
        self._record = RunRecord(dependencies.storage, key, runner, dependencies.lease)
        self.handed_back = False
        self.purged: Counter[str] = Counter()
        self._tasks: dict[str, Task] = {}
        self._messages: dict[str, str | None] = {}
        self._dependencies = dependencies
        self._policy = dependencies.policy()
        self._stopped = False
        self._outage: errors.Unavailable | None = None
        self._failed = False
        self._retry_after: float | None = None

    @property
    def operation(self) -> Operation:
        """The operation, with the progress of this run."""
        return self._record.operation

    @property
    def service(self) -> Service:
        """The service as stored, with the provider details that this run has reached."""
        return self._record.service

    @property
    def lost(self) -> bool:
        """Whether the run may no longer write; its tasks do nothing from then on."""
        return self._record.lost

    @property
    def following(self) -> Operation | None:
        """The service's next operation, which can run now that this one is finished."""
        return self._record.following

    def done(self, *steps: str) -> bool:
        """Whether all these steps are done, in this attempt or an earlier one."""
        return not self.lost and all(
            self.operation.step(step).state is StepState.DONE for step in steps
        )

    def attempt(self, task: "Task") -> None:
        """Do a step, unless it is done, has failed for good or must wait for other steps."""
        step = task.step
        known = self.operation.step(step).state
        ended = known in (StepState.DONE, StepState.FAILED)
        if self._stopped or ended or not self.done(*task.after):
            return
        self._tasks[step] = task
        try:
            reached = self._call(task)
        except Interrupted:
            self._stopped = True
            return
        except Deferred as exc:
            instrumentation.deferred(task.driver, exc.seconds)
            self._wait(exc.seconds)
            # Nothing has happened, so it is not stored before the run parks.
            self._record.set_step(Step(step, StepState.WAITING, str(exc)))
            return
        except _NotAgain:
            reached = None
        except errors.Unavailable as exc:
            self._stop(exc)
            reached = None
        try:
            self._record.add_step(step, reached)
            self.compensate_late_steps()
        except errors.Unavailable as exc:
            self._stop(exc)

    def _stop(self, outage: errors.Unavailable) -> None:
        self._outage = outage
        self._stopped = True

    def _call(self, task: "Task") -> Step:
        """Call the driver and return the step with its outcome."""
        step, driver = task.step, task.driver
        verb = instrumentation.verb_of(step, self.operation.kind)
        subject = Subject(self.service.project_id, self.service.service_id)
        call = functools.partial(self._call_with_retries, task, verb)
        end_late = functools.partial(self._compensate, step)
        try:
            with (
                self._dependencies.throttles.passing(driver, subject),
                instrumentation.call(driver, verb),
            ):
                self._dependencies.calls.run(call, self._policy.step_timeout, end_late)
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
        except (Interrupted, Deferred, _NotAgain, errors.Unavailable):
            raise
        except Exception as exc:  # noqa: BLE001 - a driver's bug must not lose the operation
            LOG.exception("%s: %s broke; this is a bug in the driver", self, step)
            self._failed = True
            return _step(step, StepState.WAITING, exc, "internal error; see the operator's log")
        LOG.debug("%s: %s is done", self, step)
        return Step(step, StepState.DONE, self._messages.get(step))

    def _call_with_retries(self, task: "Task", verb: str) -> None:
        self.bind_log_context()
        may_repeat = functools.partial(self._check_repeat, task.driver, verb)
        result = self._policy.call(functools.partial(task.call, self), may_repeat)
        # Here, so that compensation knows what a late call has created.
        self.apply(result.details)
        if result.error is not None:
            raise result.error
        self._messages[task.step] = result.message

    def _check_repeat(self, driver: str, verb: str) -> None:
        """Prevent the repetition of a call if the run was overtaken during the call.

        Otherwise a worker that was frozen in a call would repeat it with an outdated document.
        """
        with self._record.lock:
            self._record.renew()
        if self.lost or self._stopped or self._record.ended:
            raise _NotAgain("the run may have been overtaken")
        instrumentation.repeated(driver, verb)

    def holds(self, domain: str) -> bool:
        """Whether the domain is free or claimed by this service.

        Raises:
            Unavailable: storage does not answer.
        """
        try:
            claim = self._dependencies.storage.domains.get(domain)
        except errors.NotFound:
            return True
        return claim.service_id in (None, self.service.service_id)

    def apply(self, details: Mapping[str, ProviderDetail | None]) -> None:
        """Change provider details, to be stored with the next write.

        Args:
            details: by provider; None to remove them.
        """
        self._record.apply(details)

    def bind_log_context(self) -> None:
        """Add the API request's ids to this thread's log context."""
        operation = self.operation
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

    def compensate_late_steps(self) -> None:
        """Undo or redo steps of this run that took effect after it was overtaken.

        Raises:
            Unavailable: storage does not answer; call it again.
        """
        if not self._record.is_overtaken:
            return
        steps = self._record.take_unwritten()
        for number, step in enumerate(steps):
            compensate = functools.partial(self._compensate, step)
            try:
                # This may call a driver, which may hang.
                self._dependencies.calls.run(compensate, self._policy.step_timeout, _nothing)
            except errors.Unavailable:
                self._record.put_back(steps[number:])
                raise
            except (errors.RetryableError, Interrupted) as exc:
                LOG.error("%s: could not compensate for late step %s: %s", self, step, exc)

    def _compensate(self, step: str) -> None:
        undo = functools.partial(self._tasks[step].undo, self)
        compensation.compensate(
            self._dependencies.storage, self.operation, self.service, step, self._policy, undo
        )

    def renew(self) -> None:
        """Renew the run's lease, unless that was done recently.

        Raises:
            Unavailable: storage does not answer.
        """
        self._record.renew_when_due()

    @property
    def outcome(self) -> str:
        """The result of this run in one word, as used in metrics."""
        if self.lost:
            return "superseded" if self._record.is_superseded else "lost"
        if self.handed_back:
            return "handed_back"
        if self.operation.state is State.WAITING:
            return "retried" if self._failed else "parked"
        return str(self.operation.state) if self.operation.state.finished else "broken"

    @property
    def crashes(self) -> int:
        """How many consecutive runs before this one were lost."""
        return self.operation.crashes

    def hand_back(self) -> None:
        """Let another worker continue the operation at once.

        Raises:
            Unavailable: storage does not answer.
        """
        record = self._record
        with record.lock:
            if record.lost or record.ended:
                return
            now = now_utc()
            record.ended = True
            record.write(
                replace(self.operation, state=State.QUEUED, updated_at=now, next_attempt_at=now)
            )
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
            record = self._record
            with record.lock, record.unless_unavailable():
                if not record.lost:
                    self._conclude()
                if record.is_superseded:
                    self._acknowledge()
                record.ended = True
        self.compensate_late_steps()

    def _acknowledge(self) -> None:
        self._record.acknowledge()
        LOG.info("%s: ended; the delete that superseded it can run", self)

    def _conclude(self) -> None:
        operation, now = self.operation, now_utc()
        if operation_result.waits(operation):
            operation = operation_result.counted(operation, self._failed, self._policy, now)
        failed = [step for step in operation.steps if step.state is StepState.FAILED]
        if operation_result.waits(operation):
            self._park(operation)
        elif failed:
            self._finish_failed(operation, failed)
        else:
            self._finish(operation)

    def _park(self, operation: Operation) -> None:
        if self._failed:
            pause = self._policy.parked_for(operation.failures, self._retry_after)
        else:
            pause = self._policy.polled_after(self._retry_after)
        parked = operation_result.parked(operation, self._policy, now_utc(), pause)
        self.apply(operation_result.shown(self.service.provider_details, operation.kind))
        self._record.write(parked)
        LOG.info("%s: waits until %s: %s", self, parked.next_attempt_at, parked.error)

    def _finish(self, operation: Operation) -> None:
        ended = operation_result.finished(operation, State.SUCCEEDED, None, now_utc())
        if operation.kind is Kind.DELETE:
            self._record.remove(ended)
        else:
            self._settle(operation.kind, [])
            self._record.write(ended)
        if not self.lost:
            LOG.info("%s: succeeded", self)

    def fail(self, reason: str, error_class: str) -> None:
        """Fail the operation for good, for a reason outside its drivers.

        Raises:
            Unavailable: storage does not answer.
        """
        failed = [Step("", StepState.FAILED, reason, error_class)]
        try:
            self._finish_failed(self.operation, failed, reason)
            if self._record.is_superseded:
                self._acknowledge()
        finally:
            self._record.ended = True

    def _finish_failed(
        self, operation: Operation, failed: list[Step], reason: str | None = None
    ) -> None:
        reason = reason or operation_result.reasons(operation, StepState.FAILED)
        ended = operation_result.finished(operation, State.FAILED, reason, now_utc())
        self._settle(operation.kind, failed)
        self._record.write(ended)
        if not self.lost:
            LOG.error("%s: failed: %s", self, reason)

    def _settle(self, kind: Kind, failed: Sequence[Step]) -> None:
        self.apply(operation_result.settled(self.service.provider_details, kind, failed))

    def __str__(self) -> str:
        return str(self._record)


def _step(name: str, state: StepState, error: Exception, message: str | None = None) -> Step:
    return Step(name, state, message or str(error), type(error).__name__)


def _nothing() -> None:
    """Do nothing."""
