# SPDX-License-Identifier: Apache-2.0
"""A proxy between a driver and its vendor's server that loses and refuses requests."""

import http.client
import http.server
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Unreliable:
    """An HTTP proxy to one server, on loopback; use it as a context manager.

    Args:
        tls: files of a certificate and its key, with which the proxy serves https.

    Attributes:
        url: the URL to use instead of the server's.
        calls: ``METHOD path`` of every request that reached the server, in order.
        plan: returns the fate of a request by its number (from 1, see :meth:`restart`): ``ok``;
            ``lost``: the server does it, but the reply is lost; ``dead``: it does not reach the
            server; or a status to answer with instead.
        refused: statuses to answer with instead, by path.
        headers: of an answer with such a status.
        body: of an answer with such a status.
    """

    def __init__(self, url: str, tls: tuple[Path, Path] | None = None) -> None:
        self._target = urlsplit(url)
        self._lock = threading.Lock()
        self._number = 0
        self.calls: list[str] = []
        self.plan: Callable[[int], str | int] = lambda _number: "ok"
        self.refused: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.body = b""
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise, the client's delayed acknowledgement adds 40 ms to each answer.
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )

    def restart(self, plan: Callable[[int], str | int] | None = None) -> None:
        """Count from 1 again, with a plan; without one, everything works."""
        with self._lock:
            self._number = 0
            self.calls = []
            self.refused = {}
            self.plan = plan or (lambda _number: "ok")

    def _handle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._number += 1
            fate = self.refused.get(request.path) or self.plan(self._number)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if isinstance(fate, int):
            self._answer(request, fate, list(self.headers.items()), self.body)
            return
        if fate == "dead":
            request.close_connection = True
            return
        status, headers, content = self._forward(request, body)
        if fate == "lost":
            request.close_connection = True
            return
        self._answer(request, status, headers, content)

    def _forward(
        self, request: http.server.BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        self.calls.append(f"{request.command} {request.path}")
        host, port = self._target.hostname or "", self._target.port
        if self._target.scheme == "https":
            # The server's certificate is not what is tested here.
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(host, port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            connection.request(request.command, request.path, body, dict(request.headers))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self,
        request: http.server.BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
    ) -> None:
        request.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
