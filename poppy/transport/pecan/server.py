# SPDX-License-Identifier: Apache-2.0
"""The API's HTTP server, one per process; all processes share the listening socket.

One thread (asyncio) reads requests and writes responses; other threads run the application. A
request gets a thread only once it has arrived completely, so slow clients occupy no thread.
"""

import asyncio
import contextlib
import queue
import resource
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from oslo_context import context
from oslo_log import log

from poppy.common import metrics
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

#: Seconds that requests in progress get to finish when the server stops.
GRACE = 10.0
#: Seconds in which a stopping server accepts one more request on each kept-alive connection. Its
#: response closes the connection.
LINGER = 2.0
#: Seconds that clients then have to close their side.
CLOSING = 0.5

#: Connections per process, if the file descriptor limit allows them.
_CONNECTIONS = 4000
#: File descriptors for everything else: the store, the log, providers.
_OTHER_FILES = 200
#: Connections to accept before existing ones get a turn.
_ACCEPTED_AT_ONCE = 64
#: Seconds between checks for expired connections.
_TICK = 0.5


class Settings(NamedTuple):
    """The server's settings.

    Attributes:
        threads: number of threads that run the application.
        max_body_size: the largest request body, in bytes.
        max_body_sizes: the same for single paths.
        behind_proxy: whether to trust forwarding fields, such as ``X-Forwarded-Host``. Otherwise
            they are removed.
        request_timeout: seconds in which a request must arrive, from its first byte.
        idle_timeout: seconds after which an idle connection is closed.
        access_log: whether to write refused requests to the access log.
    """

    threads: int
    max_body_size: int
    behind_proxy: bool
    request_timeout: float = 10.0
    idle_timeout: float = 60.0
    access_log: bool = True
    max_body_sizes: Mapping[str, int] = MappingProxyType({})


class Server:
    """Serves an application until :meth:`stop` is called.

    Args:
        application: is called in ``threads`` threads.
        listener: is closed when the server stops.
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
        #: Connections that wait for a request, longest wait first.
        self._waiting: dict[Connection, None] = {}
        self._arriving: set[asyncio.Task[Any]] = set()
        self._asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limit = _connection_limit()

    def run(self) -> None:
        """Serve until :meth:`stop`; then finish the requests in progress and close everything."""
        asyncio.run(self._main())

    def stop(self) -> None:
        """Make :meth:`run` return. Takes no lock, so a signal handler may call it."""
        self._asked = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # run() has returned
                self._loop.call_soon_threadsafe(self._wake.set)

    # The methods that connections call.

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        return time.monotonic()

    def joined(self, connection: Connection) -> None:
        """Add a connection. Above the limit, drop the one that has waited longest.

        So slow clients, however many, displace only each other: other clients send their requests
        before they become the longest-waiting.
        """
        self._connections.add(connection)
        if len(self._connections) > self._limit:
            longest = next(iter(self._waiting))
            if longest is connection:
                connection.refuse(_unavailable("The server has too many connections"))
            else:
                longest.abort()

    def left(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        self._connections.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        """Note that a connection waits for its next request."""
        self._waiting[connection] = None

    def busy(self, connection: Connection) -> None:
        """Note that a connection no longer waits for a request."""
        self._waiting.pop(connection, None)

    def answer_soon(self, connection: Connection, message: Message, peer: Address) -> None:
        """Queue a request for the application threads."""
        self._queue.put((connection, message, peer))

    def refusal(self, refused: RequestRefused, peer: Address) -> Answer:
        """Return the response to a request that never reaches the application, and log it."""
        identifier = context.generate_request_id()
        LOG.info("Request %s refused: %s", identifier, refused)
        status = str(refused.status.value)
        metrics.INVALID_REQUESTS.add(status)
        if self.settings.access_log:
            access.write(peer.host, None, None, status, 0.0, None, identifier)
        return refusal(refused, identifier)

    async def _main(self) -> None:
        self._wake = asyncio.Event()
        # From here on, stop() uses both.
        self._loop = asyncio.get_running_loop()
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
        """Run queued requests; the body of each application thread."""
        while (job := self._queue.get()) is not None:
            connection, message, peer = job
            answer = self._gateway.answer(message, peer)
            with contextlib.suppress(RuntimeError):  # run() has returned
                loop.call_soon_threadsafe(connection.answer, answer, message.keep_alive)

    def _accept_when_ready(self) -> None:
        if self._loop is not None and not self._listener.closed:
            self._loop.add_reader(self._listener.sock, self._accept)

    def _accept(self) -> None:
        """Accept a limited number of pending connections before serving existing ones."""
        assert self._loop is not None
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:  # out of file descriptors or memory
                LOG.warning("Can't accept connections: %s", exc)
                self._loop.remove_reader(self._listener.sock)
                self._loop.call_later(_TICK, self._accept_when_ready)
                return
            arriving = self._loop.create_task(
                self._loop.connect_accepted_socket(lambda: Connection(self), sock)
            )
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)

    async def _tick(self) -> None:
        """End expired connections, every ``_TICK`` seconds."""
        while True:
            await asyncio.sleep(_TICK)
            now = self.now()
            for connection in list(self._connections):
                if connection.deadline < now:
                    connection.expire()

    async def _shut_down(self) -> None:
        """Answer all requests that have arrived or are arriving; then close everything."""
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
        # Connections from the backlog have already sent their requests.
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
        """Wait until a condition holds, for at most ``seconds``."""
        deadline = self.now() + seconds
        while not condition() and self.now() < deadline:
            await asyncio.sleep(0.02)


def _unavailable(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "1"})


def _connection_limit() -> int:
    """Return the connection limit of this process; raises its soft limit of open files."""
    wanted = _CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _CONNECTIONS if soft == resource.RLIM_INFINITY else max(soft - _OTHER_FILES, 16)
