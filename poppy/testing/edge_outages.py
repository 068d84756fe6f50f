# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that simulates an edge and its failures."""

import socket
import socketserver
import threading
from types import TracebackType
from typing import Self


class Edge:
    """A context manager that listens on loopback and answers with a chosen behaviour.

    Attributes:
        url: the URL of a page.
        port: the port that it listens on.
        behaviour: the status to answer with, or ``hang``: no response; ``drip``: an endless
            header, byte by byte; ``close``: close the connection; ``garbage``: not HTTP;
            ``endless``: 200 with an endless body.
        asked: the request lines received.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.behaviour: int | str = 200
        self.asked: list[str] = []
        self._ended = threading.Event()
        edge = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                edge.asked.append(self.rfile.readline().decode().strip())
                while self.rfile.readline().strip():
                    pass
                edge._answer(self.connection)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server((host, 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://{host}:{self.port}/alive"

    def _answer(self, client: socket.socket) -> None:
        if isinstance(self.behaviour, int):
            more = "Location: http://127.0.0.1:1/\r\n" if 300 <= self.behaviour < 400 else ""
            client.sendall(
                f"HTTP/1.1 {self.behaviour} Some Words\r\n{more}Content-Length: 0\r\n\r\n".encode()
            )
        elif self.behaviour == "garbage":
            client.sendall(b"220 mail.example.com ESMTP\r\n")
        elif self.behaviour == "hang":
            self._ended.wait(60)
        elif self.behaviour == "endless":
            self._repeat(client, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0.0)
        elif self.behaviour == "drip":
            self._repeat(client, b"HTTP/1.1 103 Early Hints\r\nX-Long: ", b"x", 0.05)

    def _repeat(self, client: socket.socket, first: bytes, more: bytes, pause: float) -> None:
        try:
            client.sendall(first)
            while not self._ended.wait(pause):
                client.sendall(more)
        except OSError:
            pass  # The client has closed the connection.

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
