# SPDX-License-Identifier: Apache-2.0
"""Creates with thousands of queued operations, compared with creates without a queue.

This measures POST without the transport, on Cassandra and ZooKeeper: manager, store, board. No
worker runs. Each side has its own keyspace and job board; on one side the board is full and the
backlog waits in storage. The creates of the other side stay queued as well: hundreds at the end.
"""

from concurrent.futures import ThreadPoolExecutor

from poppy.model import ids
from tests.perf.backbone import backbone
from tests.perf.common import PROJECT, Effort, Poppy, alternate, document, poppy, rate
from tests.perf.results import Goal, Result

GOAL = Goal(">=", 0.8)
_THREADS = 8


def run(effort: Effort) -> list[Result]:
    """Measure accepted services per second."""
    waiting, requests = effort.pick(5_000, 400), effort.pick(40, 20)
    with (
        backbone() as servers,
        poppy(servers.options()) as busy,
        poppy(servers.options()) as idle,
    ):
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(lambda _: _create(busy), range(waiting)))
        a, b = alternate(
            effort.pick(9, 3),
            lambda: rate(lambda: _create(busy), requests),
            lambda: rate(lambda: _create(idle), requests),
        )
    return [
        Result("posting", "req/s", (f"{waiting:,} waiting", a), ("none at first", b), GOAL),
    ]


def _create(made: Poppy) -> None:
    body = document(f"www.{ids.new()}.example.com")
    made.boot.manager.services.create(PROJECT, body, None)
