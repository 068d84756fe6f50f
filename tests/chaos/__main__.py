# SPDX-License-Identifier: Apache-2.0
"""The long run as a command; ``tools/chaos``."""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.chaos import plan
from tests.chaos.run import Plan, run


def main(arguments: list[str] | None = None) -> int:
    """Run the plan and return 1 if there were violations."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    wanted = Plan(seed, options.requests, options.tenants, options.clients, options.workers)
    if options.plan:
        _tell(wanted)
        return 0
    print(f"seed {seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="poppy-chaos-"))
    try:
        report = run(wanted, directory)
    except pytest.skip.Exception as exc:
        print(exc, file=sys.stderr)
        return 2
    print(report)
    if report.violations:
        print(f"all logs are in {directory}; again with --seed {seed}", file=sys.stderr)
    else:
        shutil.rmtree(directory)
    return int(bool(report.violations))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/chaos",
        description="Have tenants create, change, purge and delete services while workers, the "
        "server, ZooKeeper, Cassandra, the provider and DNS fail at random; then compare what "
        "was accepted with what there is. Exits 1 when anything was lost, doubled, left behind "
        "or is stuck.",
    )
    parser.add_argument("--requests", type=int, default=1000, metavar="N", help="default 1000")
    parser.add_argument("--seed", type=int, help="of requests and faults; default: a new one")
    parser.add_argument("--tenants", type=int, default=4, metavar="N", help="default 4")
    parser.add_argument("--clients", type=int, default=4, metavar="N", help="of each; default 4")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--plan", action="store_true", help="tell the plan, and run nothing")
    return parser


def _tell(wanted: Plan) -> None:
    for project, lives in wanted.of_clients():
        for life in lives:
            print(f"{project} {life.name}: {', '.join(life.acts)}")
    for blow in itertools.islice(plan.blows(wanted.seed), 30):
        print(f"+{blow.after:.2f} s: {blow.fault} ({blow.lasts:.2f} s)")


if __name__ == "__main__":
    sys.exit(main())
