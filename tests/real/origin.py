# SPDX-License-Identifier: Apache-2.0
"""An origin for the duration of a test."""

import http.server
import random
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tests.real import unavailable


class Origin:
    """A web server on a loopback address and port 80, the only plain port of services.

    ``with Origin() as origin:`` serves at ``origin.address``. It answers any path with a body
    of ``<name> <host> <path> <content>`` and an ``ETag``, and a request with that tag with 304.
    The test is skipped if the port can't be used.

    Attributes:
        name: the first word of the bodies.
        address: an IPv4 address.
        content: the last word of the bodies; changing it changes the ``ETag``.
        status: of the answers.
        headers: added to the answers.
        padding: bytes added to the bodies, so that they are large.
        delay: seconds that an answer takes.
        requests: number of requests by ``(host, path)``.
        not_modified: number of answers with 304.
        cookies: the ``Cookie`` headers received.
        fields: all header fields of each request, in order.
    """

    def __init__(self, name: str = "origin", address: str | None = None) -> None:
        """Prepare without serving.

        Args:
            address: a loopback address; by default a random one that is probably unused.
        """
        self.name = name
        self.address = address or f"127.{random.randint(64, 250)}.{random.randint(1, 250)}.1"
        self.content = "first"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.padding = 0
        self.delay = 0.0
        self.requests: Counter[tuple[str, str]] = Counter()
        self.not_modified = 0
        self.cookies: list[str] = []
        self.fields: list[list[tuple[str, str]]] = []
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def total(self) -> int:
        """The number of requests."""
        return self.requests.total()

    def start(self) -> None:
        """Start serving."""
        origin = self

        class Handler(_Handler):
            serves = origin

        try:
            self._server = http.server.ThreadingHTTPServer((self.address, 80), Handler)
        except OSError as exc:
            unavailable(f"port 80 of {self.address} can't be had ({exc})", "run as root on Linux")
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on. Do nothing if it is not serving."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None


class _Handler(http.server.BaseHTTPRequestHandler):
    serves: Origin

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(with_body=True)

    def do_PUT(self) -> None:
        self.do_POST()

    def do_PATCH(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def do_OPTIONS(self) -> None:
        self.do_POST()

    def _answer(self, *, with_body: bool) -> None:
        origin = self.serves
        host = self.headers.get("Host", "")
        origin.requests[host, self.path] += 1
        origin.fields.append(self.headers.items())
        if self.headers.get("Cookie"):
            origin.cookies.append(self.headers["Cookie"])
        time.sleep(origin.delay)
        etag = f'"{origin.content}"'
        body = (
            f"{origin.name} {host} {self.path} {origin.content}".encode() + b"." * origin.padding
        )
        fresh = origin.status == 200 and self.headers.get("If-None-Match") == etag
        origin.not_modified += fresh
        self.send_response(304 if fresh else origin.status)
        self.send_header("ETag", etag)
        for name, value in origin.headers.items():
            self.send_header(name, value)
        if not fresh:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body and not fresh:
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""
