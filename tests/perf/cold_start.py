# SPDX-License-Identifier: Apache-2.0
"""The time of poppy-standalone from its start to its first answer.

From the start of the process, without a database, to the first 204 of ``/v1.0/ping``: imports,
the schema, the fork of server and worker. An absolute time without a comparison. One start before
the measurement reads the files from the disk and does not count.
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
    """Measure seconds."""
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
