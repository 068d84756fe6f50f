# SPDX-License-Identifier: Apache-2.0
"""Creates per second of one worker, compared with TaskFlow's conductor and a flow of three tasks.

Both have the same number of threads and the same poll interval. Poppy's worker begins the
operation in the store, calls the mock provider and the mock DNS, and stores the outcome of
each step. The bare conductor's tasks do nothing and its engines keep their state in memory. All
jobs are on the board before the start. Time runs from the first consumed job to the last, so
that it excludes the start.

* In production: both use Poppy's ZooKeeper board; Poppy's operations are in Cassandra. (With
  TaskFlow's own board the bare conductor runs three or eighty jobs per second, at random.) Both
  servers are warm.
* Embedded: both use the SQL board in one SQLite file, which also has Poppy's operations.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import taskflow.engines
import taskflow.flow
import taskflow.persistence.backends
from oslo_utils import uuidutils
from taskflow import task
from taskflow.conductors.backends import impl_nonblocking
from taskflow.patterns import linear_flow
from taskflow.persistence import models

from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.distributed_task.board.zookeeper_client import Settings
from poppy.distributed_task.board.zookeeper_worker import ZooKeeperJobBoard
from poppy.model import ids
from poppy.model.operations import State
from tests.perf import backbone
from tests.perf.common import OPTIONS, PROJECT, Effort, Poppy, alternate, document, poppy
from tests.perf.results import Goal, Result

CONCURRENCY = 10
JOBS = 300
DEPTH = 2 * JOBS
#: The number of operations after which a Cassandra node is warm.
WARM_UP = 4500
POLL = OPTIONS["drivers:distributed_task:taskflow"]["poll_interval"]


#: A function that makes an unconnected board with TaskFlow's persistence.
MakeBoard = Callable[[Any], Any]
GOAL = Goal(">=", 0.8)


class Drained(NamedTuple):
    """The speed of a worker.

    Attributes:
        rate: operations per second.
        per_cpu: operations per second of processor time of this process, without that of servers;
            it is comparable even if they compete for processors.
    """

    rate: float
    per_cpu: float


def run(effort: Effort) -> list[Result]:
    """Measure operations per second on SQLite."""
    with poppy({"drivers:distributed_task:taskflow": {"board_depth": DEPTH}}) as made:
        conf = {"connection": made.url, "path": "bare"}

        def board(persistence: Any) -> Any:
            return SQLJobBoard("bare", conf, persistence=persistence)

        return _compare(effort, made, board, "worker, SQLite")


def run_in_production(effort: Effort) -> list[Result]:
    """Measure operations per second on Cassandra and ZooKeeper."""
    with backbone.backbone() as servers, poppy(servers.options(board_depth=DEPTH)) as made:

        def board(persistence: Any) -> Any:
            path = f"/bare/{uuidutils.generate_uuid()}"
            made = ZooKeeperJobBoard("bare", path, Settings(servers.zookeeper))
            made._persistence = persistence
            return made

        warm_up(made, effort)
        return _compare(effort, made, board, "worker, production")


def warm_up(made: Poppy, effort: Effort) -> None:
    """Run operations until Cassandra and ZooKeeper have optimized their code."""
    for _ in range(effort.pick(WARM_UP // JOBS, 0)):
        ours(made, JOBS)


def _compare(effort: Effort, made: Poppy, board: MakeBoard, what: str) -> list[Result]:
    jobs = effort.pick(JOBS, 80)
    a, b = alternate(effort.pick(7, 2), lambda: ours(made, jobs), lambda: theirs(board, jobs))
    return [
        Result(
            name,
            unit,
            ("poppy-worker", [it[index] for it in a]),
            ("bare conductor", [it[index] for it in b]),
            goal,
        )
        for index, (name, unit, goal) in enumerate(
            [(what, "op/s", GOAL), (f"{what}, CPU of its own", "op/CPU s", None)]
        )
    ]


def ours(made: Poppy, jobs: int) -> Drained:
    """Measure Poppy's worker."""
    services = made.boot.manager.services
    created = [
        services.create(PROJECT, document(f"www.{ids.new()}.example.com"), None)
        for _ in range(jobs)
    ]
    worker: Any = made.boot.worker()
    result = _drain(worker._conductor.notifier, worker.run, worker.stop, jobs)
    for service_id in created:
        for operation in made.boot.storage.operations.list(PROJECT, service_id):
            if operation.state is not State.SUCCEEDED:
                raise RuntimeError(f"{operation.kind} of {service_id} is {operation.state}")
    return result


def theirs(make: MakeBoard, jobs: int) -> Drained:
    """Measure TaskFlow's conductor."""
    persistence = taskflow.persistence.backends.fetch({"connection": "memory"})
    board = make(persistence)
    board.connect()
    for _ in range(jobs):
        book = models.LogBook("book")
        flow = models.FlowDetail("flow", uuidutils.generate_uuid())
        book.add(flow)
        persistence.get_connection().save_logbook(book)
        taskflow.engines.save_factory_details(flow, three_tasks, [], {}, backend=persistence)
        board.post("job", book=book, details={"flow_uuid": flow.uuid})
    conductor = impl_nonblocking.NonBlockingConductor(
        "bare",
        board,
        persistence=persistence,
        wait_timeout=POLL,
        max_simultaneous_jobs=CONCURRENCY,
    )

    def work() -> None:
        conductor.connect()
        conductor.run()
        conductor.close()

    return _drain(conductor.notifier, work, conductor.stop, jobs)


class Nothing(task.Task):  # type: ignore[misc]
    """A task that does nothing."""

    def execute(self) -> None:
        """Do nothing."""


def three_tasks() -> taskflow.flow.Flow:
    """Return the flow of the bare conductor."""
    return linear_flow.Flow("three").add(*(Nothing(name=f"task {number}") for number in range(3)))


def _drain(
    notifier: Any, work: Callable[[], None], stop: Callable[[], None], jobs: int
) -> Drained:
    drained = threading.Event()
    moments: list[tuple[float, float]] = []

    def consumed(event: str, details: Any) -> None:
        moments.append((time.perf_counter(), time.process_time()))
        if len(moments) == jobs:
            drained.set()

    notifier.register("job_consumed", consumed)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        if not drained.wait(timeout=120):
            raise RuntimeError(f"{jobs} jobs were not done in two minutes")
        (begin, begin_cpu), (end, end_cpu) = min(moments), max(moments)
        return Drained((jobs - 1) / (end - begin), (jobs - 1) / (end_cpu - begin_cpu))
    finally:
        stop()
        thread.join()
