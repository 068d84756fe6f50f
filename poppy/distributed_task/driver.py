# SPDX-License-Identifier: Apache-2.0
"""The TaskFlow driver: jobs on a board, workers that claim them."""

import datetime
import functools
import importlib.metadata
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
from poppy.distributed_task import job_source
from poppy.distributed_task.base import DistributedTask, Worker
from poppy.distributed_task.board import boards
from poppy.distributed_task.board.boards import Poster
from poppy.distributed_task.calls import Calls
from poppy.distributed_task.dispatcher import Dispatcher, share_of
from poppy.distributed_task.failover import Failover, Pace, Watch
from poppy.distributed_task.fleet import Presence
from poppy.distributed_task.overdue import Overdue
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.run import SIGNS, Means
from poppy.distributed_task.tasks import gate_of
from poppy.distributed_task.throttling import BreakerCache, Throttles
from poppy.distributed_task.vitals import Vitals
from poppy.distributed_task.worker import OperationConductor, TaskFlowWorker
from poppy.dns.base import DNSDriver
from poppy.model import fleet, ids
from poppy.model.operations import Operation
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: A project has hardly anything if it has less than this part of ``board_depth``.
FEW = 16
#: Seconds for which an answer about the board's room holds.
ROOM_AGE = 0.2
#: Seconds that a worker takes, beyond its grace, to hand back what has not ended.
STORING = 15.0
#: Seconds until a board that did not answer is asked again.
AWAY_AGE = 5.0


class TaskFlowDriver(DistributedTask):
    """Posts operations as jobs on a TaskFlow job board; its workers are TaskFlow conductors."""

    OPTS: ClassVar = (
        *boards.OPTS,
        cfg.IntOpt(
            "concurrency",
            default=10,
            min=1,
            help="How many operations one worker process runs at the same time.",
        ),
        cfg.IntOpt("workers", default=1, min=1, help="How many processes poppy-worker runs."),
        cfg.FloatOpt(
            "poll_interval",
            default=0.2,
            min=0.01,
            help="Seconds between looks at the board while there is nothing to do.",
        ),
        cfg.FloatOpt(
            "dispatch_interval",
            default=1.0,
            min=0.01,
            help="Seconds between looks into storage for operations that are due.",
        ),
        cfg.FloatOpt(
            "redelivery",
            default=10.0,
            min=0.1,
            help="Seconds after which an operation that was posted, but that no worker has "
            "begun, is posted again: how long it waits when the board has lost its job. No more "
            "than run_lease, or with Cassandra each operation costs a write more.",
        ),
        cfg.FloatOpt(
            "run_lease",
            default=10.0,
            min=1,
            help="Seconds after its last sign of life that an operation under way counts as "
            "lost. Another worker then runs it again, or the delete that waits for it. The "
            "worker gives a sign every fifth of it, so it must be several times as long as "
            "storage takes to answer, as clocks differ and as regions lag behind each other.",
        ),
        cfg.IntOpt(
            "max_failures",
            default=20,
            min=1,
            mutable=True,
            help="After so many failed attempts an operation fails for good.",
        ),
        cfg.IntOpt(
            "max_age",
            default=86400,
            min=1,
            max=315360000,
            mutable=True,
            help="Seconds after which an operation that did not succeed fails for good, however "
            "long a provider asks to wait.",
        ),
        cfg.FloatOpt(
            "retry_base",
            default=5.0,
            min=0.01,
            mutable=True,
            help="Seconds: the longest wait after the first failed attempt; it doubles with "
            "each further one.",
        ),
        cfg.FloatOpt(
            "retry_ceiling",
            default=600.0,
            min=0.01,
            mutable=True,
            help="Seconds: the longest wait between attempts that a provider did not ask for.",
        ),
        cfg.FloatOpt(
            "max_retry_after",
            default=3600.0,
            min=1,
            max=86400,
            mutable=True,
            help="Seconds: the longest wait that a provider may ask for (by Retry-After, say). "
            "One that asks for more is asked again after so long.",
        ),
        cfg.BoolOpt(
            "failover",
            default=True,
            help="Lead names of services that have several providers away from those that are "
            "down, and back when they are up again. What most workers see counts.",
        ),
        cfg.FloatOpt(
            "health_interval",
            default=10.0,
            min=0.01,
            help="Seconds between looks at whether the providers' edges serve, for failover.",
        ),
        cfg.IntOpt(
            "failover_after",
            default=3,
            min=1,
            help="A provider whose edge did not serve at so many looks in a row counts as down.",
        ),
        cfg.IntOpt(
            "failback_after",
            default=30,
            min=1,
            help="One that was down and served at so many looks in a row counts as up.",
        ),
        cfg.FloatOpt(
            "failover_rate",
            default=10.0,
            min=0.01,
            help="Services a second whose names failover changes, at most: mind the limits of "
            "the DNS server.",
        ),
        cfg.IntOpt(
            "max_crashes",
            default=5,
            min=1,
            mutable=True,
            help="An operation during which so many workers died or were lost in a row, without "
            "ending it or parking it in between, fails for good: it may be what kills them.",
        ),
        cfg.FloatOpt(
            "step_timeout",
            default=300.0,
            min=0.1,
            mutable=True,
            help="Seconds that one step of an operation (a call of a driver) may take. After "
            "that the worker does not wait for it any more: the step counts as failed in a way "
            "that may pass. Drivers have shorter timeouts of their own; this is for the case "
            "that they fail.",
        ),
        cfg.IntOpt(
            "max_hung_calls",
            default=10,
            min=1,
            help="A worker process that has left so many calls behind, none of which has ended "
            "so far, hands back what it does and ends. It is started anew at once.",
        ),
        cfg.IntOpt(
            "shutdown_grace",
            default=30,
            min=0,
            help="Seconds in which the operations under way may end when a worker is told to "
            "stop (SIGTERM). What has not ended then is handed back: another worker goes on "
            "with it at once.",
        ),
        cfg.FloatOpt(
            "heartbeat_interval",
            default=10.0,
            min=0.1,
            help="Seconds between a worker's signs of life in storage. One that has missed three "
            "counts as dead: the others take its share of each driver's rate.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        # TaskFlow's boards hold connections: one for each process, made after the fork.
        self._posting_lock = threading.Lock()
        self._posting: tuple[int, Poster] | None = None
        # Until when an answer holds, and for how many jobs there was room.
        self._room = (0.0, self._limit)
        self._asking = threading.Lock()

    @property
    def workers(self) -> int:
        """How many worker processes are wanted on this machine."""
        return int(self.options.workers)

    @property
    def grace(self) -> float:
        """Seconds in which a worker that is told to stop does so."""
        return float(self.options.shutdown_grace) + STORING

    @property
    def redelivery(self) -> float:
        """Seconds after which a posted job that no worker has begun counts as lost."""
        return float(self.options.redelivery)

    def check(self) -> None:
        """Make sure that the board's options can work; asks no server."""
        boards.check(self.conf, self.options)

    def has_room(self, open_operations: int) -> bool:
        """Whether the project has less than its share, and the board is not too full.

        That is up to three quarters of ``board_depth``, as of just now; up to seven eighths for a
        project that has hardly anything. The rest is for the workers, who feed the board from
        storage: so what has waited there is not kept out by what comes in.
        """
        until, left = self._room
        # One thread asks; the others go by the answer of before, and wait for nothing.
        if time.monotonic() >= until and self._asking.acquire(blocking=False):
            try:
                until, left = self._ask_for_room()
            finally:
                self._asking.release()
        depth = int(self.options.board_depth)
        reserve = 0 if open_operations < max(1, depth // FEW) else self._limit - 3 * depth // 4
        granted = open_operations < share_of(depth) and left > reserve
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
        """Put a job on the board that names the operation, and says how urgent it is."""
        try:
            job_source.post(self._poster(), operation)
        except errors.Unavailable:
            self._room = (time.monotonic() + AWAY_AGE, 0)
            raise

    def waiting(self, limit: int) -> int:
        """How many jobs nobody has claimed."""
        try:
            return self._poster().waiting(limit)
        except taskflow.exceptions.TaskFlowException as exc:
            raise errors.Unavailable(f"The job board does not answer: {exc}") from exc

    def worker(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> Worker:
        """A conductor with a board of its own."""
        options = self.options
        board = boards.make_board(f"{socket.gethostname()}:{os.getpid()}", self.conf, self.options)
        post = functools.partial(job_source.post, board)
        # Made one after the other, each looks at what comes behind it when it is used.
        calls = Calls(options.max_hung_calls, lambda: made.stop())
        throttles = Throttles(
            {
                gate_of(it): functools.partial(Limits.of, it.options)
                for it in (*providers.values(), dns)
            },
            BreakerCache(storage.fleet),
            lambda: presence.workers,
            options.concurrency,
        )
        lease = datetime.timedelta(seconds=options.run_lease)
        conductor = OperationConductor(
            board.name,
            board,
            Means(storage, self._policy, lease, calls, throttles),
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
        presence = Presence(
            storage.fleet,
            described,
            Vitals(conductor, calls, watch, providers, options.concurrency),
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
            failover = [Failover(storage, watch, pace, worker_id, lambda: presence.alive)]
        made = TaskFlowWorker(
            board,
            conductor,
            [dispatcher, Overdue(storage, self._policy), *failover],
            presence,
            renewal=options.run_lease / SIGNS,
            grace=options.shutdown_grace,
        )
        return made

    def _retention(self) -> datetime.timedelta | None:
        days = self.conf["drivers:storage"].operation_retention
        return datetime.timedelta(days=days) if days else None

    def _policy(self) -> RetryPolicy:
        """As the options are now."""
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

    def _describe(self) -> fleet.Worker:
        now = datetime.datetime.now(datetime.UTC)
        return fleet.Worker(
            worker_id=ids.new(),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=importlib.metadata.version("poppy"),
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
