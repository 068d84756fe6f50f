# SPDX-License-Identifier: Apache-2.0
"""A server on loopback that runs in threads of the test."""

import contextlib
import socketserver
import ssl
import threading
from types import TracebackType
from typing import Self


class LoopbackServer:
    """A context manager that listens, and serves each connection in a thread.

    Subclasses implement :meth:`serve`.

    Attributes:
        port: the port that it listens on.
        ended: set when the server stops, so that connections need not wait for their clients.

    Args:
        address: an IPv4 address of loopback.
        port: 0 for a free port.
        timeout: seconds to wait for a client; None for ever.
        tls: for TLS.
    """

    def __init__(
        self,
        address: str,
        port: int = 0,
        timeout: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.ended = threading.Event()
        server, seconds = self, timeout

        class Handler(socketserver.StreamRequestHandler):
            timeout = seconds

            def handle(self) -> None:
                # A client may close the connection at any time.
                with contextlib.suppress(OSError):
                    if tls is None:
                        server.serve(self)
                        return
                    with tls.wrap_socket(self.request, server_side=True) as self.request:
                        self.setup()
                        server.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self._server = Server((address, port), Handler)
        self.port = int(self._server.server_address[1])

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        """Serve a connection until it is to be closed."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the listening socket, so that connections are refused."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
