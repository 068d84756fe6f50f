# SPDX-License-Identifier: Apache-2.0
"""Read HTTP/1.1 requests from the bytes of a connection, strictly.

llhttp, the parser of Node.js (through httptools), does the parsing. It refuses the ambiguous
framing that request smuggling needs. This module adds what llhttp leaves to its user: the form of
the request line and of the target, Host, limits, and which fields may occur only once. After a
refusal the connection must be closed, because its next request may begin anywhere.
"""

import functools
import re
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import httptools

from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.request import HOST, body_too_large

#: Bytes of the request line and all header fields.
MAX_HEAD = 32768
#: A chunked body may take this many times the bytes of its content.
_MAX_CHUNK_OVERHEAD = 8

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r\n")
_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)

#: Fields that identify the client, the host or the request, and hold a single value. RFC 9110,
#: section 5.3, allows only lists to be merged, so a repeated line is a mistake or an attack.
_SINGLE = frozenset(
    {
        "CONTENT_TYPE",
        "HTTP_AUTHORIZATION",
        "HTTP_HOST",
        "HTTP_IDEMPOTENCY_KEY",
        "HTTP_OPENSTACK_SYSTEM_SCOPE",
        "HTTP_ORIGIN",
        "HTTP_X_AUTH_TOKEN",
        "HTTP_X_DOMAIN_ID",
        "HTTP_X_OPENSTACK_REQUEST_ID",
        "HTTP_X_PROJECT_DOMAIN_ID",
        "HTTP_X_PROJECT_ID",
        "HTTP_X_ROLES",
        "HTTP_X_SERVICE_TOKEN",
        "HTTP_X_TENANT_ID",
        "HTTP_X_USER_DOMAIN_ID",
        "HTTP_X_USER_ID",
    }
)
_FORWARDING = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_", "HTTP_X_REAL_IP")
_NOT_PREFIXED = {"HTTP_CONTENT_TYPE": "CONTENT_TYPE", "HTTP_CONTENT_LENGTH": "CONTENT_LENGTH"}


class Message(NamedTuple):
    """A complete request.

    Attributes:
        path: decoded from percent-encoding; each character is one byte (PEP 3333).
        query: as it was sent, without the question mark.
        fields: header fields by their WSGI names, such as ``HTTP_HOST``. The authority of an
            absolute target replaces Host (RFC 9112, section 3.2.2).
        keep_alive: whether another request may follow.
    """

    method: str
    path: str
    query: str
    version: str
    fields: dict[str, str]
    body: bytes
    keep_alive: bool


class Reader:
    """Turns the bytes of one connection into requests, one at a time.

    Args:
        max_body: the largest allowed body, in bytes.
        max_bodies: the same for single paths.
        forwarding: whether to keep forwarding fields, such as ``X-Forwarded-Host``.

    Attributes:
        in_body: whether the head of a request has arrived but its whole body has not.
        wants_continue: whether the client waits for ``100 Continue`` before it sends the body.
            The caller resets it.
    """

    def __init__(
        self, max_body: int, forwarding: bool, max_bodies: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._default_max_body = max_body
        self._max_bodies = max_bodies
        self._forwarding = forwarding
        self._parser = httptools.HttpRequestParser(self)
        self._waiting = bytearray()
        self._begin()

    def _begin(self) -> None:
        self._read = 0
        self._max_body = self._default_max_body
        self._line = b""
        self._target = ("", "")
        self._lines: list[tuple[bytes, bytes]] = []
        self._fields: dict[str, str] = {}
        self._body = bytearray()
        self._has_head = self._settled = self._complete = self._keep_alive = False
        self._chunked = self._in_chunk = False
        self.in_body = self.wants_continue = False

    @property
    def waiting(self) -> int:
        """The number of bytes that have arrived but are not parsed yet."""
        return len(self._waiting)

    @property
    def partial(self) -> bool:
        """Whether a request has begun to arrive."""
        return bool(self._read or self._waiting)

    def feed(self, data: bytes) -> None:
        """Buffer bytes that have arrived."""
        self._waiting += data

    def next(self) -> Message | None:
        """Return the next request; None until it has arrived completely.

        Raises:
            RequestRefused: it is not valid HTTP, is too large, or needs an unsupported feature.
        """
        while self._waiting and not self._complete:
            piece = self._piece()
            if not piece:
                return None
            del self._waiting[: len(piece)]
            self._parse(piece)
        if not self._complete:
            return None
        method = self._line.partition(b" ")[0].decode()
        version = self._line[-5:-2].decode()
        message = Message(
            method, *self._target, version, self._fields, bytes(self._body), self._keep_alive
        )
        self._begin()
        return message

    def _piece(self) -> bytes:
        """Return the bytes to parse next; they never reach beyond the current request."""
        if self.in_body and not self._chunked:
            left = int(self._fields["CONTENT_LENGTH"]) - len(self._body)
            return bytes(self._waiting[:left])
        if not self._line:
            return self._first_piece()
        end = self._waiting.find(b"\n") + 1
        piece = bytes(self._waiting[:end] if end else self._waiting)
        if self._chunked and not self._in_chunk and b";" in piece:
            # RFC 9112, section 7.1.1: servers should limit chunk extensions. API clients use none.
            raise _invalid("chunk extensions are not supported")
        return piece

    def _first_piece(self) -> bytes:
        """Return the whole head if it has arrived, else the request line, else nothing."""
        while self._waiting.startswith(b"\r\n"):
            # Some clients send an extra line end after a request (RFC 9112, section 2.2).
            del self._waiting[:2]
        end = self._waiting.find(b"\n") + 1
        if (end or len(self._waiting)) > MAX_HEAD:
            raise _head_too_large()
        if not end:
            return b""
        self._line = bytes(self._waiting[:end])
        if not _REQUEST_LINE.fullmatch(self._line):
            raise _invalid("the request line is malformed")
        all_of_it = self._waiting.find(b"\r\n\r\n", end - 2) + 4
        return bytes(self._waiting[: max(all_of_it, end)])

    def _parse(self, piece: bytes) -> None:
        self._read += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # declined: the response uses HTTP/1.1 (RFC 9110, section 7.8)
        except httptools.HttpParserInvalidMethodError as exc:
            raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, "The method is not known") from exc
        except httptools.HttpParserError as exc:
            raise self._unreadable(exc) from exc
        if not self._settled:
            if self._read > MAX_HEAD:
                raise _head_too_large()
            if self._has_head:
                self._settle_head()
        most = MAX_HEAD + _MAX_CHUNK_OVERHEAD * self._max_body
        if len(self._body) > self._max_body or self._read > most:
            raise body_too_large(self._max_body)
        self.in_body = self._has_head and not self._complete

    def _unreadable(self, exc: httptools.HttpParserError) -> RequestRefused:
        for name, value in self._lines:
            if name.lower() == b"transfer-encoding" and b"chunked" not in value.lower():
                return _unknown_coding()
        return _invalid(str(exc))

    def _settle_head(self) -> None:
        """Make the checks that the parser leaves out, and keep what the application needs.

        Raises:
            RequestRefused: the head is not valid, or declares too large a body.
        """
        self._settled = True
        method, target, version = self._line.decode("ascii").split()
        fields = self._fields = _fields(self._lines, self._forwarding)
        authority, self._target = _target(method, target)
        self._max_body = self._max_bodies.get(self._target[0], self._default_max_body)
        self._settle_framing(fields, version)
        host = fields.get("HTTP_HOST")
        if host is None and version == "HTTP/1.1":  # RFC 9112, section 3.2
            raise _invalid("the Host header field is missing")
        if authority is not None:
            fields["HTTP_HOST"] = authority
        for text in (host, authority):
            if text is not None and not HOST.fullmatch(text):
                raise _invalid("the host is malformed")

    def _settle_framing(self, fields: dict[str, str], version: str) -> None:
        """Determine how the body is framed (RFC 9112, section 6).

        Raises:
            RequestRefused: the framing is not valid or not supported, or the body is too large.
        """
        coding = fields.pop("HTTP_TRANSFER_ENCODING", None)
        size = int(fields.get("CONTENT_LENGTH", "0"))
        if coding is not None:
            if version == "HTTP/1.0":
                raise _invalid("HTTP/1.0 has no transfer codings")
            if coding.lower() != "chunked":
                raise _unknown_coding()
            self._chunked = True
        if size > self._max_body:
            raise body_too_large(self._max_body)
        if self._complete and (coding is not None or size):
            # The parser would take the body for data of the other protocol.
            raise _invalid("a request to upgrade must have no body")
        expected = fields.pop("HTTP_EXPECT", None)
        if expected is not None and expected.lower() != "100-continue":
            raise RequestRefused(
                HTTPStatus.EXPECTATION_FAILED, "The only supported expectation is 100-continue"
            )
        # RFC 9110, section 10.1.1: an HTTP/1.0 client does not understand 100.
        wants = expected is not None and version == "HTTP/1.1"
        self.wants_continue = wants and not self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field. (Parser callback.) Trailer fields are ignored."""
        if not self._has_head:
            self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is complete. (Parser callback.)"""
        self._has_head = True
        self._keep_alive = self._parser.should_keep_alive()

    def on_chunk_header(self) -> None:
        """Note that a chunk's data follows. (Parser callback.)"""
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        """Note the end of a chunk. (Parser callback.)"""
        self._in_chunk = False

    def on_body(self, data: bytes) -> None:
        """Keep part of the body. (Parser callback.)"""
        self._body += data

    def on_message_complete(self) -> None:
        """Note that the request is complete. (Parser callback.)"""
        self._complete = True


def _fields(lines: list[tuple[bytes, bytes]], forwarding: bool) -> dict[str, str]:
    """Return header fields by their WSGI names.

    Names with an underscore are dropped: in WSGI, ``X_Roles`` and ``X-Roles`` are the same.

    Raises:
        RequestRefused: a single-value field occurs twice.
    """
    fields: dict[str, str] = {}
    for raw, content in lines:
        name = _wsgi_name(raw)
        if b"_" in raw or (not forwarding and name.startswith(_FORWARDING)):
            continue
        value = content.decode("latin-1").strip(" \t")
        if name in fields:
            if name in _SINGLE:
                raise _invalid(f"{raw.decode('ascii')} occurs twice")
            value = fields[name] + ("; " if name == "HTTP_COOKIE" else ", ") + value
        fields[name] = value
    return fields


@functools.lru_cache(1024)
def _wsgi_name(raw: bytes) -> str:
    name = "HTTP_" + raw.decode("ascii").upper().replace("-", "_")
    return _NOT_PREFIXED.get(name, name)


def _target(method: str, target: str) -> tuple[str | None, tuple[str, str]]:
    """Return the authority, if any, and the path and query of a target (RFC 9112, section 3.2).

    Raises:
        RequestRefused: the target has none of the forms that a server must understand.
    """
    authority = None
    if target == "*" and method == "OPTIONS":
        return None, ("*", "")
    if not target.startswith("/"):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise _invalid("the target is neither a path nor a URL")
        authority, target = absolute.groups()
        if not target.startswith("/"):
            target = f"/{target}"
    if "#" in target:
        raise _invalid("the target has a fragment")
    path, _, query = target.partition("?")
    if "%" in path:
        path = urllib.parse.unquote_to_bytes(path).decode("latin-1")
    return authority, (path, query)


def _head_too_large() -> RequestRefused:
    return RequestRefused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The request line and header fields must not exceed {MAX_HEAD} bytes",
    )


def _unknown_coding() -> RequestRefused:
    """Return the 501 of RFC 9112, section 6.1."""
    return RequestRefused(
        HTTPStatus.NOT_IMPLEMENTED, "The only supported transfer coding is chunked"
    )


def _invalid(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, f"The request is not valid: {reason}")
