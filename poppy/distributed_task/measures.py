# SPDX-License-Identifier: Apache-2.0
"""What is counted, timed and traced of runs and of driver calls.

See :mod:`poppy.common.metrics` and :mod:`poppy.common.tracing`.
"""

import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Protocol

from poppy.common import errors, metrics, tracing
from poppy.distributed_task.calls import Interrupted
from poppy.model.operations import Kind, Operation, State

#: What came of a call, by the error that it raised; the first that fits.
_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (errors.InProgressError, "in_progress"),
    (errors.RetryableError, "retryable"),
    (errors.PermanentError, "permanent"),
    (Interrupted, "interrupted"),
)


class _Run(Protocol):
    @property
    def operation(self) -> Operation:
        """What is run."""

    @property
    def outcome(self) -> str:
        """What came of it, in a word."""


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
    with tracing.span(f"{verb} {driver}") as span:
        try:
            yield
        except Exception as exc:
            outcome = next((word for kind, word in _OUTCOMES if isinstance(exc, kind)), "broken")
            raise
        finally:
            span.set({"poppy.outcome": outcome})
            metrics.CALLS.observe(time.monotonic() - began, driver, verb, outcome)


def repeated(driver: str, verb: str) -> None:
    """The call is made once more; to be said within it."""
    metrics.REPEATS.add(driver, verb)
    tracing.event("retry")


def deferred(driver: str, seconds: float | None) -> None:
    """A call is not made now."""
    metrics.DEFERRED.add(driver)
    tracing.event("deferred", {"poppy.driver": driver, "poppy.wait": seconds or 0.0})


@contextlib.contextmanager
def running(run: _Run) -> Iterator[None]:
    """For the time of a run.

    Its span is a child of the request's, as each other attempt's is, be it hours later: a job has
    one producer, and so one trace tells the whole story.
    """
    operation = run.operation
    attributes: tracing.Attributes = {
        "poppy.operation.kind": str(operation.kind),
        "poppy.operation.id": operation.operation_id,
        "poppy.operation.attempt": operation.attempt,
        "poppy.service.id": operation.service_id,
        "openstack.project_id": operation.project_id,
        "openstack.request_id": operation.request_id,
    }
    parent = {"traceparent": operation.trace} if operation.trace else {}
    with tracing.span(f"run {operation.kind}", tracing.Kind.CONSUMER, attributes, parent) as span:
        try:
            yield
        finally:
            span.set({"poppy.outcome": run.outcome})
            if run.outcome == State.FAILED:
                span.fail(State.FAILED)


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
