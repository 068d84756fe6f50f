# SPDX-License-Identifier: Apache-2.0
"""A page of the parked operations, for operators, among 100, 10,000 and 100,000 of them.

``GET /admin/operations?state=waiting``, with the default limit of 100, in-process, on SQLite and
on Cassandra. Each size has its own store. All sizes are measured in turns: the first page, or a
random one in the middle, so that no cache has the result. The figures are the time of a page and
its ratio to the time of a page that holds all operations.
"""

import contextlib
import datetime
import json
import random
import statistics
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from poppy.common import sql
from poppy.model import ids
from poppy.model.operations import Operation, State, Step, StepState
from poppy.storage.cassandra import codec, states
from poppy.storage.cassandra.session import Call
from poppy.storage.sqlalchemy import rows
from tests.perf import seed
from tests.perf.backbone import backbone
from tests.perf.cassandra import _PUT, _database
from tests.perf.common import PROJECT, Effort, Poppy, call, poppy, timed
from tests.perf.results import Goal, Report, Result

LIMIT = 100
SIZES = (100, 10_000, 100_000)
PATH = f"/v1.0/admin/operations?state=waiting&limit={LIMIT}"
#: The maximum milliseconds of a page, with any number of parked operations.
GOAL = Goal("<=", 50)
_CHUNK = 200

#: Milliseconds of one page.
Ask = Callable[[], float]


def run(effort: Effort) -> list[Report]:
    """Measure milliseconds, the median of each round."""
    sizes = SIZES[: effort.pick(3, 2)]
    reports: list[Report] = []
    with contextlib.ExitStack() as stack:
        asks = {}
        for size in sizes:
            made = stack.enter_context(poppy())
            asks[size] = _ask(made, _in_sqlite(made, size))
        reports += _compared("SQLite", asks, effort)
    with backbone() as servers, contextlib.ExitStack() as stack:
        asks = {}
        for size in sizes:
            made = stack.enter_context(poppy(servers.options()))
            asks[size] = _ask(made, _in_cassandra(made, size))
        reports += _compared("Cassandra", asks, effort)
    return reports


def _compared(store: str, asks: dict[int, Ask], effort: Effort) -> Iterator[Result]:
    rounds, times = effort.pick(9, 5), effort.pick(20, 8)
    medians: dict[int, list[float]] = {size: [] for size in asks}
    for _ in range(rounds + 1):
        for size, ask in asks.items():
            medians[size].append(statistics.median(ask() for _ in range(times)))
    # The first round does not count.
    kept = {size: values[1:] for size, values in medians.items()}
    least, *larger = kept
    for size in larger:
        what, sides = f"operations page, {store}", (f"{size:,} wait", kept[size])
        yield Result(what, "ms", sides, None, GOAL)
        yield Result(f"{what}, as many wait", "ms", sides, (f"{least}", kept[least]))


def _ask(made: Poppy, waiting: Sequence[Operation]) -> Ask:
    chance = random.Random(1)
    middle = waiting[: max(1, len(waiting) - LIMIT)]

    def ask() -> float:
        target = PATH
        if chance.random() < 0.5 and len(waiting) > LIMIT:
            last = chance.choice(middle)
            target += f"&marker={codec.to_number(last.created_at)}/{last.operation_id}"
        took = timed(lambda: answers.append(call(made.application, "GET", target)))
        if len(json.loads(answers.pop())["operations"]) != LIMIT:
            raise RuntimeError(f"{target} gives no full page")
        return took

    answers: list[bytes] = []
    return ask


def _parked(count: int) -> Iterator[Operation]:
    """Yield parked operations from requests over one hour, the oldest first."""
    spec = seed.template()
    now = datetime.datetime.now(datetime.UTC)
    for number in range(count):
        service = seed.service(PROJECT, spec, ids.new())
        step = Step("provider:mock", StepState.WAITING, "no answer", "RetryableError")
        asked_at = now - datetime.timedelta(seconds=3600 * (1 - number / count))
        yield replace(
            seed.operation(service),
            state=State.WAITING,
            steps=(step,),
            error="no answer",
            created_at=asked_at,
            next_attempt_at=now + datetime.timedelta(days=1),
        )


def _in_sqlite(made: Poppy, count: int) -> list[Operation]:
    engine = sql.make_engine(made.url)
    found = list(_parked(count))
    try:
        with sql.write(engine) as conn:
            for operation in found:
                rows.add_operation(conn, operation)
    finally:
        engine.dispose()
    return found


def _in_cassandra(made: Poppy, count: int) -> list[Operation]:
    database, template = _database(made), seed.template()
    view = states.States(database)
    found = list(_parked(count))

    def writes(operation: Operation) -> Iterator[Call]:
        # It was parked soon after the request.
        clock = codec.to_number(operation.created_at)
        service = seed.service(PROJECT, template, operation.service_id)
        yield (
            _PUT,
            {
                "project_id": operation.project_id,
                "service_id": operation.service_id,
                "operation_id": operation.operation_id,
                "writer": uuid.uuid4(),
                "clock": clock,
                "queue": codec.to_text({operation.operation_id: str(operation.state)}),
                "claims": "{}",
                **codec.service_columns(service),
                **codec.operation_columns(operation, None),
            },
        )
        yield from view.puts([operation], clock)

    for start in range(0, count, _CHUNK):
        database.write(it for each in found[start : start + _CHUNK] for it in writes(each))
    return found
