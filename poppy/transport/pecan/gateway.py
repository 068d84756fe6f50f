# SPDX-License-Identifier: Apache-2.0
"""The gateway between HTTP messages and a WSGI application (PEP 3333)."""

import email.utils
import functools
import io
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from oslo_context import context
from oslo_log import log

from poppy.transport.pecan import errors, headers
from poppy.transport.pecan.errors import RequestRefused
from poppy.transport.pecan.http1 import Message
from poppy.transport.pecan.response import encode

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

LOG = log.getLogger(__name__)

_BODILESS = ("1", "204", "304")


class Address(NamedTuple):
    """One end of a connection."""

    host: str
    port: str


class Answer(NamedTuple):
    """A response to send; the connection adds ``Connection`` and the empty line.

    Attributes:
        head: the status line and the header fields, each with its line end.
        body: empty for HEAD, 204 and 304.
    """

    head: bytes
    body: bytes


class Gateway:
    """Runs a WSGI application.

    Args:
        application: is called from any thread.
        server: the server's address, which requests without Host are for.
    """

    def __init__(self, application: "WSGIApplication", server: Address) -> None:
        self._application = application
        self._common: WSGIEnvironment = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": server.host,
            "SERVER_PORT": server.port,
            "SERVER_SOFTWARE": "poppy",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
        }

    def answer(self, message: Message, peer: Address) -> Answer:
        """Return the application's response; 500 if it fails."""
        environ = {
            **self._common,
            **message.fields,
            "REQUEST_METHOD": message.method,
            "PATH_INFO": message.path,
            "QUERY_STRING": message.query,
            "SERVER_PROTOCOL": f"HTTP/{message.version}",
            "REMOTE_ADDR": peer.host,
            "REMOTE_PORT": peer.port,
            "wsgi.input": io.BytesIO(message.body),
        }
        try:
            return _run(self._application, environ)
        except Exception:  # noqa: BLE001 (a bug: applications answer for their own errors)
            LOG.exception("The application failed")
            return refusal(RequestRefused(HTTPStatus.INTERNAL_SERVER_ERROR, errors.FAULT))


def refusal(refused: RequestRefused, identifier: str | None = None) -> Answer:
    """Return a refusal in the API's error format, without running the application.

    Args:
        identifier: the request ID; by default a new one.
    """
    identifier = identifier or context.generate_request_id()
    body = encode(errors.document(str(refused), identifier))
    fields = [
        *refused.headers.items(),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("x-openstack-request-id", identifier),
        *headers.ALWAYS,
    ]
    return Answer(_head(f"{refused.status.value} {refused.status.phrase}", fields), body)


def _run(application: "WSGIApplication", environ: "WSGIEnvironment") -> Answer:
    status = ""
    fields: list[tuple[str, str]] = []
    written: list[bytes] = []

    def start_response(
        line: str, given: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        nonlocal status, fields
        status, fields = line, given
        return written.append

    result = application(environ, start_response)
    try:
        written.extend(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    body = b"".join(written)
    if status.startswith(_BODILESS):
        return Answer(_head(status, fields), b"")
    if environ["REQUEST_METHOD"] == "HEAD":
        return Answer(_head(status, fields), b"")
    kept = [field for field in fields if field[0].lower() != "content-length"]
    return Answer(_head(status, [*kept, ("Content-Length", str(len(body)))]), body)


def _head(status: str, fields: list[tuple[str, str]]) -> bytes:
    """Return the bytes of the status line and the header fields.

    Raises:
        ValueError: a field contains a line end, which would inject another field.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    if lines.count("\n") != len(fields) or lines.count("\r") != len(fields):
        raise ValueError(f"A response header field contains a line end: {fields}")
    return (
        f"HTTP/1.1 {status}\r\nServer: poppy\r\nDate: {_date(int(time.time()))}\r\n{lines}".encode(
            "latin-1"
        )
    )


@functools.lru_cache(2)
def _date(now: int) -> str:
    return email.utils.formatdate(now, usegmt=True)
