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
from poppy.distributed_task.audit import Auditor, Audits
from poppy.distributed_task.base import DistributedTask, Worker
from poppy.distributed_task.board import boards
from poppy.distributed_task.board.boards import Poster
from poppy.distributed_task.call_pool import CallPool
from poppy.distributed_task.dispatcher import Dispatcher, share_of
from poppy.distributed_task.edge_dns import EdgeDNS, name_keeping
from poppy.distributed_task.failover import Failover, Pace, Watch
from poppy.distributed_task.membership import Heartbeat
from poppy.distributed_task.options import OPTS
from poppy.distributed_task.overdue import Overdue
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.record_check import RecordCheck
from poppy.distributed_task.record_watch import RecordWatch
from poppy.distributed_task.renewals import Renewals
from poppy.distributed_task.run import Dependencies
from poppy.distributed_task.run_record import SIGNS
from poppy.distributed_task.tasks import gate_of
from poppy.distributed_task.throttling import BreakerCache, Throttles
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

    OPTS: ClassVar = OPTS

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

    def preload(self) -> None:
        """Import TaskFlow's engines. Other programs do without, for a quicker start."""
        import poppy.distributed_task.worker  # noqa: F401

    def worker(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> Worker:
        """Return a conductor with a board of its own, and its helpers."""
        from poppy.distributed_task.worker import OperationConductor, TaskFlowWorker

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
        check = RecordCheck.of(self.conf)
        records = RecordWatch(storage, check) if check else None
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
            watch=records,
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
            datetime.timedelta(hours=self.conf["drivers:storage"].edge_retention),
            datetime.timedelta(days=self.conf["drivers:storage"].edge_traffic_retention),
            spare=options.run_lease / 2,
        )
        failover = []
        if options.failover and len(providers) > 1:
            worker_id = described.worker_id
            failover = [Failover(storage, watch, pace, worker_id, lambda: heartbeat.alive)]
        keeping = name_keeping(providers, dns)
        edge_dns = []
        if keeping is not None:
            worker_id = described.worker_id
            edge_dns = [EdgeDNS(storage, keeping, dns, worker_id, lambda: heartbeat.alive)]
        auditor = Auditor(
            storage,
            providers,
            dns,
            throttles,
            lambda work: calls.run(work, options.step_timeout, lambda: None),
        )
        audits = Audits(
            storage,
            auditor,
            described.worker_id,
            lambda: heartbeat.alive,
            options.audit_interval,
            options.audit_rate,
        )
        made = TaskFlowWorker(
            board,
            conductor,
            [
                dispatcher,
                Overdue(storage, self._policy),
                Renewals(storage, providers, options.health_interval),
                *failover,
                *edge_dns,
                audits,
                *([records] if records else []),
            ],
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
