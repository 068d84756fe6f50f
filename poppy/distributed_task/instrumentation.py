# SPDX-License-Identifier: Apache-2.0
"""Metrics and traces of runs and driver calls.

See :mod:`poppy.common.metrics` and :mod:`poppy.common.tracing`.
"""

import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Protocol

from poppy.common import errors, metrics, tracing
from poppy.distributed_task.call_pool import Interrupted
from poppy.model.operations import Kind, Operation, State

#: The outcome of a call by the error it raised; the first match counts.
_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (errors.InProgressError, "in_progress"),
    (errors.RetryableError, "retryable"),
    (errors.PermanentError, "permanent"),
    (Interrupted, "interrupted"),
)


class _Run(Protocol):
    @property
    def operation(self) -> Operation:
        """The running operation."""

    @property
    def outcome(self) -> str:
        """The result in one word."""


def verb_of(step: str, kind: Kind) -> str:
    """Return the driver's verb in a step: ``ensure``, ``remove``, ``purge`` or ``prewarm``."""
    if step.startswith("remove:"):
        return "remove"
    return str(kind) if kind in (Kind.PURGE, Kind.PREWARM) else "ensure"


@contextlib.contextmanager
def call(driver: str, verb: str) -> Iterator[None]:
    """Time and trace a driver call."""
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
    """Count a retry of a driver call. Call it within :func:`call`."""
    metrics.REPEATS.add(driver, verb)
    tracing.event("retry")


def deferred(driver: str, seconds: float | None) -> None:
    """Count a deferred call."""
    metrics.DEFERRED.add(driver)
    tracing.event("deferred", {"poppy.driver": driver, "poppy.wait": seconds or 0.0})


@contextlib.contextmanager
def running(run: _Run) -> Iterator[None]:
    """Trace a run.

    Its span is a child of the request's span, as is every other attempt's, even hours later. A job
    has one producer, so one trace tells the whole story.
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
    """Record the end of a run, and of the operation if the run has ended it."""
    kind = str(operation.kind)
    metrics.RUNS.observe(seconds, kind, outcome)
    if operation.state.finished and outcome == operation.state:
        age = datetime.datetime.now(datetime.UTC) - operation.since
        metrics.OPERATIONS.observe(
            max(0.0, age.total_seconds()), kind, outcome, _providers_of(operation)
        )


def _providers_of(operation: Operation) -> str:
    """Return the operation's providers, sorted; ``none`` if it did not reach any."""
    names = {step.name.rpartition(":")[2] for step in operation.steps if "provider:" in step.name}
    return ",".join(sorted(names)) or "none"
