# SPDX-License-Identifier: Apache-2.0
"""Two worker processes compared with one, on Cassandra and ZooKeeper.

As an operator runs them: ``poppy-worker`` with one process and with two. Time runs from the
first finished operation to the last, so that it excludes the start.

* With a provider that answers at once, so that only processors matter. The goal applies on
  machines with cores for workers, Cassandra and ZooKeeper: at least four.
* With a slow provider, as real ones are, so that operations wait for it and two workers
  interfere only on the board and in storage.
"""

import os
import time
from collections.abc import Sequence

from poppy.model import ids
from poppy.model.services import Status
from tests.perf.backbone import Backbone, backbone
from tests.perf.common import PROJECT, Effort, Poppy, alternate, document, poppy
from tests.perf.drain import DEPTH, warm_up
from tests.perf.results import Goal, Result

_CORES = 4
_PATIENCE = 120.0


def run(effort: Effort) -> list[Result]:
    """Measure operations per second."""
    goal = Goal(">=", 1.7)
    has_cores = (os.cpu_count() or 1) >= _CORES
    with backbone() as servers:
        with poppy(servers.options(board_depth=DEPTH)) as before:
            warm_up(before, effort)
        return [
            _compare(servers, effort, "scaling", 0.0, goal if has_cores else None),
            _compare(servers, effort, "scaling, provider of 0.25 s", 0.25, goal),
        ]


def _compare(
    servers: Backbone, effort: Effort, name: str, latency: float, goal: Goal | None
) -> Result:
    jobs, rounds = effort.pick(300, 80), effort.pick(5, 1)
    mock = {"drivers:provider:mock": {"latency": latency}}
    one, two = ({**servers.options(workers=number), **mock} for number in (1, 2))
    with poppy(one) as single, poppy(two) as double:
        a, b = alternate(rounds, lambda: _drain(double, jobs), lambda: _drain(single, jobs))
    return Result(name, "op/s", ("two workers", a), ("one worker", b), goal)


def _drain(made: Poppy, jobs: int) -> float:
    services = made.boot.manager.services
    created = [
        services.create(PROJECT, document(f"www.{ids.new()}.example.com"), None)
        for _ in range(jobs)
    ]
    with made.installation.daemon("poppy-worker"):
        begin, first = _wait(made, created, 0)
        end, last = _wait(made, created[first:], jobs - first - 1)
    return (last + 1) / (end - begin)


def _wait(made: Poppy, created: Sequence[str], index: int) -> tuple[float, int]:
    """Wait until the service at an index and all earlier ones are deployed.

    Operations run in about this order, so it is sufficient to poll the next service.

    Returns:
        The time, and the index of the first service that was not yet deployed, or the last.
    """
    deadline = time.monotonic() + _PATIENCE
    done = 0
    while time.monotonic() < deadline:
        service = made.boot.manager.services.get(PROJECT, created[done])
        if service.status is not Status.DEPLOYED:
            time.sleep(0.02)
        elif done == len(created) - 1 or done >= index:
            return time.monotonic(), done
        else:
            done += 1
    raise RuntimeError(f"{done} of {len(created)} were done in {_PATIENCE:.0f} s")
