# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks and print one table; exits 1 when a goal is missed."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.perf import (
    cassandra,
    cold_start,
    create,
    drain,
    edge,
    fairness,
    get,
    get_http,
    growth,
    listing,
    memory,
    metrics,
    operations,
    parked,
    plots,
    posting,
    scaling,
    serving,
    transport,
)
from tests.perf.common import Effort
from tests.perf.results import Curve, Report, Result, table

BENCHMARKS: dict[str, Callable[[Effort], Sequence[Report]]] = {
    "get": get.run,
    "get-http": get_http.run,
    "metrics": metrics.run,
    "serving": serving.run,
    "transport": transport.run,
    "list": listing.run,
    "operations": operations.run,
    "growth": growth.run,
    "cassandra": cassandra.run,
    "create": create.run,
    "cold-start": cold_start.run,
    "posting": posting.run,
    "worker": drain.run,
    "worker-production": drain.run_in_production,
    "scaling": scaling.run,
    "fairness": fairness.run,
    "fairness-production": fairness.run_in_production,
    "parked": parked.run,
    "memory": memory.run,
    "edge": edge.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="tools/perf", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer rounds: some 20 seconds")
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, help="just this one; may be repeated"
    )
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="also write it there")
    parser.add_argument(
        "--plots",
        metavar="DIRECTORY",
        type=pathlib.Path,
        help="also write the page's table and drawings there: doc/source/performance",
    )
    arguments = parser.parse_args(argv)
    reports: list[Report] = []
    for name in arguments.only or BENCHMARKS:
        begin = time.monotonic()
        reports += BENCHMARKS[name](Effort(arguments.short))
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    results = [it for it in reports if isinstance(it, Result)]
    curves = [it for it in reports if isinstance(it, Curve)]
    written = json.dumps(_document(results, curves), indent=2) + "\n"
    if arguments.json:
        arguments.json.write_text(written)
    if arguments.plots:
        plots.write(json.loads(written), arguments.plots)
    if arguments.format == "json":
        print(written, end="")
    else:
        print(table(results))
        print(_machine())
    return int(any(result.met is False for result in results))


def _document(results: Sequence[Result], curves: Sequence[Curve]) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "load": os.getloadavg(),
        "results": [result.to_dict() for result in results],
        "curves": [curve.to_dict() for curve in curves],
    }


def _machine() -> str:
    load = os.getloadavg()
    return (
        f"Cores: {os.cpu_count()}. Load: {load[0]:.1f} (1 min), {load[1]:.1f} (5 min). "
        f"Python {platform.python_version()}."
    )


if __name__ == "__main__":
    sys.exit(main())
