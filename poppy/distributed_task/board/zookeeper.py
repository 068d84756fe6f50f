# SPDX-License-Identifier: Apache-2.0
"""Posting to TaskFlow's ZooKeeper board without looking at it.

TaskFlow's board lists all jobs whenever one comes or goes, in every process that has connected
it; a server that only posts must not pay for that. This writes the same node that the board's
own ``post`` writes, holds no watch, and never waits long for a ZooKeeper that is away: Poppy's
requests are accepted without it.
"""

import threading
from collections.abc import Mapping

import taskflow.exceptions
import taskflow.jobs.base
from kazoo import client as kazoo_client
from kazoo import exceptions as kazoo_exceptions
from kazoo import retry as kazoo_retry
from kazoo.handlers import threading as kazoo_threading
from kazoo.protocol import paths
from oslo_serialization import jsonutils
from oslo_utils import uuidutils
from taskflow.jobs.backends import impl_zookeeper

_ERRORS = (
    kazoo_exceptions.KazooException,
    kazoo_threading.KazooTimeoutError,
    kazoo_exceptions.ConnectionClosedError,
)


class ZooKeeperPoster:
    """Posts jobs, and knows how many there are.

    Args:
        hosts: ``host:port``, separated by commas.
        path: of the board, as the workers' boards have it.
        timeout: seconds that one call may take. While ZooKeeper is away, only the first call
            waits for it; the others fail at once, until it is back.
    """

    def __init__(self, hosts: str, path: str, timeout: float = 2.0) -> None:
        self._path = path
        self._timeout = timeout
        self._waited = threading.Event()
        self._client = kazoo_client.KazooClient(
            hosts=hosts,
            connection_retry=kazoo_retry.KazooRetry(max_tries=-1, delay=0.1, max_delay=2.0),
        )

    def connect(self) -> None:
        """Begin to connect; it goes on by itself, as long as it takes."""
        self._connected_event = self._client.start_async()

    def close(self) -> None:
        """End the session."""
        self._client.stop()
        self._client.close()

    @property
    def connected(self) -> bool:
        """Whether there is a session now."""
        return bool(self._client.connected)

    @property
    def job_count(self) -> int:
        """How many nodes the board has: one a job, and one more for each that is claimed.

        Raises:
            JobFailure: ZooKeeper does not answer.
        """
        self._wait_once()
        try:
            found = self._client.exists_async(self._path).get(timeout=self._timeout)
        except _ERRORS as exc:
            raise _failure("count the jobs", exc) from exc
        return int(found.children_count) if found else 0

    def post(self, name: str, details: Mapping[str, str]) -> None:
        """Add a job. When the reply is lost it may be there all the same.

        Raises:
            JobFailure: ZooKeeper does not answer.
        """
        posting = taskflow.jobs.base.format_posting(
            uuidutils.generate_uuid(),
            name,
            details=dict(details),
            priority=taskflow.jobs.base.JobPriority.NORMAL,
        )
        node = paths.join(self._path, impl_zookeeper.ZookeeperJobBoard.JOB_PREFIX)
        self._wait_once()
        try:
            self._client.create_async(
                node, jsonutils.dump_as_bytes(posting), sequence=True, makepath=True
            ).get(timeout=self._timeout)
        except _ERRORS as exc:
            raise _failure("post a job", exc) from exc

    def _wait_once(self) -> None:
        if self._client.connected:
            return
        if not self._waited.is_set():
            self._waited.set()
            if self._connected_event.wait(self._timeout):
                return
        raise taskflow.exceptions.JobFailure("ZooKeeper does not answer")


def _failure(purpose: str, error: Exception) -> taskflow.exceptions.JobFailure:
    return taskflow.exceptions.JobFailure(f"Could not {purpose}: {type(error).__name__} {error}")
