# SPDX-License-Identifier: Apache-2.0
"""Memory of the daemons over time: a server over requests, a worker over operations.

One process of each, as an operator runs it, on SQLite. Its memory once all threads, connections
and caches are in use is compared with its memory at the end. The figure is the resident memory
of the child process, a part of which is shared with its parent.
"""

import contextlib
import itertools
import json
import pathlib
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import sqlalchemy as sa

from poppy.common import sql
from poppy.model import ids
from poppy.model.services import Status
from poppy.storage.sqlalchemy import schema
from tests.perf import seed
from tests.perf.common import PROJECT, Effort, Poppy, document, poppy
from tests.perf.get_http import connection, request
from tests.perf.results import Curve, Goal, Point, Report, Result

#: Growth that is no leak: the allocator, and caches that fill late.
GOAL = Goal("<=", 1.05)
#: Clients, each with its own connection.
CLIENTS = 4
#: The number of measurements, and the one by which everything is warm.
LOOKS, WARM = 10, 2
_PATIENCE = 120.0


def run(effort: Effort) -> list[Report]:
    """Measure megabytes."""
    requests, operations = effort.pick(100_000, 4_000), effort.pick(5_000, 300)
    reports: list[Report] = []
    for daemon, points, what in (
        ("poppy-server", of_server(requests), "requests"),
        ("poppy-worker", of_worker(operations), "operations"),
    ):
        (first, before), (last, after) = points[WARM - 1], points[-1]
        a, b = (f"after {last:,} {what}", [after]), (f"after {first:,}", [before])
        reports.append(Result(f"memory of {daemon}", "MB", a, b, GOAL))
        reports.append(Curve(f"memory of {daemon}", what, "MB", {daemon: points}, from_zero=True))
    return reports


def of_server(requests: int) -> list[Point]:
    """Return megabytes by requests; of twenty requests, fifteen GET, four list and one POST."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(poppy())
        found = seed.services(made.url, {PROJECT: 1000})[PROJECT]
        process = stack.enter_context(made.installation.daemon("poppy-server"))
        port = int(made.installation.base.rpartition(":")[2])
        clients = [stack.enter_context(connection(port)) for _ in range(CLIENTS)]
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        pid = child_of(process)
        points = []
        for done in _looks(requests):
            share = requests // LOOKS // CLIENTS
            list(pool.map(lambda client: _mix(client, found, share), clients))  # noqa: B023
            points.append((done, resident(pid)))
        return points


def _mix(client: HTTPConnection, found: list[str], requests: int) -> None:
    services = itertools.cycle(found)
    for number in range(requests):
        service = next(services)
        if number % 20 == 0:
            body = json.dumps(document(f"www.{ids.new()}.example.com"))
            request(client, "POST", "/v1.0/services", body, 202)
        elif number % 5 == 0:
            request(client, "GET", f"/v1.0/services?limit=20&marker={service}", None, 200)
        else:
            request(client, "GET", f"/v1.0/services/{service}", None, 200)


def of_worker(operations: int) -> list[Point]:
    """Return megabytes by operations, in rounds of creates and deletes.

    (The mock provider keeps its services in memory.)
    """
    with poppy() as made, made.installation.daemon("poppy-worker") as process:
        pid = child_of(process)
        points = []
        for done in _looks(operations):
            _create_and_delete(made, operations // LOOKS // 2)
            points.append((done, resident(pid)))
        return points


def _create_and_delete(made: Poppy, count: int) -> None:
    services = made.boot.manager.services
    created = [
        services.create(PROJECT, document(f"www.{ids.new()}.example.com"), None)
        for _ in range(count)
    ]
    everything = sa.select(sa.func.count(schema.SERVICES.c.service_id))
    _wait(made, everything.where(schema.SERVICES.c.status == str(Status.DEPLOYED)), count)
    for service_id in created:
        services.delete(PROJECT, service_id, None)
    _wait(made, everything, 0)


def _wait(made: Poppy, count: sa.Select[tuple[int]], expected: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    engine = sql.make_engine(made.url)
    try:
        while True:
            with engine.connect() as conn:
                found = conn.execute(count).scalar_one()
            if found == expected:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} instead of {expected}, even after two minutes")
            time.sleep(0.1)
    finally:
        engine.dispose()


def _looks(count: int) -> range:
    step = count // LOOKS
    return range(step, step * LOOKS + 1, step)


def child_of(process: subprocess.Popen[str]) -> int:
    """Wait for the child process of a daemon with one worker, and return its id."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for path in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # the process may have ended
                if _field(path, "PPid") == process.pid:
                    return int(path.parent.name)
        time.sleep(0.05)
    raise RuntimeError("the daemon has started no process")


def resident(pid: int) -> float:
    """Return the resident megabytes (10^6 bytes) of a process; see proc_pid_status(5)."""
    return _field(pathlib.Path(f"/proc/{pid}/status"), "VmRSS") * 1024 / 1e6


def _field(status: pathlib.Path, name: str) -> int:
    fields = (line.split() for line in status.read_text().splitlines())
    return next(int(it[1]) for it in fields if it[0] == f"{name}:")
