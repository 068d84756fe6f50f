# SPDX-License-Identifier: Apache-2.0
"""POST of a service (202) compared with GET of one.

Both use the complete application on SQLite. The POST validates the document, stores service,
domain and operation in one transaction and posts a job to the SQL board in another; no worker
runs. The client makes its documents before the measurement.

The goal is about the response time for a client, so it is measured over HTTP: one server process,
one connection that is kept alive. The row without HTTP shows Poppy's own share.
"""

import contextlib
import json
import statistics
from collections.abc import Callable

from poppy.model import ids
from tests.perf import seed
from tests.perf.common import PROJECT, Effort, Measure, alternate, call, document, poppy, timed
from tests.perf.get_http import connection, get, request
from tests.perf.results import Goal, Result

GOAL = Goal("<=", 3)
PATH = "/v1.0/services"


def run(effort: Effort) -> list[Result]:
    """Measure milliseconds, the median of each round."""
    return [over_http(effort), in_process(effort)]


def over_http(effort: Effort) -> Result:
    """Measure over HTTP, as a client sees it."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(poppy())
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        stack.enter_context(made.installation.daemon("poppy-server"))
        client = stack.enter_context(connection(int(made.installation.base.rpartition(":")[2])))
        a, b = compared(
            effort,
            lambda body: request(client, "POST", PATH, json.dumps(body), 202),
            lambda: get(client, f"{PATH}/{service_id}"),
        )
    return Result("create over HTTP", "ms", ("POST", a), ("GET", b), GOAL)


def in_process(effort: Effort) -> Result:
    """Measure direct WSGI calls."""
    with poppy() as made:
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        a, b = compared(
            effort,
            lambda body: call(made.application, "POST", PATH, body, status=202),
            lambda: call(made.application, "GET", f"{PATH}/{service_id}"),
        )
    return Result("create, no HTTP", "ms", ("POST", a), ("GET", b), None)


def compared(
    effort: Effort, post: Callable[[object], object], read: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Return the medians of the rounds of POST and of GET."""
    requests = effort.pick(60, 30)

    def median(work: Measure) -> float:
        return statistics.median(work() for _ in range(requests))

    def timed_post() -> float:
        body = document(f"www.{ids.new()}.example.com")
        return timed(lambda: post(body))

    return alternate(
        effort.pick(21, 7), lambda: median(timed_post), lambda: median(lambda: timed(read))
    )
