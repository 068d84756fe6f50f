# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that simulates an edge and its failures."""

import socket
import socketserver

from poppy.testing.loopback import LoopbackServer


class Edge(LoopbackServer):
    """A context manager that listens on loopback and answers with a chosen behaviour.

    Attributes:
        url: the URL of a page.
        behaviour: the status to answer with, or ``hang``: no response; ``drip``: an endless
            header, byte by byte; ``close``: close the connection; ``garbage``: not HTTP;
            ``endless``: 200 with an endless body.
        asked: the request lines received.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__(host)
        self.behaviour: int | str = 200
        self.asked: list[str] = []
        self.url = f"http://{host}:{self.port}/alive"

    def serve(self, connection: socketserver.StreamRequestHandler) -> None:
        """Read a request, and behave as chosen."""
        self.asked.append(connection.rfile.readline().decode().strip())
        while connection.rfile.readline().strip():
            pass
        self._answer(connection.connection)

    def _answer(self, client: socket.socket) -> None:
        if isinstance(self.behaviour, int):
            more = "Location: http://127.0.0.1:1/\r\n" if 300 <= self.behaviour < 400 else ""
            client.sendall(
                f"HTTP/1.1 {self.behaviour} Some Words\r\n{more}Content-Length: 0\r\n\r\n".encode()
            )
        elif self.behaviour == "garbage":
            client.sendall(b"220 mail.example.com ESMTP\r\n")
        elif self.behaviour == "hang":
            self.ended.wait(60)
        elif self.behaviour == "endless":
            self._repeat(client, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0.0)
        elif self.behaviour == "drip":
            self._repeat(client, b"HTTP/1.1 103 Early Hints\r\nX-Long: ", b"x", 0.05)

    def _repeat(self, client: socket.socket, first: bytes, more: bytes, pause: float) -> None:
        client.sendall(first)
        while not self.ended.wait(pause):
            client.sendall(more)
