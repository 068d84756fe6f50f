# SPDX-License-Identifier: Apache-2.0
"""The worker: claims jobs from the board and runs their operations."""

import concurrent.futures
import datetime
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import taskflow.exceptions
import taskflow.jobs.base
from oslo_context import context
from oslo_log import log
from taskflow.conductors.backends import impl_nonblocking

from poppy.common import errors, tracing
from poppy.distributed_task import flows, instrumentation
from poppy.distributed_task.engines import Engines
from poppy.distributed_task.job_source import Board, Idle, JobSource
from poppy.distributed_task.membership import Heartbeat
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.record_watch import RecordWatch
from poppy.distributed_task.run import Dependencies, OperationRun
from poppy.dns.base import DNSDriver
from poppy.model.operations import Operation, OperationKey, State
from poppy.provider.base import Provider

LOG = log.getLogger(__name__)

#: Seconds before a job returns to the board when storage does not answer.
PAUSE = 1.0


class OperationConductor(impl_nonblocking.NonBlockingConductor):  # type: ignore[misc]
    """A TaskFlow conductor that runs the flows of operations, without a persistence layer.

    Drivers can be called twice and the operation records its finished steps, so after a worker
    dies another simply executes the flow again.

    Args:
        post: puts an operation on the board.
        concurrency: how many operations run at the same time.
        poll_interval: seconds between polls of the board while idle.
        board_depth: roughly how many jobs may wait on the board.
        ownership: how domains are proven; None if no proof is needed.
        watch: looks up the records that tenants must create; None if nothing does.
    """

    def __init__(
        self,
        name: str,
        board: Board,
        dependencies: Dependencies,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        post: Callable[[Operation], None],
        concurrency: int,
        poll_interval: float,
        board_depth: int = 0,
        ownership: Ownership | None = None,
        watch: RecordWatch | None = None,
    ) -> None:
        self._stopped = threading.Event()
        self._idle = Idle(poll_interval)
        super().__init__(
            name,
            JobSource(
                board, self._stopped, lambda: concurrency - len(self._dispatched), board_depth
            ),
            wait_timeout=self._idle,
            max_simultaneous_jobs=concurrency,
            # TaskFlow's default executor takes a second to shut down.
            executor_factory=lambda: concurrent.futures.ThreadPoolExecutor(concurrency),
        )
        # For operations that call several providers in parallel.
        self._task_pool = tracing.Threads(concurrency)
        self._engines = Engines(
            lambda shape: flows.build(shape, providers, dns, ownership, watch), self._task_pool
        )
        board.on_change(self._idle.wake)
        self._dependencies = dependencies
        self._post = post
        self._runs: dict[str, OperationRun] = {}

    @property
    def busy(self) -> int:
        """The number of running operations."""
        return len(self._runs)

    def stop(self) -> None:
        """Stop claiming jobs; running operations continue."""
        self._stopped.set()
        super().stop()

    def interrupt(self) -> None:
        """Hand back running operations without waiting for their driver calls."""
        self._dependencies.calls.interrupt()

    def close(self) -> None:
        """Close the board and end the threads. Call it after :meth:`run` has returned."""
        self._task_pool.shutdown()
        self._dependencies.calls.close()
        super().close()

    def renew_runs(self) -> None:
        """Renew the leases of this worker's running operations.

        Raises:
            Unavailable: storage does not answer.
        """
        for run in list(self._runs.values()):
            run.renew()

    def _dispatch_job(self, job: taskflow.jobs.base.Job) -> bool | None:
        """Run one operation.

        Returns:
            True to consume the job, False to return it to the board; None if this worker has
            not claimed it.
        """
        if self._stopped.is_set() or not self._jobboard.take(job, self._name):
            return None
        return self._run_operation(job)

    def _run_operation(self, job: taskflow.jobs.base.Job) -> bool:
        # Clear the log context of this thread's previous job.
        context.RequestContext()
        run = None
        began = time.monotonic()
        try:
            run = self._runs[job.uuid] = OperationRun(self._dependencies, _key_of(job), job.uuid)
            with instrumentation.running(run):
                self._run(run)
        except errors.NotRunnable as exc:
            LOG.info("Job %s is dropped: %s", job.uuid, exc)
            self._defer(job)
            return True
        except errors.Unavailable as exc:
            LOG.warning("Job %s goes back to the board: %s", job.uuid, exc)
            self._give_up(run)
            return False
        except Exception:  # noqa: BLE001 - its lease lapses, and lost runs are counted
            LOG.exception("Job %s failed unexpectedly; the operation is retried later", job.uuid)
            return True
        finally:
            self._runs.pop(job.uuid, None)
            if run is not None:
                instrumentation.run(run.operation, run.outcome, time.monotonic() - began)
        if run.following is not None:
            self._post_following(run.following)
        return not run.handed_back

    def _run(self, run: OperationRun) -> None:
        run.bind_log_context()
        crashes, most = run.crashes, self._dependencies.policy().max_crashes
        if crashes >= most:
            run.fail(
                f"set aside: {crashes} times in a row its worker died, or was lost, while it "
                "ran this operation",
                "WorkerCrashed",
            )
            return
        LOG.debug("%s: begins", run)
        shape = flows.shape_of(run.operation, run.service, self._dependencies.storage.flavors)
        self._engines.run(shape, {"run": run})
        run.conclude()

    def _give_up(self, run: OperationRun | None) -> None:
        """Hand the run back if storage answers again a moment later; otherwise it is lost."""
        self._stopped.wait(PAUSE)
        try:
            if run is not None:
                run.hand_back()
                run.compensate_late_steps()
        except errors.Unavailable:
            LOG.info("%s: could not be handed back", run)

    def _on_job_done(self, job: taskflow.jobs.base.Job, done: Any) -> None:
        """End the job's claim and free its slot."""
        try:
            super()._on_job_done(job, done)
        finally:
            self._jobboard.let_go(job)
            self._idle.wake()

    def _try_finish_job(
        self, job: taskflow.jobs.base.Job, consume: bool | None, trash: bool = False
    ) -> None:
        """End the job's claim, if this worker has one."""
        if consume is not None:
            super()._try_finish_job(job, consume, trash)

    def _defer(self, job: taskflow.jobs.base.Job) -> None:
        """Keep an operation that waits for an earlier one from being posted before its turn.

        The end of the earlier one makes it due. This sets the fallback, in case that never
        happens.
        """
        try:
            key = _key_of(job)
            operations = self._dependencies.storage.operations
            listed = operations.list(key.project_id, key.service_id)
            operation = next((it for it in listed if it.key == key), None)
            if operation is None or operation.state is not State.QUEUED:
                return
            now = datetime.datetime.now(datetime.UTC)
            blocking = [it for it in listed if it.blocks(operation, now)]
            held = [it.next_attempt_at for it in blocking if it.is_held and it.next_attempt_at]
            due = operation.next_attempt_at
            if held:
                operations.requeue(operation, max(held))
            elif blocking and due and blocking[0].next_attempt_at:
                later = blocking[0].next_attempt_at + self._dependencies.lease
                operations.requeue(operation, max(due, later))
        except (errors.NotRunnable, errors.Unavailable) as exc:
            LOG.info("Job %s could not be deferred: %s", job.uuid, exc)

    def _post_following(self, operation: Operation) -> None:
        try:
            self._post(operation)
        except errors.Unavailable as exc:
            LOG.warning("Operation %s is left to the dispatcher: %s", operation.operation_id, exc)


def _key_of(job: taskflow.jobs.base.Job) -> OperationKey:
    try:
        return OperationKey(**job.details)
    except TypeError as exc:
        raise errors.NotRunnable(f"it names no operation: {job.details}") from exc


class Helper(Protocol):
    """Something that runs in a thread of its own."""

    def run(self, stopped: threading.Event) -> None:
        """Run until ``stopped``."""


class TaskFlowWorker:
    """A conductor with its helper threads and heartbeat, which stop together.

    Args:
        helpers: the dispatcher, the check for overdue operations, and failover.
        heartbeat: reports the life of this worker.
        renewal: seconds between renewals of the leases of running operations.
        grace: seconds in which running operations may finish after :meth:`stop`.
        reconnect: seconds between attempts to reach the board.
    """

    def __init__(
        self,
        board: Board,
        conductor: OperationConductor,
        helpers: Sequence[Helper],
        heartbeat: Heartbeat,
        renewal: float,
        grace: float,
        reconnect: float = 2.0,
    ) -> None:
        self._board = board
        self._conductor = conductor
        self._helpers = helpers
        self._heartbeat = heartbeat
        self._renewal = renewal
        self._grace = grace
        self._reconnect = reconnect
        self._stopped = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`; hand back the operations that do not finish in time."""
        if not self._connect():
            self._conductor.close()
            return
        helpers = [
            *(
                threading.Thread(
                    target=it.run, args=(self._stopped,), name=type(it).__name__.lower()
                )
                for it in self._helpers
            ),
            threading.Thread(target=self._renew, name="renewal"),
            threading.Thread(target=self._heartbeat.run, args=(self._ended,), name="heartbeat"),
            threading.Thread(target=self._limit_the_end, name="end"),
        ]
        for helper in helpers:
            helper.start()
        try:
            self._conductor.run()
        finally:
            self._stopped.set()
            self._ended.set()
            for helper in helpers:
                helper.join()
            self._conductor.close()

    def stop(self) -> None:
        """Ask :meth:`run` to return, within ``grace``."""
        self._stopped.set()
        self._conductor.stop()

    def _limit_the_end(self) -> None:
        self._stopped.wait()
        if not self._ended.wait(self._grace):
            LOG.warning("Requeueing unfinished operations after %.0f s", self._grace)
            self._conductor.interrupt()

    def _connect(self) -> bool:
        while not self._stopped.is_set():
            try:
                self._conductor.connect()
            except taskflow.exceptions.TaskFlowException as exc:
                LOG.warning("The job board can't be reached; trying again: %s", exc)
                self._stopped.wait(self._reconnect)
            else:
                return True
        return False

    def _renew(self) -> None:
        while not self._ended.wait(self._renewal):
            try:
                self._conductor.renew_runs()
            except errors.Unavailable as exc:
                LOG.warning("Could not renew the leases of running operations: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread every long run is lost
                LOG.exception("Renewing the leases of running operations failed; trying again")
