# SPDX-License-Identifier: Apache-2.0
"""A relay to ZooKeeper that holds a client's first write, so that it can be killed then."""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

#: The request types that create nodes: create, multi, create2, createContainer, createTTL. Source:
#: ``org.apache.zookeeper.ZooDefs.OpCode``.
CREATES = frozenset({1, 14, 15, 19, 21})


class HoldingRelay:
    """A TCP relay to ZooKeeper, on the same address; use it as a context manager.

    It forwards everything until :attr:`hold` is set. After that it drops each request that creates
    a node, sets :attr:`held`, and forwards nothing more from that client.

    Args:
        host: the address of the ZooKeeper server.
        port: its port.

    Attributes:
        port: the port to connect to instead.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.hold = threading.Event()
        self.held = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        # Only shutdown() ends a blocking accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(self._server)
                for work in (self._forward_requests, _forward_replies):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket) -> None:
        # Closing it on the way out ends the session's other direction as well.
        with contextlib.suppress(OSError, struct.error), server:
            server.sendall(_frame(client))  # The connect request has no type.
            while True:
                frame = _frame(client)
                (kind,) = struct.unpack_from(">i", frame, 8)
                if kind in CREATES and self.hold.is_set():
                    self.held.set()
                    while client.recv(65536):
                        pass
                    return
                server.sendall(frame)


def _frame(sock: socket.socket) -> bytes:
    """Read a request: its length, its number and its type, four bytes each, and the rest."""
    head = _exactly(sock, 4)
    return head + _exactly(sock, struct.unpack(">i", head)[0])


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionResetError("The client is gone")
        data += more
    return data


def _forward_replies(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError), client:
        while data := server.recv(65536):
            client.sendall(data)
