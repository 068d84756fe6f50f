# SPDX-License-Identifier: Apache-2.0
"""The origins of the edge contract: what they answer, and what they have seen.

This part does no I/O, so that a data plane that is only interpreted can call it. The servers in
:mod:`poppy.testing.edge.wire` send the same responses over real connections.
"""

import gzip
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

#: The response field with the number of the reply. Each reply to one token has another number.
NUMBER = "X-Reply"

_TOKEN = re.compile("t[0-9]+x")
_RANGE = re.compile("bytes=([0-9]+)-([0-9]+)")

Fields = Sequence[tuple[str, str]]


class Reply(NamedTuple):
    """How an origin answers requests.

    Attributes:
        status: the status code.
        fields: additional header fields; each line of a value becomes a field of its own.
        size: bytes added to the body.
        delay: seconds until the response begins.
        fault: ``reset``: close the connection without a response; ``silent``: never respond;
            ``truncated``: close it in the middle of the body.
        form: how the response is sent: ``length`` (with Content-Length), ``chunked``, ``close``
            (HTTP/1.0, the end of the connection ends the body), or ``hints`` (103 first).
        compresses: whether the body is compressed for clients that accept gzip.
        ranges: whether a request for a range of bytes gets 206.
        at: the name of the only origin that answers so; others send an ordinary response.
    """

    status: int = 200
    fields: Mapping[str, str] = {}
    size: int = 0
    delay: float = 0.0
    fault: str = ""
    form: str = "length"
    compresses: bool = False
    ranges: bool = False
    at: str = ""


class Seen(NamedTuple):
    """A request as an origin received it."""

    origin: str
    method: str
    target: str
    fields: Fields

    def value(self, name: str) -> str | None:
        """Return the values of a header field, joined by commas; None if it is missing.

        ``:path`` is the request's target, as in HTTP/2.
        """
        if name == ":path":
            return self.target
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(values) if values else None


class Response(NamedTuple):
    """A response without its transfer. The body is empty for HEAD, 204 and 304."""

    status: int
    fields: Fields
    body: bytes


class Origins:
    """All origins of a data plane. They share a script, which is kept by token.

    A token is part of the path, so that requests of several rows don't affect each other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replies: dict[str, Reply] = {}
        self._seen: dict[str, list[Seen]] = defaultdict(list)
        self._stopped: set[str] = set()
        #: Called when the origin of this name is stopped.
        self.on_stop: dict[str, Callable[[], None]] = {}

    def script(self, token: str, reply: Reply) -> None:
        """Answer requests with this token in the path in this way from now on."""
        with self._lock:
            self._replies[token] = reply

    def stop(self, origin: str) -> None:
        """Let an origin refuse all connections from now on."""
        self._stopped.add(origin)
        self.on_stop.get(origin, lambda: None)()

    def refuses(self, origin: str) -> bool:
        """Return whether an origin refuses connections."""
        return origin in self._stopped

    def seen(self, token: str) -> Sequence[Seen]:
        """Return all requests with this token in the path, in order."""
        with self._lock:
            return list(self._seen[token])

    def reply(self, target: str) -> Reply:
        """Return how the origins reply to requests for a path and query."""
        with self._lock:
            return self._replies.get(_token(target), Reply())

    def answer(self, request: Seen) -> tuple[Reply, Response]:
        """Record a request, and return how to reply to it and the response."""
        token = _token(request.target)
        with self._lock:
            reply = self._replies.get(token, Reply())
            if reply.at not in ("", request.origin):
                reply = Reply()
            self._seen[token].append(request)
            number = len(self._seen[token])
        return reply, _response(request, reply, number, token)


def _token(target: str) -> str:
    return found[0] if (found := _TOKEN.search(target)) else ""


def body_of(token: str, number: int, size: int) -> bytes:
    """Return the body of a reply."""
    return f"{token} {number:06}\n".encode() + b"." * size


def _response(request: Seen, reply: Reply, number: int, token: str) -> Response:
    fields = [(NUMBER, str(number))]
    if "Content-Type" not in reply.fields:
        fields.append(("Content-Type", "text/plain"))
    fields += [(name, line) for name, value in reply.fields.items() for line in value.split("\n")]
    etag = reply.fields.get("ETag")
    if etag and request.value("If-None-Match") == etag:
        return Response(304, fields, b"")
    status, body = reply.status, body_of(token, number, reply.size)
    wanted = _RANGE.fullmatch(request.value("Range") or "")
    if reply.ranges and wanted:
        first, last = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
        fields.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
        status, body = 206, body[first : last + 1]
    if reply.compresses and "gzip" in (request.value("Accept-Encoding") or ""):
        fields.append(("Content-Encoding", "gzip"))
        body = gzip.compress(body)
    return Response(status, fields, b"" if status == 204 else body)
