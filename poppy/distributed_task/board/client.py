# SPDX-License-Identifier: Apache-2.0
"""A ZooKeeper client that nobody waits for without limit, and that always comes back."""

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

#: What kazoo raises when ZooKeeper does not do what it was asked to.
ERRORS = (kazoo_exceptions.KazooException, kazoo_threading.KazooTimeoutError)

#: Seconds that a client whose connection thread has ended is left alone before a new start.
_REVIVAL = 5.0


@dataclass(frozen=True)
class Settings:
    """Where ZooKeeper is, and how to speak to it.

    Attributes:
        hosts: ``host:port``, separated by commas; IPv6 addresses in brackets.
        session_timeout: seconds after which ZooKeeper gives up a client that it does not hear.
        timeout: seconds that a call may wait for ZooKeeper.
        auth: ``user:password`` of the scheme digest; only that identity can then read and write
            what is made here.
        verify: whether the server's certificate, and its name in there, are checked.
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
    """An answer that is waited for only so long."""

    _handler: "_Handler"

    def get(self, block: bool = True, timeout: float | None = None) -> object:
        """The answer.

        Raises:
            KazooTimeoutError: there is none in time; the request may be carried out later.
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

    It connects, and connects anew, in the background for as long as it takes. No call waits
    longer than ``settings.timeout`` for its answer.
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
        # A server that has lost its data refuses whoever has seen more than it has now: for ever,
        # for a client that goes on telling so. To a job board, an older view does no harm.
        if state != states.KazooState.CONNECTED:
            self.last_zxid = 0

    @property
    def ready(self) -> bool:
        """Whether there is a connection, opened by this process."""
        return bool(self.connected) and self._pid == os.getpid()

    @property
    def session(self) -> int | None:
        """The id of the session; None without a connection."""
        identity = self.client_id
        return None if identity is None or identity[0] is None else int(identity[0])

    def open(self) -> None:
        """Begin to connect. A client that is connecting already is left alone.

        Raises:
            JobFailure: it was opened before this process was forked off.
        """
        with self._opening:
            if self._pid not in (0, os.getpid()):
                raise taskflow.exceptions.JobFailure("The client is the parent process's")
            age = time.monotonic() - self._opened_at
            # Kazoo's thread ends when credentials are refused.
            ended = self.client_state == states.KeeperState.CLOSED and age > _REVIVAL
            if self._pid == 0 or ended:
                self._pid, self._opened_at = os.getpid(), time.monotonic()
                self.start_async()

    def ensure_ready(self) -> None:
        """Open it, and wait for the first connection.

        Only while it has just been opened. When ZooKeeper is away for longer, callers are told
        so at once.

        Raises:
            JobFailure: there is no connection now.
        """
        self.open()
        deadline = self._opened_at + self._settings.timeout
        while not self.ready:
            if time.monotonic() >= deadline:
                raise taskflow.exceptions.JobFailure("ZooKeeper does not answer")
            self._live.wait(max(0.0, deadline - time.monotonic()))

    def shut(self) -> None:
        """End the session, or leave it to its timeout if ZooKeeper does not answer."""
        with self._opening:
            if self._pid == os.getpid():
                # Kazoo waits ten seconds and more for a server that hangs.
                ending = threading.Thread(target=self._end, daemon=True)
                ending.start()
                ending.join(self._settings.timeout)
            self._pid = 0

    def _end(self) -> None:
        with contextlib.suppress(*ERRORS, OSError):
            self.stop()
            self.close()
