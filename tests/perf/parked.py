# SPDX-License-Identifier: Apache-2.0
"""The effect of a dead provider on others: a worker drains creates at a healthy provider.

A has 200 parked operations at a provider that does not answer, some of which become due and are
parked again during the run; B has none. Both have their own SQLite file and are measured in turns.
"""

import threading
import time
from typing import Any

from poppy.common import errors
from poppy.model import ids
from poppy.model.operations import State
from poppy.provider.mock import MockProvider
from poppy.testing.builders import make_flavor
from tests.perf.common import PROJECT, Effort, Poppy, alternate, document, poppy
from tests.perf.results import Goal, Result

PARKED = 200


class Dead(MockProvider):
    """A provider that does not answer."""

    def ensure(self, service: Any, known: Any) -> Any:
        """Fail with an error of the provider as a whole."""
        raise errors.RetryableError("no answer", scope=errors.Scope.PROVIDER)


def run(effort: Effort) -> list[Result]:
    """Measure operations per second."""
    jobs = effort.pick(150, 50)
    with poppy() as sick, poppy() as well:
        park(sick)
        a, b = alternate(effort.pick(7, 3), lambda: drain(sick, jobs), lambda: drain(well, jobs))
        parked = [it for it in operations(sick) if it.failures == 0]
        if len(parked) < PARKED - 40:
            raise RuntimeError(f"only {len(parked)} of {PARKED} were parked without a failure")
    what = "worker beside a dead provider"
    return [Result(what, "op/s", (f"{PARKED} parked", a), ("none", b), Goal(">=", 0.9))]


def park(made: Poppy) -> None:
    """Park all operations at the dead provider."""
    made.boot.providers["dead"] = Dead(made.boot.conf, "dead")
    made.boot.storage.flavors.create(make_flavor("dead", ["dead"]))
    for _ in range(PARKED):
        add(made, "dead")
    worker = made.boot.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while any(it.state is not State.WAITING for it in operations(made)):
            if time.monotonic() > deadline:
                raise RuntimeError("they were not parked in a minute")
            time.sleep(0.5)
    finally:
        worker.stop()
        thread.join()


def add(made: Poppy, flavor: str) -> str:
    """Create a service and return the id of its operation."""
    body = {**document(f"www.{ids.new()}.example.com"), "flavor_id": flavor}
    service_id = made.boot.manager.services.create(PROJECT, body, None)
    (operation,) = made.boot.storage.operations.list(PROJECT, service_id)
    return operation.operation_id


def operations(made: Poppy) -> list[Any]:
    """Return the operations at the dead provider."""
    storage = made.boot.storage
    return [
        operation
        for service in storage.services.scan()
        if service.spec.flavor_id == "dead"
        for operation in storage.operations.list(PROJECT, service.service_id)
    ]


def drain(made: Poppy, jobs: int) -> float:
    """Return the creates per second at the healthy provider."""
    left = {add(made, "standard") for _ in range(jobs)}
    drained = threading.Event()

    def consumed(event: str, details: Any) -> None:
        left.discard(details["job"].name)
        if not left:
            drained.set()

    worker: Any = made.boot.worker()
    worker._conductor.notifier.register("job_consumed", consumed)
    thread = threading.Thread(target=worker.run)
    begin = time.perf_counter()
    thread.start()
    try:
        if not drained.wait(timeout=120):
            raise RuntimeError(f"{len(left)} of {jobs} jobs were not done in two minutes")
        return jobs / (time.perf_counter() - begin)
    finally:
        worker.stop()
        thread.join()
