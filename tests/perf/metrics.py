# SPDX-License-Identifier: Apache-2.0
"""GET of a service with metrics, compared with the same without metrics.

Both are complete applications on one database in one separate process, since metrics stay enabled
in a process; they are called directly. The figure is the processor time of the process, since the
difference of a few microseconds would be lost in other load on the machine.
"""

import json
import pathlib
import subprocess
import sys
import time

from oslo_log import log

from poppy.bootstrap import Bootstrap
from poppy.common import config, metrics
from tests.perf import seed
from tests.perf.common import PROJECT, Application, Effort, alternate, call, poppy
from tests.perf.results import Goal, Result

GOAL = Goal(">=", 0.95)
#: The number of requests in a round.
REQUESTS = 200


def run(effort: Effort) -> list[Result]:
    """Measure requests per second of processor time."""
    with poppy() as made:
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        file, rounds = made.installation.config, effort.pick(61, 21)
        command = [sys.executable, "-m", "tests.perf.metrics", str(file), service_id, str(rounds)]
        a, b = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return [Result("get, measured", "req/CPU s", ("metrics", a), ("none", b), GOAL)]


def main(file: str, service_id: str, rounds: str) -> None:
    """Measure in the separate process."""
    conf = config.load([], files=[file])
    log.setup(conf, "poppy")
    path = f"/v1.0/services/{service_id}"
    plain = Bootstrap(conf).transport.application
    recording = pathlib.Path(file).parent / "metrics"
    metrics.enable(recording)
    measured = Bootstrap(conf).transport.application
    figures = alternate(int(rounds), lambda: _rate(measured, path), lambda: _rate(plain, path))
    if not list(recording.glob("histogram_*.db")):
        raise RuntimeError("nothing was recorded")
    print(json.dumps(figures))


def _rate(application: Application, path: str) -> float:
    begin = time.process_time()
    for _ in range(REQUESTS):
        call(application, "GET", path)
    # Include deferred work in the same round.
    while metrics.REQUESTS.waiting:
        time.sleep(0.01)
    return REQUESTS / (time.process_time() - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
