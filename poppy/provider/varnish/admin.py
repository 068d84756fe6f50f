# SPDX-License-Identifier: Apache-2.0
"""Client of Varnish's management port, as described in varnish-cli(7).

A reply is a line of exactly 13 bytes with status and length, then a text of that length and a line
feed. The first reply on a connection is a banner, or a challenge that lets the client prove
knowledge of the secret without sending it.
"""

import hashlib
import json
import re
import secrets
import socket
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

from poppy.common import tracing
from poppy.common.errors import PermanentError, RetryableError, Scope, TimedOut, Unauthorized

_HEADER_LENGTH = 13
_OK = 200
_TRUNCATED = 201
_AUTHENTICATE = 107
_CLOSING = 500
#: Commands with a run time that depends on the tenant's document.
_OF_DOCUMENTS = frozenset({"vcl.inline", "vcl.label", "vcl.use", "ban"})
_C_FAILED = "Running C-compiler failed"
_OUT_OF_TIME = re.compile("CPU time limit|signal 24")  # SIGXCPU, of the compiler or its shell.
_CHALLENGE_LENGTH = 32
_MAX_REPLY = 99_999_999  # Bytes: also the most that Varnish's cli_limit can be set to.


class Refused(PermanentError):
    """Varnish understood a command and refused it.

    Attributes:
        status: the status of the reply.
        text: the whole reply.
    """

    def __init__(self, message: str, status: int, text: str) -> None:
        super().__init__(message)
        self.status = status
        self.text = text


class Reply(NamedTuple):
    """A reply of Varnish."""

    status: int
    text: str


class Admin:
    """A connection to a node; a context manager.

    Args:
        address: ``host:port`` of the management port, IPv6 addresses in brackets.
        secret: the exact content of the secret file.
        timeout: seconds that connecting, and each command, may take.

    Raises:
        RetryableError: the node does not answer in time.
        PermanentError: the address is malformed.
        Unauthorized: the secret is wrong.
    """

    def __init__(self, address: str, secret: bytes, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        #: The scope of the error if the current command gets no reply.
        self._scope = Scope.PROVIDER
        self._socket = self._connect()
        try:
            self._greet(secret)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def command(self, *words: str) -> str:
        """Run a command and return the text of the reply.

        Raises:
            Refused: Varnish replied with an error.
            RetryableError: no reply in time; the command may or may not have run.
        """
        return self._command(" ".join(_quote(word) for word in words))

    def inline(self, name: str, vcl: str) -> None:
        """Compile ``vcl`` and load it as ``name``.

        Raises:
            Refused: it does not compile, or not within the node's time limit; the message has
                the first lines of the compiler's output.
            RetryableError: the node's C compiler failed.
        """
        # A here document ends at its token, so the author of the text must not be able to guess
        # the token.
        token = secrets.token_hex(16)
        try:
            self._command(f"vcl.inline {_quote(name)} << {token}\n{vcl}\n{token}")
        except Refused as exc:
            # The VCL was translated to C, so the failure is the node's fault (no compiler, disk
            # full).
            if _C_FAILED in exc.text and not _OUT_OF_TIME.search(exc.text):
                raise RetryableError(str(exc), 60) from exc
            raise

    def json(self, *words: str) -> list[Any]:
        """Run a command in its ``-j`` form; return the result without its three leading fields.

        Raises:
            Refused: Varnish replied with an error.
            RetryableError: no reply in time, or the reply is not JSON.
        """
        text = self.command(words[0], "-j", *words[1:])
        try:
            result: list[Any] = json.loads(text)
        except ValueError as exc:
            raise RetryableError(f"{self.address}: the reply to {words[0]} is not JSON") from exc
        return result[3:]

    def _connect(self) -> socket.socket:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit():
            raise PermanentError(f"'{self.address}' is not host:port of a management port")
        try:
            return socket.create_connection((host.strip("[]"), int(port)), self._timeout)
        except OSError as exc:
            kind = TimedOut if isinstance(exc, TimeoutError) else RetryableError
            raise kind(
                f"Varnish at {self.address} can't be reached: {exc}", scope=Scope.PROVIDER
            ) from exc

    def _greet(self, secret: bytes) -> None:
        status, text = self._receive()
        if status == _AUTHENTICATE:
            challenge = text[:_CHALLENGE_LENGTH].encode()
            proof = hashlib.sha256(challenge + b"\n" + secret + challenge + b"\n").hexdigest()
            status, text = self._exchange(f"auth {proof}")
        if status in (_AUTHENTICATE, _CLOSING):
            raise Unauthorized(f"Varnish at {self.address} does not accept the secret")
        if status != _OK:
            raise RetryableError(
                f"Varnish at {self.address} sent a greeting with status {status}: {text}",
                scope=Scope.PROVIDER,
            )

    def _command(self, line: str) -> str:
        name = line.split(" ", 1)[0]
        with tracing.span(f"varnish {name}", tracing.Kind.CLIENT) as span:
            host, _, port = self.address.rpartition(":")
            span.set({"server.address": host.strip("[]"), "server.port": int(port)})
            return self._traced(line, name, span)

    def _traced(self, line: str, name: str, span: tracing.Span) -> str:
        status, text = self._exchange(line)
        if status == _TRUNCATED:
            # The reply exceeds the node's cli_limit: raise the limit and repeat the command.
            self._exchange(f"param.set cli_limit {_MAX_REPLY}")
            status, text = self._exchange(line)
        if status == _OK:
            return text
        span.fail(str(status))
        if status == _TRUNCATED:
            text = "the reply is truncated; raise the node's parameter cli_limit"
        if status == _CLOSING:
            raise RetryableError(
                f"Varnish at {self.address} closed the connection at {name}: {text}"
            )
        raise Refused(f"Varnish at {self.address}: {name}: {_summary(text)}", status, text)

    def _exchange(self, line: str) -> Reply:
        self._deadline = time.monotonic() + self._timeout
        ours = line.split(" ", 1)[0] not in _OF_DOCUMENTS
        self._scope = Scope.PROVIDER if ours else Scope.SERVICE
        try:
            self._set_timeout()
            self._socket.sendall(line.encode("ascii", "backslashreplace") + b"\n")
        except OSError as exc:
            raise self._lost(exc) from exc
        return self._receive()

    def _receive(self) -> Reply:
        try:
            header = self._read(_HEADER_LENGTH)
            status, length = (int(field) for field in header.split())
            if not 0 <= length <= _MAX_REPLY:
                raise ValueError(f"a reply of {length} bytes")
            text = self._read(length + 1)[:-1].decode("utf-8", "replace")
        except (OSError, ValueError) as exc:
            raise self._lost(exc) from exc
        return Reply(status, text)

    def _read(self, count: int) -> bytes:
        parts = []
        while count:
            self._set_timeout()
            part = self._socket.recv(min(count, 65536))
            if not part:
                raise ConnectionError("connection closed")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _set_timeout(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)

    def _lost(self, cause: Exception) -> RetryableError:
        kind = TimedOut if isinstance(cause, TimeoutError) else RetryableError
        return kind(f"Varnish at {self.address} did not answer: {cause}", scope=self._scope)


def _quote(word: str) -> str:
    """Return a word for the command line, in quotes if necessary.

    Only if necessary, because Varnish 7.1 can't parse two quoted words in a row.
    """
    if word and all(c.isascii() and (c.isalnum() or c in "_.-=~&") for c in word):
        return word
    if not (word.isascii() and word.isprintable()):
        raise PermanentError(f"{word!r} can't be sent to a management port")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _summary(text: str) -> str:
    """Return the first lines of Varnish's error text, which name the error and its place."""
    lines = (line.strip() for line in text.splitlines())
    useful = [line for line in lines if line and not line.startswith("Message from")]
    return "; ".join(useful[:4]) or "refused"
