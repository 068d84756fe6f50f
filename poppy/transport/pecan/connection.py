# SPDX-License-Identifier: Apache-2.0
"""One connection of a client: what state it is in, and how long it may stay there."""

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

#: Seconds that a client has for taking an answer.
WRITE_TIMEOUT = 30.0
#: Seconds that a client has for closing its side, once ours is closed.
CLOSE_TIMEOUT = 2.0
#: Bytes that are read, and ignored, meanwhile.
_MAX_IGNORED = 1 << 20


class State(enum.Enum):
    """What a connection is doing."""

    #: Nothing of the next request has arrived.
    IDLE = enum.auto()
    #: A part of a request has arrived.
    READING = enum.auto()
    #: The application is at work.
    RUNNING = enum.auto()
    #: The client has not taken all of the answer yet.
    WRITING = enum.auto()
    #: Our side is closed. Until the client closes its own, what it sends is ignored: to close at
    #: once would reset the connection, and destroy an answer on its way (RFC 9112, section 9.6).
    CLOSING = enum.auto()


class Connection(asyncio.Protocol):
    """Reads requests, has them run one by one, and writes their answers.

    All methods run in the thread of the event loop.

    Attributes:
        deadline: by the clock of the event loop, when :meth:`expire` is to be called.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._reader = Reader(server.settings.max_body_size, server.settings.behind_proxy)
        self._close_after = self._client_closed = False
        self._ignored = 0
        self._paused = False
        self._peer = Address("", "")
        self.state = State.IDLE
        self.deadline = math.inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there."""
        self._transport = cast(asyncio.Transport, transport)
        # Tell by pause_writing and resume_writing whether anything is left to send.
        self._transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer = Address(peer[0], str(peer[1]))
        self._wait()
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended; an answer that is being made has nowhere to go."""
        self.state = State.CLOSING
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of this request, or of a next one."""
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
        """The client sends no more; it may still want the answer."""
        self._client_closed = self._close_after = True
        return self.state in (State.RUNNING, State.WRITING)

    def pause_writing(self) -> None:
        """Something is left to send."""
        self._paused = True

    def resume_writing(self) -> None:
        """Everything is sent."""
        self._paused = False
        if self.state is State.WRITING:
            self._go_on()

    def answer(self, answer: Answer, keep_alive: bool) -> None:
        """Send an answer."""
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
        """Too much time has passed in this state."""
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
        """Answer without asking the application, and close."""
        self._server.busy(self)
        self.state = State.RUNNING
        self.answer(self._server.refusal(refused, self._peer), keep_alive=False)

    def close(self) -> None:
        """Close our side, and wait for the client to close its own."""
        self._server.busy(self)
        self.state = State.CLOSING
        self.deadline = self._server.now() + CLOSE_TIMEOUT
        if self._client_closed or self._transport.is_closing():
            self._transport.close()
            return
        with contextlib.suppress(OSError):  # the client has gone; we are told soon
            self._transport.write_eof()
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    @property
    def finishing(self) -> bool:
        """Whether a request is being answered, or the body of one is arriving."""
        return self.state in (State.RUNNING, State.WRITING) or (
            self.state is State.READING and self._reader.in_body
        )

    def _wait(self) -> None:
        self.state = State.IDLE
        self.deadline = self._server.now() + self._server.settings.idle_timeout
        self._server.waits(self)

    def _go_on(self) -> None:
        """An answer was sent: close, or see to the next request."""
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
