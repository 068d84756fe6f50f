# SPDX-License-Identifier: Apache-2.0
"""The TaskFlow driver: jobs on a board, workers that claim them."""

import datetime
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import sqlalchemy.exc
import taskflow.exceptions
import taskflow.jobs.backends
import taskflow.jobs.base
from oslo_config import cfg
from oslo_log import log

from poppy.common import errors, sql
from poppy.common.retry import RetryPolicy
from poppy.distributed_task.base import DistributedTask, Worker
from poppy.distributed_task.board.zookeeper import ZooKeeperPoster
from poppy.distributed_task.dispatcher import Dispatcher
from poppy.distributed_task.worker import OperationConductor, TaskFlowWorker
from poppy.dns.base import DNSDriver
from poppy.model.operations import OperationKey
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: Seconds for which an answer about the board's depth holds.
ROOM_AGE = 0.2
#: Seconds until a board that did not answer is asked again.
AWAY_AGE = 5.0


class Poster(Protocol):
    """What posting takes of a board."""

    def connect(self) -> None:
        """Open the connection."""

    def close(self) -> None:
        """Close it."""

    @property
    def job_count(self) -> int:
        """How many jobs there are, about."""

    def post(self, name: str, details: Mapping[str, str]) -> object:
        """Add a job."""


class TaskFlowDriver(DistributedTask):
    """Posts operations as jobs on a TaskFlow job board; its workers are TaskFlow conductors."""

    OPTS: ClassVar = (
        cfg.StrOpt(
            "jobboard_backend_type",
            default="sql",
            choices=[
                ("sql", "a table in a database: no further server needed"),
                ("zookeeper", "Apache ZooKeeper: workers in any number and place"),
            ],
            help="What the job board is made of.",
        ),
        cfg.StrOpt(
            "jobboard_backend_connection",
            secret=True,
            help="SQLAlchemy URL of the sql board. Default: that of the sqlalchemy store.",
        ),
        cfg.ListOpt(
            "jobboard_backend_host",
            default=["127.0.0.1"],
            help="Hosts of the zookeeper board.",
        ),
        cfg.PortOpt(
            "jobboard_backend_port", default=2181, help="Port of the zookeeper board's hosts."
        ),
        cfg.StrOpt(
            "jobboard_path",
            default="poppy",
            help="Name of the board, so that several installations can share one backend.",
        ),
        cfg.IntOpt(
            "board_depth",
            default=100,
            min=1,
            help="About how many jobs the board may hold. More operations than that wait in "
            "storage, from where the workers feed the board: boards grow slow when they are "
            "deep. Use a few times the concurrency of all workers together.",
        ),
        cfg.IntOpt(
            "claim_lease",
            default=15,
            min=1,
            help="Seconds after which the jobs of a worker that died are free again (sql board).",
        ),
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
            default=30.0,
            min=0.1,
            help="Seconds after which an operation that was posted, but that no worker has "
            "begun, is posted again.",
        ),
        cfg.FloatOpt(
            "run_lease",
            default=60.0,
            min=1,
            help="Seconds after its last sign of life that an operation under way counts as "
            "lost. It is then run again by another worker.",
        ),
        cfg.IntOpt(
            "max_failures",
            default=20,
            min=1,
            help="After so many failed attempts an operation fails for good.",
        ),
        cfg.IntOpt(
            "max_age",
            default=86400,
            min=1,
            help="Seconds after which an operation that did not succeed fails for good.",
        ),
        cfg.FloatOpt(
            "retry_base",
            default=5.0,
            min=0.01,
            help="Seconds: the longest wait after the first failed attempt; it doubles with "
            "each further one.",
        ),
        cfg.FloatOpt(
            "retry_ceiling",
            default=600.0,
            min=0.01,
            help="Seconds: the longest wait between attempts that a provider did not ask for.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        # TaskFlow's boards hold connections: one for each process, made after the fork.
        self._posting_lock = threading.Lock()
        self._posting: tuple[int, Poster] | None = None
        # Until when an answer holds, and the answer.
        self._room = (0.0, True)
        self._asking = threading.Lock()

    @property
    def workers(self) -> int:
        """How many worker processes are wanted on this machine."""
        return int(self.options.workers)

    @property
    def redelivery(self) -> float:
        """Seconds after which a posted job that no worker has begun counts as lost."""
        return float(self.options.redelivery)

    def check(self) -> None:
        """Make sure that the board's options can work; asks no server."""
        if self._board_conf()["board"] == "poppy_sql":
            connection = self._board_conf()["connection"]
            try:
                sql.make_engine(connection).dispose()
            except (ValueError, ImportError, sqlalchemy.exc.ArgumentError) as exc:
                raise errors.ConfigError(
                    f"[drivers:distributed_task:taskflow] jobboard_backend_connection: {exc}"
                ) from exc

    def has_room(self) -> bool:
        """Whether the board has fewer jobs than ``board_depth``; asked a few times a second."""
        until, answer = self._room
        # One thread asks; the others go by the answer of before, and wait for nothing.
        if time.monotonic() < until or not self._asking.acquire(blocking=False):
            return answer
        try:
            answer = self._poster().job_count < self.options.board_depth
            self._room = (time.monotonic() + ROOM_AGE, answer)
        except (taskflow.exceptions.TaskFlowException, errors.ConfigError) as exc:
            LOG.warning("The job board does not answer; operations wait in storage: %s", exc)
            self._room = (time.monotonic() + AWAY_AGE, False)
        finally:
            self._asking.release()
        return self._room[1]

    def post(self, key: OperationKey) -> None:
        """Put a job on the board that names the operation, and nothing else."""
        try:
            self._poster().post(key.operation_id, details=key._asdict())
        except taskflow.exceptions.TaskFlowException as exc:
            raise errors.Unavailable(f"The job board does not answer: {exc}") from exc

    def worker(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> Worker:
        """A conductor with a board of its own."""
        options = self.options
        board = self._new_board(f"{socket.gethostname()}:{os.getpid()}")
        lease = datetime.timedelta(seconds=options.run_lease)
        policy = RetryPolicy(
            park_base=options.retry_base,
            park_ceiling=options.retry_ceiling,
            max_failures=options.max_failures,
            max_age=datetime.timedelta(seconds=options.max_age),
        )
        conductor = OperationConductor(
            board.name,
            board,
            storage,
            providers,
            dns,
            self.post,
            policy,
            lease,
            concurrency=options.concurrency,
            poll_interval=options.poll_interval,
        )
        dispatcher = Dispatcher(
            storage,
            board,
            self.post,
            options.dispatch_interval,
            datetime.timedelta(seconds=options.redelivery),
            options.board_depth,
        )
        return TaskFlowWorker(board, conductor, dispatcher, renewal=options.run_lease / 3)

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

    def _poster(self) -> "Poster":
        with self._posting_lock:
            if self._posting is None or self._posting[0] != os.getpid():
                poster = self._new_poster()
                poster.connect()
                self._posting = (os.getpid(), poster)
            return self._posting[1]

    def _new_poster(self) -> "Poster":
        conf = self._board_conf()
        if conf["board"] == "zookeeper":
            return ZooKeeperPoster(conf["hosts"], conf["path"])
        board: Poster = self._new_board(f"poster@{socket.gethostname()}:{os.getpid()}")
        return board

    def _new_board(self, name: str) -> taskflow.jobs.base.JobBoard:
        return taskflow.jobs.backends.fetch(name, self._board_conf())

    def _board_conf(self) -> dict[str, Any]:
        options = self.options
        if options.jobboard_backend_type == "zookeeper":
            port = options.jobboard_backend_port
            return {
                "board": "zookeeper",
                "hosts": ",".join(f"{host}:{port}" for host in options.jobboard_backend_host),
                "path": f"/taskflow/jobs/{options.jobboard_path}",
            }
        return {
            "board": "poppy_sql",
            "connection": options.jobboard_backend_connection or self._store_connection(),
            "path": options.jobboard_path,
            "lease": options.claim_lease,
        }

    def _store_connection(self) -> str:
        if self.conf.drivers.storage != "sqlalchemy":
            raise errors.ConfigError(
                "[drivers:distributed_task:taskflow] jobboard_backend_connection must be set: "
                "the job board is sql, the store is not"
            )
        return str(self.conf["drivers:storage:sqlalchemy"].connection)
