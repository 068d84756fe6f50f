# SPDX-License-Identifier: Apache-2.0
"""Reads and creates in projects of 100 to 100,000 services, in one SQLite file each.

In-process, as in :mod:`tests.perf.get`. All sizes are measured in turns, each time with another
service and another page, so that no cache has the result.
"""

import contextlib
import random
import statistics
from collections.abc import Callable, Mapping, Sequence

from poppy.model import ids
from tests.perf import seed
from tests.perf.common import PROJECT, Effort, Poppy, call, document, poppy, timed
from tests.perf.results import Curve, Goal, Report, Result

GOAL = Goal("<=", 1.3)
LIMIT = 20
SIZES = (100, 1_000, 10_000, 100_000)

#: A measurement of a Poppy: milliseconds of one request.
Ask = Callable[[], float]


def run(effort: Effort) -> list[Report]:
    """Measure milliseconds, the median of each round."""
    sizes = SIZES[: effort.pick(4, 2)]
    with contextlib.ExitStack() as stack:
        asks = {}
        for size in sizes:
            made = stack.enter_context(poppy())
            found = seed.services(made.url, {PROJECT: size})[PROJECT]
            asks[size] = asks_of(made, found)
        return compared("SQLite", asks, effort)


def asks_of(made: Poppy, found: Sequence[str]) -> dict[str, Ask]:
    """Return the measured requests: GET of a service, GET of a page, and POST of a service."""
    application, chance = made.application, random.Random(1)
    # Each page is full.
    markers = found[: len(found) - LIMIT]

    def get() -> float:
        path = f"/v1.0/services/{chance.choice(found)}"
        return timed(lambda: call(application, "GET", path))

    def page() -> float:
        path = f"/v1.0/services?limit={LIMIT}&marker={chance.choice(markers)}"
        return timed(lambda: call(application, "GET", path))

    def post() -> float:
        body = document(f"www.{ids.new()}.example.com")
        return timed(lambda: call(application, "POST", "/v1.0/services", body, status=202))

    return {"get": get, "list": page, "post": post}


def compared(store: str, asks: Mapping[int, Mapping[str, Ask]], effort: Effort) -> list[Report]:
    """Compare the largest size with the smallest, and return the curve over all sizes.

    Args:
        asks: the measurements by size and name.
    """
    rounds, times = effort.pick(9, 5), effort.pick(40, 15)
    least, *_, most = asks
    reports: list[Report] = []
    curves = {}
    for what in asks[least]:
        medians: dict[int, list[float]] = {size: [] for size in asks}
        for _ in range(rounds + 1):
            for size, values in medians.items():
                ask = asks[size][what]
                values.append(statistics.median(ask() for _ in range(times)))
        # The first round does not count.
        kept = {size: values[1:] for size, values in medians.items()}
        sides = (f"of {most:,} services", kept[most]), (f"of {least:,}", kept[least])
        reports.append(Result(f"{what}, {store}", "ms", *sides, GOAL))
        curves[what] = [(size, statistics.median(values)) for size, values in kept.items()]
    return [*reports, Curve(f"{store}, as a project grows", "services", "ms", curves)]
