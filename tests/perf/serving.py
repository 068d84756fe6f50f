# SPDX-License-Identifier: Apache-2.0
"""The API's HTTP server compared with Waitress, with the same application in both.

Two server processes, and one client with 1, 8 or 32 connections to one of them at a time.
``python -m tests.perf.serving waitress CONFIG PORT`` runs one of the two servers.
"""

import contextlib
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from poppy.bootstrap import Bootstrap
from poppy.common import config, logs
from tests.perf import seed
from tests.perf.common import PROJECT, Effort, Poppy, alternate, poppy
from tests.perf.get_http import connection
from tests.perf.results import Goal, Result
from tests.real.poppy import free_port

#: The same number as in poppy-server.
THREADS = 8
#: Numbers of concurrent connections.
CONCURRENCY = (1, 8, 32)
#: Waitress does not protect itself from slow clients, so it may be slightly faster.
GOAL = Goal(">=", 0.8)


def run(effort: Effort) -> list[Result]:
    """Measure requests per second."""
    requests = effort.pick(800, 320)
    results = []
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(poppy())
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        ours, theirs = (
            stack.enter_context(served(made, name)) for name in ("poppy-server", "waitress")
        )
        for connections in CONCURRENCY:
            with (
                Clients(ours, connections, service_id) as a,
                Clients(theirs, connections, service_id) as b,
            ):
                mine, other = alternate(
                    effort.pick(15, 5), lambda: a.rate(requests), lambda: b.rate(requests)
                )
            results.append(
                Result(
                    f"serving {connections} connections",
                    "req/s",
                    ("poppy-server", mine),
                    ("Waitress", other),
                    GOAL,
                )
            )
    return results


@contextlib.contextmanager
def served(made: Poppy, name: str) -> Iterator[int]:
    """Run a server in a separate process and return its port."""
    port = free_port()
    line = [sys.executable, "-m", "tests.perf.serving", name]
    process = subprocess.Popen([*line, str(made.installation.config), str(port)])
    try:
        with connection(port):
            yield port
    finally:
        process.kill()
        process.wait()


class Clients:
    """Connections that each send a request as soon as the previous one is answered."""

    def __init__(self, port: int, connections: int, service_id: str) -> None:
        self._request = (
            f"GET /v1.0/services/{service_id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"X-Project-ID: {PROJECT}\r\nAccept: application/json\r\n\r\n"
        ).encode()
        self._sockets = [
            socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(connections)
        ]

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._sockets:
            sock.close()

    def rate(self, requests: int) -> float:
        """Send this many requests; return the responses per second."""
        begin = time.perf_counter()
        unsent, open_ = requests, 0
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                sock.sendall(self._request)
                selector.register(sock, selectors.EVENT_READ)
                unsent, open_ = unsent - 1, open_ + 1
            while open_:
                for key, _ in selector.select(30):
                    answered(key.fileobj)  # type: ignore[arg-type]
                    open_ -= 1
                    if unsent > 0:
                        key.fileobj.sendall(self._request)  # type: ignore[union-attr]
                        unsent, open_ = unsent - 1, open_ + 1
        return requests / (time.perf_counter() - begin)


def answered(sock: socket.socket) -> None:
    """Read one response.

    Raises:
        RuntimeError: it is not 200.
    """
    data = sock.recv(65536)
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"{data[:500]!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)


def main(name: str, file: str, port: str) -> None:
    """Serve until killed."""
    conf = config.load([], files=[file])
    logs.setup(conf)
    transport = Bootstrap(conf).transport
    conf.set_override("port", int(port), group="drivers:transport:pecan")
    if name == "waitress":
        import waitress

        waitress.serve(transport.application, host="127.0.0.1", port=int(port), threads=THREADS)
    else:
        transport.serve(transport.listen())


if __name__ == "__main__":
    main(*sys.argv[1:])
