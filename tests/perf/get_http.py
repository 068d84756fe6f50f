# SPDX-License-Identifier: Apache-2.0
"""GET of a service over HTTP: poppy-server compared with a bare Pecan application in Waitress.

As in :mod:`tests.perf.get`, but between processes: one server process each, with the same number
of threads, and one client with one persistent connection to each. The client's share of the time
is the same in both. Rounds alternate, so that the other server is idle.
"""

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.perf import seed
from tests.perf.common import PROJECT, Effort, Poppy, alternate, poppy, rate
from tests.perf.get import GOAL, same_document
from tests.perf.results import Result
from tests.real.poppy import free_port

HEADERS = {
    "X-Project-ID": PROJECT,
    "Accept": "application/json",
    "Content-Type": "application/json",
}


def run(effort: Effort) -> list[Result]:
    """Measure requests per second."""
    requests = effort.pick(400, 200)
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(poppy())
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        path, other_path = f"/v1.0/services/{service_id}", f"/services/{service_id}"
        stack.enter_context(made.installation.daemon("poppy-server"))
        ours = stack.enter_context(connection(int(made.installation.base.rpartition(":")[2])))
        theirs = stack.enter_context(connection(stack.enter_context(bare_server(made))))
        same_document(get(ours, path), get(theirs, other_path))
        a, b = alternate(
            effort.pick(21, 7),
            lambda: rate(lambda: get(ours, path), requests),
            lambda: rate(lambda: get(theirs, other_path), requests),
        )
    return [Result("get over HTTP", "req/s", ("poppy-server", a), ("bare Pecan", b), GOAL)]


@contextlib.contextmanager
def bare_server(made: Poppy) -> Iterator[int]:
    """Run the bare application in a separate process and return its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.perf.bare", made.url, str(port)])
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def connection(port: int, timeout: float = 30) -> Iterator[http.client.HTTPConnection]:
    """Connect to a server that may still be starting."""
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    deadline = time.monotonic() + timeout
    while True:
        try:
            made.connect()
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
    with contextlib.closing(made):
        yield made


def get(client: http.client.HTTPConnection, path: str) -> bytes:
    """GET a path and return the body."""
    return request(client, "GET", path, None, 200)


def request(
    client: http.client.HTTPConnection, method: str, path: str, body: str | None, status: int
) -> bytes:
    """Send a request and return the body.

    Raises:
        RuntimeError: the answer's status is not the expected one.
    """
    client.request(method, path, body, HEADERS)
    response = client.getresponse()
    answer = response.read()
    if response.status != status:
        raise RuntimeError(f"{method} {path}: {response.status}: {answer[:500]!r}")
    return answer
