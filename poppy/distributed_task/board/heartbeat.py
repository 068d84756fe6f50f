# SPDX-License-Identifier: Apache-2.0
"""The thread that renews the claims of one job board."""

import threading
from collections.abc import Callable, Collection

from oslo_log import log as logging
from taskflow import exceptions as excp

LOG = logging.getLogger(__name__)


class Heartbeat:
    """The claims made through one board, and a daemon thread that renews them.

    It renews a claim only if the database still has it. So a process that was stopped for long
    does not take a job back from its new holder.
    """

    def __init__(
        self, name: str, lease: float, renew: Callable[[Collection[str]], set[str]]
    ) -> None:
        """Create it without claims and without starting it.

        Args:
            name: The board's name, for the log.
            lease: Seconds that a claim lives without renewal; the thread renews three times as
                often.
            renew: Renews the claims of the jobs with these UUIDs, and returns the UUIDs of those
                still held; raises JobFailure if it cannot tell.
        """
        self._name = name
        self._lease = lease
        self._renew = renew
        self._lock = threading.Lock()
        self._claims: dict[str, object] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name=f"board-{self._name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, after any renewal in progress, and forget all claims."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            self._claims.clear()

    def hold(self, uuid: str) -> None:
        """Start to renew the claim of a job."""
        with self._lock:
            self._claims[uuid] = object()

    def release(self, uuid: str, claim: object = None) -> bool:
        """Stop renewing a job's claim, or only this claim; return whether it was being renewed."""
        with self._lock:
            held = self._claims.get(uuid)
            if held is None or claim not in (None, held):
                return False
            del self._claims[uuid]
            return True

    def holds(self, uuid: str) -> bool:
        """Whether the claim of a job is being renewed."""
        with self._lock:
            return uuid in self._claims

    def _run(self, stopping: threading.Event) -> None:
        pause = self._lease / 3
        while not stopping.wait(pause):
            try:
                self._beat()
                pause = self._lease / 3
            except excp.JobFailure:
                LOG.warning("Board %s could not renew its claims", self._name, exc_info=True)
                pause = self._lease / 10

    def _beat(self) -> None:
        with self._lock:
            claims = dict(self._claims)
        if not claims:
            return
        for uuid in claims.keys() - self._renew(claims.keys()):
            # Skip a claim that was just ended here, and perhaps made again: it is not lost.
            if self.release(uuid, claims[uuid]):
                LOG.warning("Board %s has lost its claim of job %s", self._name, uuid)
