# SPDX-License-Identifier: Apache-2.0
"""The TaskFlow driver: jobs on a board, and workers that claim them."""

import datetime
import functools
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import ClassVar

import taskflow.exceptions
from oslo_config import cfg
from oslo_log import log

from poppy.common import errors
from poppy.common.limits import Limits
from poppy.common.retry import RetryPolicy
from poppy.common.version import VERSION
from poppy.distributed_task import job_source
from poppy.distributed_task.base import DistributedTask, Worker
from poppy.distributed_task.board import boards
from poppy.distributed_task.board.boards import Poster
from poppy.distributed_task.call_pool import CallPool
from poppy.distributed_task.dispatcher import Dispatcher, share_of
from poppy.distributed_task.failover import Failover, Pace, Watch
from poppy.distributed_task.membership import Heartbeat
from poppy.distributed_task.overdue import Overdue
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.run import SIGNS, Dependencies
from poppy.distributed_task.tasks import gate_of
from poppy.distributed_task.throttling import BreakerCache, Throttles
from poppy.distributed_task.worker import OperationConductor, TaskFlowWorker
from poppy.distributed_task.worker_stats import WorkerStats
from poppy.dns.base import DNSDriver
from poppy.model import ids, membership
from poppy.model.operations import Operation
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: A project with less than this part of ``board_depth`` may use the board's reserve.
FEW = 16
#: Seconds for which the count of free places on the board is cached.
ROOM_AGE = 0.2
#: Seconds that a worker needs, beyond its grace, to hand back unfinished operations.
STORING = 15.0
#: Seconds to wait before polling a board that did not answer.
AWAY_AGE = 5.0


class TaskFlowDriver(DistributedTask):
    """Post operations as jobs on a TaskFlow job board; the workers are TaskFlow conductors."""

    OPTS: ClassVar = (
        *boards.OPTS,
        cfg.IntOpt(
            "concurrency",
            default=10,
            min=1,
            help="Number of operations that one worker process runs at the same time.",
        ),
        cfg.IntOpt("workers", default=1, min=1, help="Number of processes poppy-worker runs."),
        cfg.FloatOpt(
            "poll_interval",
            default=0.2,
            min=0.01,
            help="Seconds between polls of the board while a worker is idle.",
        ),
        cfg.FloatOpt(
            "dispatch_interval",
            default=1.0,
            min=0.01,
            help="Seconds between looks for due operations in storage.",
        ),
        cfg.FloatOpt(
            "redelivery",
            default=10.0,
            min=0.1,
            help="Seconds after which a posted operation that no worker has begun is posted "
            "again. This is how long it waits if the board has lost its job. With Cassandra, a "
            "value above run_lease costs one more write for each operation.",
        ),
        cfg.FloatOpt(
            "run_lease",
            default=10.0,
            min=1,
            help="Seconds after its last sign of life that a running operation counts as lost. "
            "Then another worker runs it again, or a waiting delete proceeds. A worker renews "
            "the lease after each fifth of it. So it must be several times the response time of "
            "storage, the difference between clocks and the lag between regions.",
        ),
        cfg.IntOpt(
            "max_failures",
            default=20,
            min=1,
            mutable=True,
            help="Number of failed attempts after which an operation fails for good.",
        ),
        cfg.IntOpt(
            "max_age",
            default=86400,
            min=1,
            max=315360000,
            mutable=True,
            help="Seconds after which an unfinished operation fails for good, even if a provider "
            "asks to wait longer.",
        ),
        cfg.FloatOpt(
            "retry_base",
            default=5.0,
            min=0.01,
            mutable=True,
            help="Longest wait in seconds after the first failed attempt. It doubles with each "
            "further failure.",
        ),
        cfg.FloatOpt(
            "retry_ceiling",
            default=600.0,
            min=0.01,
            mutable=True,
            help="Longest wait in seconds between attempts, unless a provider asks for more.",
        ),
        cfg.FloatOpt(
            "max_retry_after",
            default=3600.0,
            min=1,
            max=86400,
            mutable=True,
            help="Longest wait in seconds that a provider may ask for, for example with "
            "Retry-After. Longer ones are cut to this.",
        ),
        cfg.BoolOpt(
            "failover",
            default=True,
            help="Point the names of multi-provider services away from providers that are down, "
            "and back when they are up again. The majority of workers decides.",
        ),
        cfg.FloatOpt(
            "health_interval",
            default=10.0,
            min=0.01,
            help="Seconds between health checks of the providers' edges, for failover.",
        ),
        cfg.IntOpt(
            "failover_after",
            default=3,
            min=1,
            help="Number of consecutive failed health checks after which a provider is down.",
        ),
        cfg.IntOpt(
            "failback_after",
            default=30,
            min=1,
            help="Number of consecutive successful health checks after which it is up again.",
        ),
        cfg.FloatOpt(
            "failover_rate",
            default=10.0,
            min=0.01,
            help="Maximum number of services per second with names that failover changes. Keep "
            "it within the limits of the DNS server.",
        ),
        cfg.IntOpt(
            "max_crashes",
            default=5,
            min=1,
            mutable=True,
            help="Number of consecutive lost workers after which an operation fails for good: it "
            "may be what kills them. The count starts over when the operation is parked.",
        ),
        cfg.FloatOpt(
            "step_timeout",
            default=300.0,
            min=0.1,
            mutable=True,
            help="Maximum seconds for one step of an operation, that is, one driver call. After "
            "that the worker stops waiting and the step counts as failed, to be retried. Drivers "
            "have shorter timeouts of their own; this one applies if those fail.",
        ),
        cfg.IntOpt(
            "max_hung_calls",
            default=10,
            min=1,
            help="Number of abandoned driver calls that have not ended at which a worker process "
            "hands its operations back and restarts.",
        ),
        cfg.IntOpt(
            "shutdown_grace",
            default=30,
            min=0,
            help="Seconds in which running operations may finish when a worker is told to stop "
            "(SIGTERM). Unfinished ones are handed back, and another worker continues them at "
            "once.",
        ),
        cfg.FloatOpt(
            "heartbeat_interval",
            default=10.0,
            min=0.1,
            help="Seconds between a worker's heartbeats in storage. A worker that misses three "
            "counts as dead, and the others take over its share of each driver's rate.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        # TaskFlow's boards hold connections, so each process creates its own after the fork.
        self._posting_lock = threading.Lock()
        self._posting: tuple[int, Poster] | None = None
        # The free places on the board, and until when that number is valid.
        self._room = (0.0, self._limit)
        self._asking = threading.Lock()

    @property
    def workers(self) -> int:
        """The number of worker processes to run on this machine."""
        return int(self.options.workers)

    @property
    def grace(self) -> float:
        """The maximum seconds between a worker's stop and its end."""
        return float(self.options.shutdown_grace) + STORING

    @property
    def redelivery(self) -> float:
        """Seconds after which a posted job that no worker has begun counts as lost."""
        return float(self.options.redelivery)

    def check(self) -> None:
        """Check the board's options, without contacting a server."""
        boards.check(self.conf, self.options)

    def has_room(self, active: int) -> bool:
        """Whether the project has less than its share, and the board has room.

        Servers fill up to three quarters of ``board_depth``, or seven eighths for a project with
        hardly any operations. The rest is for the workers, which post operations from storage:
        new requests must not keep waiting ones off the board.
        """
        until, left = self._room
        # One thread asks; the others use the previous answer and do not wait.
        if time.monotonic() >= until and self._asking.acquire(blocking=False):
            try:
                until, left = self._ask_for_room()
            finally:
                self._asking.release()
        depth = int(self.options.board_depth)
        reserve = 0 if active < max(1, depth // FEW) else self._limit - 3 * depth // 4
        granted = active < share_of(depth) and left > reserve
        self._room = (until, left - int(granted))
        return granted

    @property
    def _limit(self) -> int:
        depth = int(self.options.board_depth)
        return max(1, depth - depth // 8)

    def _ask_for_room(self) -> tuple[float, int]:
        try:
            left = self._limit - self._poster().waiting(self._limit)
        except (taskflow.exceptions.TaskFlowException, errors.ConfigError) as exc:
            LOG.warning("The job board does not answer; operations wait in storage: %s", exc)
            return time.monotonic() + AWAY_AGE, 0
        return time.monotonic() + ROOM_AGE, left

    def post(self, operation: Operation) -> None:
        """Post a job with the operation's key and priority."""
        try:
            job_source.post(self._poster(), operation)
        except errors.Unavailable:
            self._room = (time.monotonic() + AWAY_AGE, 0)
            raise

    def waiting(self, limit: int) -> int:
        """Count the unclaimed jobs, up to ``limit``."""
        try:
            return self._poster().waiting(limit)
        except taskflow.exceptions.TaskFlowException as exc:
            raise errors.Unavailable(f"The job board does not answer: {exc}") from exc

    def worker(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> Worker:
        """Return a conductor with a board of its own, and its helpers."""
        options = self.options
        board = boards.make_board(f"{socket.gethostname()}:{os.getpid()}", self.conf, self.options)
        post = functools.partial(job_source.post, board)
        # These refer to each other; a lambda resolves a name that is assigned further below.
        calls = CallPool(options.max_hung_calls, lambda: made.stop())
        throttles = Throttles(
            {
                gate_of(it): functools.partial(Limits.of, it.options)
                for it in (*providers.values(), dns)
            },
            BreakerCache(storage.membership),
            lambda: heartbeat.workers,
            options.concurrency,
        )
        lease = datetime.timedelta(seconds=options.run_lease)
        conductor = OperationConductor(
            board.name,
            board,
            Dependencies(storage, self._policy, lease, calls, throttles),
            providers,
            dns,
            post,
            concurrency=options.concurrency,
            poll_interval=options.poll_interval,
            ownership=Ownership.of(self.conf, storage),
            board_depth=options.board_depth,
        )
        described = self._describe()
        pace = self._pace()
        watch = Watch(providers, pace)
        heartbeat = Heartbeat(
            storage.membership,
            described,
            WorkerStats(conductor, calls, watch, providers, options.concurrency),
            options.heartbeat_interval,
        )
        dispatcher = Dispatcher(
            storage,
            board,
            post,
            options.dispatch_interval,
            datetime.timedelta(seconds=options.redelivery),
            options.board_depth,
            self._retention(),
            spare=options.run_lease / 2,
        )
        failover = []
        if options.failover and len(providers) > 1:
            worker_id = described.worker_id
            failover = [Failover(storage, watch, pace, worker_id, lambda: heartbeat.alive)]
        made = TaskFlowWorker(
            board,
            conductor,
            [dispatcher, Overdue(storage, self._policy), *failover],
            heartbeat,
            renewal=options.run_lease / SIGNS,
            grace=options.shutdown_grace,
        )
        return made

    def _retention(self) -> datetime.timedelta | None:
        days = self.conf["drivers:storage"].operation_retention
        return datetime.timedelta(days=days) if days else None

    def _policy(self) -> RetryPolicy:
        """Return the retry policy with the current options."""
        options = self.options
        return RetryPolicy(
            park_base=options.retry_base,
            park_ceiling=options.retry_ceiling,
            max_retry_after=options.max_retry_after,
            max_failures=options.max_failures,
            max_age=datetime.timedelta(seconds=options.max_age),
            max_crashes=options.max_crashes,
            step_timeout=options.step_timeout,
        )

    def _pace(self) -> Pace:
        options = self.options
        return Pace(
            interval=options.health_interval,
            down_after=options.failover_after,
            up_after=options.failback_after,
            rate=options.failover_rate,
        )

    def _describe(self) -> membership.Worker:
        now = datetime.datetime.now(datetime.UTC)
        return membership.Worker(
            worker_id=ids.new(),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=VERSION,
            datacenter=self.conf.datacenter,
            started_at=now,
            seen_at=now,
            slots=self.options.concurrency,
        )

    def is_alive(self) -> bool:
        """Whether the board can be reached."""
        try:
            return self._poster().job_count >= 0
        except taskflow.exceptions.TaskFlowException:
            return False

    def close(self) -> None:
        """Close this process's board."""
        with self._posting_lock:
            if self._posting is not None and self._posting[0] == os.getpid():
                self._posting[1].close()
            self._posting = None

    def _poster(self) -> Poster:
        with self._posting_lock:
            if self._posting is None or self._posting[0] != os.getpid():
                name = f"poster@{socket.gethostname()}:{os.getpid()}"
                poster = boards.make_poster(name, self.conf, self.options)
                poster.connect()
                self._posting = (os.getpid(), poster)
            return self._posting[1]
