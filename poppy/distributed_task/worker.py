# SPDX-License-Identifier: Apache-2.0
"""The worker: claims jobs from the board and runs the operations that they name."""

import concurrent.futures
import datetime
import threading
from collections.abc import Callable, Mapping
from typing import Any

import taskflow.engines.base
import taskflow.exceptions
import taskflow.jobs.base
import taskflow.states
from oslo_context import context
from oslo_log import log
from taskflow.conductors.backends import impl_nonblocking

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.distributed_task import flows
from poppy.distributed_task.claiming import Board, Idle, PatientBoard
from poppy.distributed_task.dispatcher import Dispatcher
from poppy.distributed_task.run import OperationRun
from poppy.dns.base import DNSDriver
from poppy.model.operations import OperationKey, State
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds before a job goes back to the board when storage does not answer.
PAUSE = 1.0


class OperationConductor(impl_nonblocking.NonBlockingConductor):  # type: ignore[misc]
    """A TaskFlow conductor whose flows come from operations, not from a persistence layer.

    The state of an engine lives in memory: drivers can be called twice and finished steps are
    remembered in the operation, so an engine that died is simply built again.

    Args:
        post: puts an operation on the board.
        lease: how long after its last sign of life a run counts as lost.
        concurrency: how many operations run at the same time.
        poll_interval: seconds between looks at the board while there is nothing to do.
    """

    # A job whose outcome could not be stored goes back to the board.
    NO_CONSUME_EXCEPTIONS = (
        *impl_nonblocking.NonBlockingConductor.NO_CONSUME_EXCEPTIONS,
        errors.Unavailable,
    )

    def __init__(
        self,
        name: str,
        board: Board,
        storage: Storage,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        post: Callable[[OperationKey], None],
        policy: RetryPolicy,
        lease: datetime.timedelta,
        concurrency: int,
        poll_interval: float,
    ) -> None:
        self._stopped = threading.Event()
        self._idle = Idle(poll_interval)
        super().__init__(
            name,
            PatientBoard(board, self._stopped, lambda: concurrency - len(self._dispatched)),
            wait_timeout=self._idle,
            max_simultaneous_jobs=concurrency,
            # TaskFlow's own choice takes a second to shut down.
            executor_factory=lambda: concurrent.futures.ThreadPoolExecutor(concurrency),
        )
        # For the tasks of operations that call several providers side by side.
        self._task_pool = concurrent.futures.ThreadPoolExecutor(concurrency)
        board.on_change(self._idle.wake)
        self._storage = storage
        self._providers = providers
        self._dns = dns
        self._post = post
        self._policy = policy
        self._lease = lease
        self._engines: dict[str, tuple[OperationRun, taskflow.engines.base.Engine]] = {}

    def stop(self) -> None:
        """Claim nothing more; what runs is suspended after its current task."""
        self._stopped.set()
        super().stop()

    def close(self) -> None:
        """Let go of the board and of the threads; after :meth:`run` has returned."""
        self._task_pool.shutdown()
        super().close()

    def renew_runs(self) -> None:
        """Tell storage that the operations under way here are alive.

        Raises:
            Unavailable: storage does not answer.
        """
        for run, _ in list(self._engines.values()):
            run.renew()

    def _dispatch_job(self, job: taskflow.jobs.base.Job) -> bool:
        """Run one operation; whether its job is done with (else it goes back to the board)."""
        # This thread's last request has nothing to do with this job.
        context.RequestContext()
        try:
            consume: bool = super()._dispatch_job(job)
            run, engine = self._engines[job.uuid]
            state = engine.storage.get_flow_state()
            if state == taskflow.states.SUCCESS:
                run.conclude()
                run.clean_up()
            elif state == taskflow.states.SUSPENDED:
                run.renew()
        except errors.NotRunnable as exc:
            LOG.info("Job %s is dropped: %s", job.uuid, exc)
            self._defer(job)
            return True
        except errors.Unavailable as exc:
            LOG.warning("Job %s goes back to the board: %s", job.uuid, exc)
            self._stopped.wait(PAUSE)
            return False
        finally:
            self._engines.pop(job.uuid, None)
        if run.following is not None:
            self._post_following(run.following)
        return consume

    def _on_job_done(self, job: taskflow.jobs.base.Job, done: Any) -> None:
        """End the job's claim; then there is room for another one."""
        super()._on_job_done(job, done)
        self._idle.wake()

    def _defer(self, job: taskflow.jobs.base.Job) -> None:
        """See to it that an operation that waits for an earlier one is not posted before that.

        It is due again when the earlier one ends; this is for the case that it never does.
        """
        try:
            key = _key_of(job)
            operations = self._storage.operations
            unfinished = [
                operation
                for operation in operations.list(key.project_id, key.service_id)
                if not operation.state.finished
            ]
            if not unfinished or unfinished[0].key == key:
                return
            first_due = unfinished[0].next_attempt_at
            for operation in unfinished[1:]:
                due = operation.next_attempt_at
                if operation.key == key and operation.state is State.QUEUED and first_due and due:
                    operations.requeue(operation, max(due, first_due + self._lease))
        except (errors.NotRunnable, errors.Unavailable) as exc:
            LOG.info("Job %s could not be deferred: %s", job.uuid, exc)

    def _post_following(self, key: OperationKey) -> None:
        try:
            self._post(key)
        except errors.Unavailable as exc:
            LOG.warning("Operation %s is left to the dispatcher: %s", key.operation_id, exc)

    def _listeners_from_job(
        self, job: taskflow.jobs.base.Job, engine: taskflow.engines.base.Engine
    ) -> list[Any]:
        # TaskFlow would have each state of each task logged; the run says what matters.
        return []

    def _engine_from_job(self, job: taskflow.jobs.base.Job) -> taskflow.engines.base.Engine:
        """Begin the operation that the job names, and build the engine that runs it."""
        run = OperationRun(self._storage, _key_of(job), job.uuid, self._policy, self._lease)
        run.speak_for_the_request()
        flow = flows.build(
            run.operation, run.service, self._storage.flavors, self._providers, self._dns
        )
        options: dict[str, Any] = {"engine": "serial"}
        if len(run.service.provider_details) > 1:
            options = {"engine": "parallel", "executor": self._task_pool}
        LOG.debug("%s: begins", run)
        engine = taskflow.engines.load(flow, store={"run": run}, **options)
        self._engines[job.uuid] = run, engine
        return engine


def _key_of(job: taskflow.jobs.base.Job) -> OperationKey:
    try:
        return OperationKey(**job.details)
    except TypeError as exc:
        raise errors.NotRunnable(f"it names no operation: {job.details}") from exc


class TaskFlowWorker:
    """A conductor, a dispatcher and a heartbeat, which stop together.

    Args:
        renewal: seconds between signs of life of the operations under way.
        reconnect: seconds between tries while the board can't be reached.
    """

    def __init__(
        self,
        board: Board,
        conductor: OperationConductor,
        dispatcher: Dispatcher,
        renewal: float,
        reconnect: float = 2.0,
    ) -> None:
        self._board = board
        self._conductor = conductor
        self._dispatcher = dispatcher
        self._renewal = renewal
        self._reconnect = reconnect
        self._stopped = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`; what is under way then is handed back after its task."""
        if not self._connect():
            self._conductor.close()
            return
        helpers = [
            threading.Thread(
                target=self._dispatcher.run, args=(self._stopped,), name="dispatcher"
            ),
            threading.Thread(target=self._heartbeat, name="heartbeat"),
        ]
        for helper in helpers:
            helper.start()
        try:
            self._conductor.run()
        finally:
            self._stopped.set()
            for helper in helpers:
                helper.join()
            self._conductor.close()

    def stop(self) -> None:
        """Ask :meth:`run` to return."""
        self._stopped.set()
        self._conductor.stop()

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

    def _heartbeat(self) -> None:
        while not self._stopped.wait(self._renewal):
            try:
                self._conductor.renew_runs()
            except errors.Unavailable as exc:
                LOG.warning("Could not renew the operations under way: %s", exc)
            except Exception:  # noqa: BLE001 - without this thread every long run is lost
                LOG.exception("Renewing the operations under way failed; trying again")
