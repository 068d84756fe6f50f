# SPDX-License-Identifier: Apache-2.0
"""One client connection: its state machine and its timeouts."""

import asyncio
import contextlib
import enum
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.gateway import Address, Answer
from poppy.transport.pecan.http1 import MAX_HEAD, Message, Reader

if TYPE_CHECKING:
    from poppy.transport.pecan.server import Server

#: Seconds that a client has to read a response.
WRITE_TIMEOUT = 30.0
#: Seconds that a client has to close its side after the server has closed its own.
CLOSE_TIMEOUT = 2.0
#: Bytes to read and discard while waiting for that.
_MAX_IGNORED = 1 << 20


class State(enum.Enum):
    """The states of a connection."""

    #: No byte of the next request has arrived.
    IDLE = enum.auto()
    #: Part of a request has arrived.
    READING = enum.auto()
    #: The application handles the request.
    RUNNING = enum.auto()
    #: The client has not read the whole response yet.
    WRITING = enum.auto()
    #: The server's side is closed. Input is discarded until the client closes its side. A full
    #: close would reset the connection and could destroy a response in transit (RFC 9112,
    #: section 9.6).
    CLOSING = enum.auto()


class Connection(asyncio.Protocol):
    """Reads requests, has the application run them one at a time, and writes the responses.

    All methods run in the event loop's thread.

    Attributes:
        deadline: when to call :meth:`expire`, by the event loop's clock.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        settings = server.settings
        self._reader = Reader(
            settings.max_body_size, settings.behind_proxy, settings.max_body_sizes
        )
        self._close_after = self._client_closed = False
        self._ignored = 0
        self._paused = False
        self._peer = Address("", "")
        self.state = State.IDLE
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start waiting for the first request."""
        self._transport = cast(asyncio.Transport, transport)
        # With this, pause_writing and resume_writing tell whether unsent data is left.
        self._transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer = Address(peer[0], str(peer[1]))
        self._wait()
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a response that is still being computed is dropped."""
        self.state = State.CLOSING
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the current request or of a later one."""
        if self.state is State.CLOSING:
            self._ignored += len(data)
            if self._ignored > _MAX_IGNORED:
                self._transport.close()
            return
        self._reader.feed(data)
        if self.state in (State.IDLE, State.READING):
            self._read()
        elif self._reader.waiting > MAX_HEAD:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note that the client sends no more; it may still read the response."""
        self._client_closed = self._close_after = True
        return self.state in (State.RUNNING, State.WRITING)

    def pause_writing(self) -> None:
        """Note that unsent data is left."""
        self._paused = True

    def resume_writing(self) -> None:
        """Continue once all data is sent."""
        self._paused = False
        if self.state is State.WRITING:
            self._go_on()

    def answer(self, answer: Answer, keep_alive: bool) -> None:
        """Send a response."""
        if self.state is State.CLOSING:
            return
        self._close_after = self._close_after or not keep_alive or self._server.stopping
        field = b"Connection: close\r\n\r\n" if self._close_after else b"\r\n"
        self._transport.write(answer.head + field + answer.body)
        if self._paused:
            self.state = State.WRITING
            self.deadline = self._server.now() + WRITE_TIMEOUT
        else:
            self._go_on()

    def expire(self) -> None:
        """End the connection: it has been in its state for too long.

        A half-sent request is refused with 408. An idle connection is closed. Any other is
        aborted.
        """
        if self.state is State.READING:
            timeout = self._server.settings.request_timeout
            self.refuse(
                RequestRefused(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"The request did not arrive within {timeout} seconds",
                )
            )
        elif self.state is State.IDLE:
            self.close()
        else:
            self._transport.abort()

    def refuse(self, refused: RequestRefused) -> None:
        """Send an error without running the application, and close."""
        self._server.busy(self)
        self.state = State.RUNNING
        self.answer(self._server.refusal(refused, self._peer), keep_alive=False)

    def close(self) -> None:
        """Close the server's side and wait for the client to close its own."""
        self._server.busy(self)
        self.state = State.CLOSING
        self.deadline = self._server.now() + CLOSE_TIMEOUT
        if self._client_closed or self._transport.is_closing():
            self._transport.close()
            return
        with contextlib.suppress(OSError):  # the client is gone; connection_lost() follows
            self._transport.write_eof()
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, without waiting for the client."""
        self._transport.abort()

    @property
    def finishing(self) -> bool:
        """Whether a request is running, its response is being sent, or its body is arriving."""
        return self.state in (State.RUNNING, State.WRITING) or (
            self.state is State.READING and self._reader.in_body
        )

    def _wait(self) -> None:
        self.state = State.IDLE
        self.deadline = self._server.now() + self._server.settings.idle_timeout
        self._server.waits(self)

    def _go_on(self) -> None:
        """Close after a response, or read the next request."""
        if self._close_after:
            self.close()
            return
        self._wait()
        if self._reader.waiting:
            self._transport.resume_reading()
            self._read()

    def _read(self) -> None:
        try:
            message = self._reader.next()
        except RequestRefused as exc:
            self.refuse(exc)
            return
        if message is not None:
            self._run(message)
        elif self._reader.partial:
            if self.state is State.IDLE:
                self.state = State.READING
                self.deadline = self._server.now() + self._server.settings.request_timeout
            if self._reader.wants_continue:
                self._reader.wants_continue = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _run(self, message: Message) -> None:
        self.state = State.RUNNING
        self.deadline = math.inf
        self._server.busy(self)
        self._server.answer_soon(self, message, self._peer)
