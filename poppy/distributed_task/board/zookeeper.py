# SPDX-License-Identifier: Apache-2.0
"""TaskFlow's ZooKeeper board, made for a server that only posts and for a worker that stays.

The nodes are those of TaskFlow: ``job<number>`` holds a posting and ``job<number>.lock``, which
lives as long as its maker's session, is a claim. So one list of the board's children tells which
jobs there are, and which are free.

TaskFlow's board lists all jobs whenever one comes or goes, in every process that has connected
it, and then reads three nodes for each job that it looks at. :class:`ZooKeeperPoster` lists
nothing and watches nothing. :class:`ZooKeeperJobBoard`, for workers, asks for one list when
something has changed and somebody wants to know.
"""

from collections.abc import Iterable, Mapping

import taskflow.exceptions
import taskflow.jobs.base
from kazoo import exceptions as kazoo_exceptions
from kazoo.protocol import paths
from oslo_serialization import jsonutils
from oslo_utils import uuidutils
from taskflow.jobs.backends import impl_zookeeper

from poppy.distributed_task.board.client import ERRORS, Client, Settings

JOB = impl_zookeeper.ZookeeperJobBoard.JOB_PREFIX
LOCK = impl_zookeeper.ZookeeperJobBoard.LOCK_POSTFIX


def jobs_of(names: Iterable[str]) -> list[str]:
    """The names of the jobs among those of a board's children."""
    return [name for name in names if name.startswith(JOB) and not name.endswith(LOCK)]


def unclaimed_of(names: Iterable[str]) -> list[str]:
    """The names of the jobs that nobody has claimed."""
    all_names = frozenset(names)
    return [name for name in jobs_of(all_names) if name + LOCK not in all_names]


def failure(purpose: str, error: Exception) -> taskflow.exceptions.JobFailure:
    """What to raise for an error of kazoo."""
    return taskflow.exceptions.JobFailure(f"Could not {purpose}: {type(error).__name__} {error}")


class ZooKeeperPoster:
    """Posts jobs, and knows about how many there are.

    No call takes longer than ``settings.timeout``. While ZooKeeper is away, only the first one
    waits for it: the others fail at once, until it is back.

    Args:
        path: of the board, as the workers' boards have it.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        self._path = path
        self._client = Client(settings)

    def connect(self) -> None:
        """Begin to connect; it goes on by itself, as long as it takes."""
        self._client.open()

    def close(self) -> None:
        """End the session."""
        self._client.shut()

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        return self._client.ready

    @property
    def job_count(self) -> int:
        """How many nodes the board has: one a job, and one more for each that is claimed.

        Raises:
            JobFailure: ZooKeeper does not answer.
        """
        self._client.ensure_ready()
        try:
            found = self._client.exists(self._path)
        except ERRORS as exc:
            raise failure("count the jobs", exc) from exc
        return int(found.children_count) if found else 0

    def waiting(self, limit: int) -> int:
        """How many jobs wait for a worker, counted up to ``limit``; claims may count as well.

        Costs one number as long as that is below the limit, else a list of the names.

        Raises:
            JobFailure: ZooKeeper does not answer.
        """
        nodes = self.job_count
        if nodes < limit:
            return nodes
        try:
            names = self._client.get_children(self._path)
        except kazoo_exceptions.NoNodeError:
            return 0
        except ERRORS as exc:
            raise failure("count the jobs", exc) from exc
        return min(limit, len(unclaimed_of(names)))

    def post(
        self,
        name: str,
        *,
        details: Mapping[str, str],
        priority: taskflow.jobs.base.JobPriority = taskflow.jobs.base.JobPriority.NORMAL,
    ) -> None:
        """Add a job, in TaskFlow's form. When the reply is lost it may be there all the same.

        Raises:
            JobFailure: ZooKeeper does not answer.
        """
        posting = taskflow.jobs.base.format_posting(
            uuidutils.generate_uuid(),
            name,
            details=dict(details),
            priority=priority,
        )
        self._client.ensure_ready()
        try:
            self._client.create(
                paths.join(self._path, JOB),
                jsonutils.dump_as_bytes(posting),
                sequence=True,
                makepath=True,
            )
        except ERRORS as exc:
            raise failure("post a job", exc) from exc
