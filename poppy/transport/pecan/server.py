# SPDX-License-Identifier: Apache-2.0
"""The API's HTTP server: one process's share of a listening socket.

One thread reads requests and writes answers (asyncio); others run the application. A thread is
taken only once a request has arrived in whole, so that slow clients cost no thread.
"""

import asyncio
import contextlib
import queue
import resource
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from oslo_context import context
from oslo_log import log

from poppy.transport.pecan import access
from poppy.transport.pecan.connection import Connection
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.gateway import Address, Answer, Gateway, refusal
from poppy.transport.pecan.http1 import Message
from poppy.transport.pecan.listening import Listener

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LOG = log.getLogger(__name__)

_Job: TypeAlias = tuple[Connection, Message, Address]

#: Seconds that requests under way get to finish when the server stops.
GRACE = 10.0
#: Seconds for which clients may send one more request on a connection that is kept alive. Its
#: answer tells them that it is the last one.
LINGER = 2.0
#: Seconds that clients then have for closing their side.
CLOSING = 0.5

#: Connections to a process, if the limit of file descriptors allows them.
_CONNECTIONS = 4000
#: File descriptors for everything else: the store, the log, providers.
_OTHER_FILES = 200
#: Connections that are accepted before others get a turn.
_ACCEPTED_AT_ONCE = 64
#: Seconds between looks for connections that have waited too long.
_TICK = 0.5


class Settings(NamedTuple):
    """What the operator decides.

    Attributes:
        threads: that run the application.
        max_body_size: of a request, in bytes.
        behind_proxy: whether fields about forwarding are to be trusted. Else they are removed.
        request_timeout: seconds in which a request has to arrive, from its first byte.
        idle_timeout: seconds after which a connection is closed that no request came by.
        access_log: whether refused requests are logged there.
    """

    threads: int
    max_body_size: int
    behind_proxy: bool
    request_timeout: float = 10.0
    idle_timeout: float = 60.0
    access_log: bool = True


class Server:
    """Serves an application until it is told to stop.

    Args:
        application: called in ``threads`` threads.
        listener: closed in the end.
    """

    def __init__(
        self, application: "WSGIApplication", listener: Listener, settings: Settings
    ) -> None:
        self.settings = settings
        self.stopping = False
        self._listener = listener
        self._gateway = Gateway(application, listener.address)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connections: set[Connection] = set()
        #: Those that a request is to come by, longest first.
        self._waiting: dict[Connection, None] = {}
        self._arriving: set[asyncio.Task[Any]] = set()
        self._asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limit = _connection_limit()

    def run(self) -> None:
        """Serve until :meth:`stop`; then finish what is under way and close everything."""
        asyncio.run(self._main())

    def stop(self) -> None:
        """Make :meth:`run` return. Takes no lock: a signal handler may call it."""
        self._asked = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # run() has returned
                self._loop.call_soon_threadsafe(self._wake.set)

    # What connections ask of their server.

    def now(self) -> float:
        """Seconds by the clock of the event loop."""
        return time.monotonic()

    def joined(self, connection: Connection) -> None:
        """A connection is there. If it is one too many, the one that has waited longest goes.

        So slow clients, however many, only get in each other's way: others send their
        requests before they become the longest.
        """
        self._connections.add(connection)
        if len(self._connections) > self._limit:
            longest = next(iter(self._waiting))
            if longest is connection:
                connection.refuse(_unavailable("The server has too many connections"))
            else:
                longest.abort()

    def left(self, connection: Connection) -> None:
        """A connection is no more."""
        self._connections.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        """A connection waits for its next request."""
        self._waiting[connection] = None

    def busy(self, connection: Connection) -> None:
        """A connection does not wait any more."""
        self._waiting.pop(connection, None)

    def answer_soon(self, connection: Connection, message: Message, peer: Address) -> None:
        """Have the application answer, in another thread."""
        self._queue.put((connection, message, peer))

    def refusal(self, refused: RequestRefused, peer: Address) -> Answer:
        """The answer to what never reaches the application."""
        identifier = context.generate_request_id()
        LOG.info("Request %s refused: %s", identifier, refused)
        if self.settings.access_log:
            status = str(refused.status.value)
            access.write(peer.host, None, None, status, 0.0, None, identifier)
        return refusal(refused, identifier)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        if self._asked:
            self._wake.set()
        threads = [
            threading.Thread(target=self._work, args=(self._loop,), name=f"poppy-{n}", daemon=True)
            for n in range(self.settings.threads)
        ]
        for thread in threads:
            thread.start()
        self._listener.sock.setblocking(False)
        self._accept_when_ready()
        ticking = asyncio.create_task(self._tick())
        await self._wake.wait()
        await self._shut_down()
        ticking.cancel()
        for _ in threads:
            self._queue.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """One thread: answer requests."""
        while (job := self._queue.get()) is not None:
            connection, message, peer = job
            answer = self._gateway.answer(message, peer)
            with contextlib.suppress(RuntimeError):  # run() has returned
                loop.call_soon_threadsafe(connection.answer, answer, message.keep_alive)

    def _accept_when_ready(self) -> None:
        if self._loop is not None and not self._listener.closed:
            self._loop.add_reader(self._listener.sock, self._accept)

    def _accept(self) -> None:
        """Take the connections that are there; gives others a turn before there are many."""
        assert self._loop is not None
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:  # no more file descriptors, or memory
                LOG.warning("No connection can be accepted: %s", exc)
                self._loop.remove_reader(self._listener.sock)
                self._loop.call_later(_TICK, self._accept_when_ready)
                return
            arriving = self._loop.create_task(
                self._loop.connect_accepted_socket(lambda: Connection(self), sock)
            )
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _tick(self) -> None:
        """End the connections that have waited too long."""
        while True:
            await asyncio.sleep(_TICK)
            now = self.now()
            for connection in list(self._connections):
                if connection.deadline < now:
                    connection.expire()

    async def _shut_down(self) -> None:
        """Answer what has been asked, and what is being asked; then close everything."""
        assert self._loop is not None
        self.stopping = True
        await self._until(lambda: not self._waiting, LINGER)
        self._close_waiting()
        await self._listener.refuse_more()
        self._loop.remove_reader(self._listener.sock)
        self._accept()
        self._listener.close()
        while self._arriving:
            await asyncio.wait(self._arriving)
        # Those that were in the backlog have sent their requests already.
        await self._until(lambda: not self._waiting, CLOSING)
        self._close_waiting()
        await self._until(lambda: not any(it.finishing for it in self._connections), GRACE)
        await self._until(lambda: not self._connections, CLOSING)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    def _close_waiting(self) -> None:
        for connection in list(self._waiting):
            if not connection.finishing:
                connection.close()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, but only so long."""
        deadline = self.now() + seconds
        while not condition() and self.now() < deadline:
            await asyncio.sleep(0.02)


def _unavailable(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "1"})


def _connection_limit() -> int:
    """How many connections this process may have; raises its soft limit of open files."""
    wanted = _CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _CONNECTIONS if soft == resource.RLIM_INFINITY else max(soft - _OTHER_FILES, 16)
