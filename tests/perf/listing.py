# SPDX-License-Identifier: Apache-2.0
"""A page of 20 services in a project with 10,000 services, compared with one with 100.

The application, the database and the size of pages and services are the same; only the number of
services in the project differs. The database has other projects as well. Both the first page and
one in the middle, after a marker, are measured.
"""

import json
import statistics

from tests.perf import seed
from tests.perf.common import PROJECT, Application, Effort, alternate, call, poppy, timed
from tests.perf.results import Goal, Result

GOAL = Goal("<=", 1.3)
LIMIT = 20
LARGE, SMALL = 10_000, 100

#: A project, and the marker of a page.
Page = tuple[str, str | None]


def run(effort: Effort) -> list[Result]:
    """Measure milliseconds, the median of each round."""
    others = {f"other-{number}": 100 for number in range(20)}
    with poppy() as made:
        found = seed.services(made.url, {**others, PROJECT: LARGE, "small": SMALL})
        first = [(project, None) for project in (PROJECT, "small")]
        middle = [(project, found[project][len(found[project]) // 2]) for project, _ in first]
        return [
            _compare(made.application, effort, "first page", *first),
            _compare(made.application, effort, "middle", *middle),
        ]


def _compare(application: Application, effort: Effort, where: str, *pages: Page) -> Result:
    requests = effort.pick(60, 30)
    a, b = alternate(
        effort.pick(21, 7),
        lambda: _median(application, *pages[0], requests),
        lambda: _median(application, *pages[1], requests),
    )
    return Result(f"list, {where}", "ms", (f"of {LARGE:,} services", a), (f"of {SMALL}", b), GOAL)


def _median(application: Application, project: str, marker: str | None, requests: int) -> float:
    target = f"/v1.0/services?limit={LIMIT}" + (f"&marker={marker}" if marker else "")

    def get() -> bytes:
        return call(application, "GET", target, project=project)

    if len(json.loads(get())["services"]) != LIMIT:
        raise RuntimeError(f"{target} of {project} gives no full page")
    return statistics.median(timed(get) for _ in range(requests))
