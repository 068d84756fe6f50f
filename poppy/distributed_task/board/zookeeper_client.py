# SPDX-License-Identifier: Apache-2.0
"""A ZooKeeper client with bounded waits that always reconnects."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass

import taskflow.exceptions
from kazoo import client as kazoo_client
from kazoo import exceptions as kazoo_exceptions
from kazoo import retry, security
from kazoo.handlers import threading as kazoo_threading
from kazoo.protocol import states

#: What kazoo raises when a request fails.
ERRORS = (kazoo_exceptions.KazooException, kazoo_threading.KazooTimeoutError)

#: Minimum seconds between starts of a client with a connection thread that has ended.
_REVIVAL = 5.0


@dataclass(frozen=True)
class Settings:
    """The address of ZooKeeper, and how to connect.

    Attributes:
        hosts: ``host:port``, separated by commas; IPv6 addresses in brackets.
        session_timeout: seconds of silence after which ZooKeeper ends a client's session.
        timeout: seconds that a call may wait for ZooKeeper.
        auth: ``user:password`` for the digest scheme. Only that identity can then read and write
            the nodes created here.
        verify: whether to check the server's certificate and the name in it.
    """

    hosts: str
    session_timeout: float = 10.0
    timeout: float = 2.0
    auth: str | None = None
    use_ssl: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


class _Result(kazoo_threading.AsyncResult):  # type: ignore[misc]
    """A reply with a default timeout."""

    _handler: "_Handler"

    def get(self, block: bool = True, timeout: float | None = None) -> object:
        """Return the reply.

        Raises:
            KazooTimeoutError: it did not arrive in time; the request may be carried out later.
        """
        return super().get(block, self._handler.timeout if timeout is None else timeout)


class _Handler(kazoo_threading.SequentialThreadingHandler):  # type: ignore[misc]
    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout

    def async_result(self) -> _Result:
        return _Result(self)


class Client(kazoo_client.KazooClient):  # type: ignore[misc]
    """A kazoo client for use from several threads of the process that opened it.

    It connects and reconnects in the background for as long as necessary. No call waits longer
    than ``settings.timeout`` for its reply.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        auth, acl = None, None
        if settings.auth:
            user, _, password = settings.auth.partition(":")
            auth = [("digest", settings.auth)]
            acl = [security.make_digest_acl(user, password, all=True)]
        super().__init__(
            hosts=settings.hosts,
            timeout=settings.session_timeout,
            handler=_Handler(settings.timeout),
            connection_retry=retry.KazooRetry(max_tries=-1, delay=0.1, backoff=2, max_delay=1.0),
            randomize_hosts=True,
            auth_data=auth,
            default_acl=acl,
            use_ssl=settings.use_ssl,
            ca=settings.ca_file,
            certfile=settings.cert_file,
            keyfile=settings.key_file,
            verify_certs=settings.verify,
            check_hostname=settings.use_ssl and settings.verify,
        )
        self._opening = threading.Lock()
        self._pid = 0
        self._opened_at = 0.0
        self.add_listener(self._forget_position)

    def _forget_position(self, state: str) -> None:
        # A server that has lost its data refuses clients that have seen a later state than its
        # own, forever if they keep reporting that state. A job board can live with an older view.
        if state != states.KazooState.CONNECTED:
            self.last_zxid = 0

    @property
    def ready(self) -> bool:
        """Whether there is a connection that this process has opened."""
        return bool(self.connected) and self._pid == os.getpid()

    @property
    def session(self) -> int | None:
        """The id of the session; None without a connection."""
        identity = self.client_id
        return None if identity is None or identity[0] is None else int(identity[0])

    def open(self) -> None:
        """Start to connect, unless that is already in progress.

        Raises:
            JobFailure: the client was opened before this process was forked.
        """
        with self._opening:
            if self._pid not in (0, os.getpid()):
                raise taskflow.exceptions.JobFailure("The client belongs to the parent process")
            age = time.monotonic() - self._opened_at
            # Kazoo's thread ends when the server refuses the credentials.
            ended = self.client_state == states.KeeperState.CLOSED and age > _REVIVAL
            if self._pid == 0 or ended:
                self._pid, self._opened_at = os.getpid(), time.monotonic()
                self.start_async()

    def ensure_ready(self) -> None:
        """Open the client and wait for the first connection.

        It waits only if the client has just been opened. If ZooKeeper is away for longer, calls
        fail at once.

        Raises:
            JobFailure: there is no connection.
        """
        self.open()
        deadline = self._opened_at + self._settings.timeout
        while not self.ready:
            if time.monotonic() >= deadline:
                raise taskflow.exceptions.JobFailure("ZooKeeper does not answer")
            self._live.wait(max(0.0, deadline - time.monotonic()))

    def shut(self) -> None:
        """End the session, or let it time out if ZooKeeper does not answer."""
        with self._opening:
            if self._pid == os.getpid():
                # Kazoo waits ten seconds or more for a server that hangs.
                ending = threading.Thread(target=self._end, daemon=True)
                ending.start()
                ending.join(self._settings.timeout)
            self._pid = 0

    def _end(self) -> None:
        with contextlib.suppress(*ERRORS, OSError):
            self.stop()
            self.close()
