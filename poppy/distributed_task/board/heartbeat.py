# SPDX-License-Identifier: Apache-2.0
"""The thread that renews the claims of one job board."""

import threading
from collections.abc import Callable, Mapping

from oslo_log import log as logging
from taskflow import exceptions as excp

LOG = logging.getLogger(__name__)


class Heartbeat:
    """The claims made through one board, and a daemon thread that renews them.

    It renews a claim only if the database still has it with the same token. So a process that was
    stopped for long does not take a job back from its new holder.
    """

    def __init__(
        self, name: str, lease: float, renew: Callable[[Mapping[str, str]], set[str]]
    ) -> None:
        """Create it without claims and without starting it.

        Args:
            name: The board's name, for the log.
            lease: Seconds that a claim lives without renewal; the thread renews three times as
                often.
            renew: Renews the given claims (tokens by job UUID) and returns the tokens of those
                still held; raises JobFailure if it cannot tell.
        """
        self._name = name
        self._lease = lease
        self._renew = renew
        self._lock = threading.Lock()
        self._claims: dict[str, str] = {}
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

    def hold(self, uuid: str, token: str) -> None:
        """Start to renew the claim of a job."""
        with self._lock:
            self._claims[uuid] = token

    def release(self, uuid: str, token: str) -> bool:
        """Stop renewing a claim; return whether it was being renewed."""
        with self._lock:
            held = self._claims.get(uuid) == token
            if held:
                del self._claims[uuid]
            return held

    def token_of(self, uuid: str) -> str | None:
        """Return the token of the claim on a job; None if there is none."""
        with self._lock:
            return self._claims.get(uuid)

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
        standing = self._renew(claims)
        for uuid, token in claims.items():
            # Skip a claim that was just consumed or abandoned here: it is not lost.
            if token not in standing and self.release(uuid, token):
                LOG.warning("Board %s has lost its claim of job %s", self._name, uuid)
