# SPDX-License-Identifier: Apache-2.0
"""One project's create while another project has thousands of queued operations.

It is compared with the same create without a queue. Both run at the same time on this machine:
two Poppys, each with one ``poppy-worker`` of ten slots and a provider with a delay of a quarter of
a second. One works on the flood all the time, which is refilled before each round; the other is
idle. Time runs from the request until the service is deployed.
"""

import contextlib
import datetime
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from poppy.model import ids
from poppy.model.services import Status
from tests.perf.backbone import backbone
from tests.perf.common import Effort, Poppy, alternate, document, poppy
from tests.perf.results import Goal, Result
from tests.real.poppy import Options

GOAL = Goal("<=", 1.5)
_FLOOD, _TENANT = "project-a", "project-b"
_PROVIDER = {"drivers:provider:mock": {"latency": 0.25}}
_THREADS = 4
_PATIENCE = 120.0


def run(effort: Effort) -> list[Result]:
    """Measure seconds to ``deployed`` on SQLite."""
    return [_compare(effort, {}, {}, "fairness, SQLite")]


def run_in_production(effort: Effort) -> list[Result]:
    """Measure seconds to ``deployed`` on Cassandra and ZooKeeper."""
    with backbone() as servers:
        busy, idle = servers.options(), servers.options()
        return [_compare(effort, busy, idle, "fairness, production")]


def _compare(effort: Effort, busy: Options, idle: Options, what: str) -> Result:
    waiting, rounds = effort.pick(2000, 400), effort.pick(11, 3)
    with poppy({**busy, **_PROVIDER}) as flooded, poppy({**idle, **_PROVIDER}) as quiet:

        def behind() -> float:
            _flood(flooded, waiting)
            return _create(flooded)

        _flood(flooded, waiting)
        with _working(flooded), _working(quiet):
            a, b = alternate(rounds, behind, lambda: _create(quiet))
    return Result(what, "s", (f"behind {waiting:,} of another's", a), ("behind none", b), GOAL)


def _flood(made: Poppy, waiting: int) -> None:
    """Queue this many operations of the other project."""

    def create(_number: int) -> None:
        body = document(f"www.{ids.new()}.example.com")
        made.boot.manager.services.create(_FLOOD, body, None)

    now = datetime.datetime.now(datetime.UTC)
    left = made.boot.storage.operations.count_open(_FLOOD, waiting, now).total
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(create, range(waiting - left)))


@contextlib.contextmanager
def _working(made: Poppy) -> Iterator[None]:
    """Run a worker, warmed up by one operation."""
    with made.installation.daemon("poppy-worker"):
        _create(made)
        yield


def _create(made: Poppy) -> float:
    services = made.boot.manager.services
    begin = time.monotonic()
    service_id = services.create(_TENANT, document(f"www.{ids.new()}.example.com"), None)
    while services.get(_TENANT, service_id).status is not Status.DEPLOYED:
        if time.monotonic() - begin > _PATIENCE:
            raise RuntimeError(f"{service_id} was not deployed in {_PATIENCE:.0f} s")
        time.sleep(0.01)
    return time.monotonic() - begin
