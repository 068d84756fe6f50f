# SPDX-License-Identifier: Apache-2.0
"""Run the benchmarks and print one table; exits 1 when a goal is missed."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from tests.perf import (
    cassandra,
    cold_start,
    create,
    drain,
    get,
    get_http,
    listing,
    metrics,
    parked,
    posting,
    scaling,
    transport,
)
from tests.perf.common import Effort
from tests.perf.results import Result, table

BENCHMARKS: dict[str, Callable[[Effort], list[Result]]] = {
    "get": get.run,
    "get-http": get_http.run,
    "metrics": metrics.run,
    "transport": transport.run,
    "list": listing.run,
    "cassandra": cassandra.run,
    "create": create.run,
    "cold-start": cold_start.run,
    "posting": posting.run,
    "worker": drain.run,
    "worker-production": drain.run_in_production,
    "scaling": scaling.run,
    "parked": parked.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="tools/perf", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer rounds: some 20 seconds")
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, help="just this one; may be repeated"
    )
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")
    arguments = parser.parse_args(argv)
    results: list[Result] = []
    for name in arguments.only or BENCHMARKS:
        begin = time.monotonic()
        results += BENCHMARKS[name](Effort(arguments.short))
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    load = os.getloadavg()
    if arguments.format == "json":
        document = {"load": load, "results": [result.to_dict() for result in results]}
        print(json.dumps(document, indent=2))
    else:
        print(table(results))
        print(f"Cores: {os.cpu_count()}. Load: {load[0]:.1f} (1 min), {load[1]:.1f} (5 min).")
    return int(any(result.met is False for result in results))


if __name__ == "__main__":
    sys.exit(main())
