# SPDX-License-Identifier: Apache-2.0
"""How long poppy-standalone takes from nothing to its first answer.

From the start of the process, without any database, to the first 204 of ``/v1.0/ping``: imports,
the whole schema, the fork of server and worker. An absolute time; there is nothing to compare it
with. One start beforehand does not count, it has the files read from the disk.
"""

import pathlib
import tempfile
import time

from tests.perf.common import Effort
from tests.perf.get_http import connection, request
from tests.perf.results import Goal, Result
from tests.real.poppy import Installation

GOAL = Goal("<", 3, " s")


def run(effort: Effort) -> list[Result]:
    """Seconds."""
    seconds = [_start() for _ in range(effort.pick(7, 2) + 1)]
    return [Result("cold start", "s", ("poppy-standalone", seconds[1:]), goal=GOAL)]


def _start() -> float:
    with tempfile.TemporaryDirectory(prefix="poppy-perf-") as directory:
        installation = Installation(pathlib.Path(directory))
        port = int(installation.base.rpartition(":")[2])
        begin = time.perf_counter()
        with installation.daemon("poppy-standalone"), connection(port) as client:
            request(client, "GET", "/v1.0/ping", None, 204)
            return time.perf_counter() - begin
