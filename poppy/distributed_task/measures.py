# SPDX-License-Identifier: Apache-2.0
"""What is counted and timed of runs and of driver calls; see :mod:`poppy.common.metrics`."""

import contextlib
import datetime
import time
from collections.abc import Iterator

from poppy.common import errors, metrics
from poppy.distributed_task.calls import Interrupted
from poppy.model.operations import Kind, Operation

#: What came of a call, by the error that it raised; the first that fits.
_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (errors.InProgressError, "in_progress"),
    (errors.RetryableError, "retryable"),
    (errors.PermanentError, "permanent"),
    (Interrupted, "interrupted"),
)


def verb_of(step: str, kind: Kind) -> str:
    """What a driver is asked for in a step: ``ensure``, ``remove`` or ``purge``."""
    if step.startswith("remove:"):
        return "remove"
    return "purge" if kind is Kind.PURGE else "ensure"


@contextlib.contextmanager
def call(driver: str, verb: str) -> Iterator[None]:
    """For the time of a driver's call."""
    began = time.monotonic()
    outcome = "done"
    try:
        yield
    except Exception as exc:
        outcome = next((word for kind, word in _OUTCOMES if isinstance(exc, kind)), "broken")
        raise
    finally:
        metrics.CALLS.observe(time.monotonic() - began, driver, verb, outcome)


def run(operation: Operation, outcome: str, seconds: float) -> None:
    """A run of an operation has ended; and the operation, if that is its outcome."""
    kind = str(operation.kind)
    metrics.RUNS.observe(seconds, kind, outcome)
    if operation.state.finished and outcome == operation.state:
        age = datetime.datetime.now(datetime.UTC) - operation.since
        metrics.OPERATIONS.observe(
            max(0.0, age.total_seconds()), kind, outcome, _providers_of(operation)
        )


def _providers_of(operation: Operation) -> str:
    """The providers it had to do with, by name; ``none`` if it did not get so far."""
    names = {step.name.rpartition(":")[2] for step in operation.steps if "provider:" in step.name}
    return ",".join(sorted(names)) or "none"
