# SPDX-License-Identifier: Apache-2.0
"""TaskFlow's ZooKeeper board, for servers that only post jobs and for long-lived workers.

The nodes are those of TaskFlow: ``job<number>`` holds a posting. ``job<number>.lock`` is a claim,
and lives as long as the session of the worker that created it. So one listing of the board's
children shows which jobs exist and which are free.

TaskFlow's board lists all jobs on every change, in every connected process, and then reads three
nodes per job. :class:`ZooKeeperPoster` lists nothing and watches nothing.
:class:`ZooKeeperJobBoard`, for workers, lists the board only when it has changed and a caller
needs the list.
"""

from collections.abc import Iterable, Mapping

import taskflow.exceptions
import taskflow.jobs.base
from kazoo import exceptions as kazoo_exceptions
from kazoo.protocol import paths
from oslo_serialization import jsonutils
from oslo_utils import uuidutils
from taskflow.jobs.backends import impl_zookeeper

from poppy.distributed_task.board.zookeeper_client import ERRORS, Client, Settings

JOB = impl_zookeeper.ZookeeperJobBoard.JOB_PREFIX
LOCK = impl_zookeeper.ZookeeperJobBoard.LOCK_POSTFIX


def jobs_of(names: Iterable[str]) -> list[str]:
    """Return the names of jobs among the board's children."""
    return [name for name in names if name.startswith(JOB) and not name.endswith(LOCK)]


def unclaimed_of(names: Iterable[str]) -> list[str]:
    """Return the names of unclaimed jobs."""
    all_names = frozenset(names)
    return [name for name in jobs_of(all_names) if name + LOCK not in all_names]


def failure(purpose: str, error: Exception) -> taskflow.exceptions.JobFailure:
    """Return the TaskFlow exception for a kazoo error."""
    return taskflow.exceptions.JobFailure(f"Could not {purpose}: {type(error).__name__} {error}")


class ZooKeeperPoster:
    """Posts jobs, and counts them approximately.

    No call takes longer than ``settings.timeout``. While ZooKeeper is away, only the first call
    waits for it; the others fail at once until it is back.

    Args:
        path: the board's path, the same as for workers.
    """

    def __init__(self, path: str, settings: Settings) -> None:
        self._path = path
        self._client = Client(settings)

    def connect(self) -> None:
        """Start to connect. It continues in the background for as long as necessary."""
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
        """The number of nodes: one per job, plus one per claim.

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
        """Count the jobs that wait for a worker, up to ``limit``. Claims may count as well.

        Below the limit this reads one number; otherwise it lists the names.

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
        """Add a job in TaskFlow's format. If the reply is lost, the job may exist all the same.

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
