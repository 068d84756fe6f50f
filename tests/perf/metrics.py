# SPDX-License-Identifier: Apache-2.0
"""GET of a service with metrics beside the same without.

Both are whole applications on one database, each in a process of its own (what is enabled stays
so), called directly. Rounds alternate: the parent tells whose turn it is. What is measured is the
processor's time that each process spends on its requests: the difference is a few microseconds,
which others on the machine would drown.
"""

import contextlib
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

from oslo_log import log

from poppy.bootstrap import Bootstrap
from poppy.common import config, metrics
from tests.perf import seed
from tests.perf.common import PROJECT, Effort, Measure, alternate, call, poppy
from tests.perf.results import Goal, Result

GOAL = Goal(">=", 0.95)


def run(effort: Effort) -> list[Result]:
    """Requests per second of the processor's time."""
    requests = effort.pick(600, 300)
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(poppy())
        service_id = seed.services(made.url, {PROJECT: 100})[PROJECT][50]
        path = f"/v1.0/services/{service_id}"
        file = made.installation.config
        recording = file.parent / "metrics"
        one = stack.enter_context(_measured(file, path, requests, recording))
        other = stack.enter_context(_measured(file, path, requests, None))
        a, b = alternate(effort.pick(21, 9), one, other)
        if not list(recording.glob("histogram_*.db")):
            raise RuntimeError("nothing was recorded")
    return [Result("get, measured", "req/CPU s", ("metrics", a), ("none", b), GOAL)]


@contextlib.contextmanager
def _measured(
    file: pathlib.Path, path: str, requests: int, recording: pathlib.Path | None
) -> Iterator[Measure]:
    """A Poppy in another process; gives what measures it."""
    command = [sys.executable, "-m", "tests.perf.metrics", str(file), path, str(requests)]
    process = subprocess.Popen(
        [*command, str(recording or "")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    turns, answers = process.stdin, process.stdout

    def measure() -> float:
        turns.write("now\n")
        turns.flush()
        return float(answers.readline())

    try:
        yield measure
    finally:
        turns.close()
        process.wait()
        answers.close()


def main(file: str, path: str, requests: str, recording: str) -> None:
    """One of the two processes."""
    conf = config.load([], files=[file])
    log.setup(conf, "poppy")
    if recording:
        metrics.enable(pathlib.Path(recording))
    boot = Bootstrap(conf)
    application = boot.transport.application
    for _ in sys.stdin:
        begin = time.process_time()
        for _ in range(int(requests)):
            call(application, "GET", path)
        print(int(requests) / (time.process_time() - begin), flush=True)
    boot.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
