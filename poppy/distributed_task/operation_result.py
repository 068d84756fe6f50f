# SPDX-License-Identifier: Apache-2.0
"""The result of an attempt, for the operation and for the service's providers."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.model.operations import Kind, Operation, State, Step, StepState
from poppy.model.provider_details import ProviderDetail, ProviderDetails, ProviderStatus


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a driver call.

    Attributes:
        details: changed provider details, by provider; None if the provider no longer has the
            service.
        error: why the step is not done, although the details have changed.
        message: what the tenant should know of a step that is done.
    """

    details: Mapping[str, ProviderDetail | None] = field(default_factory=dict)
    error: errors.DriverError | None = None
    message: str | None = None


_ENDED = (ProviderStatus.DEPLOYED, ProviderStatus.FAILED)


def waits(operation: Operation) -> bool:
    """Whether a step must be retried or polled."""
    return any(step.state is StepState.WAITING for step in operation.steps)


def counted(
    operation: Operation, failed: bool, policy: RetryPolicy, now: datetime.datetime
) -> Operation:
    """Count this attempt. At the end of the retry budget, fail the waiting steps.

    Args:
        failed: whether the attempt failed; otherwise it only waits for a provider.
    """
    failures = operation.failures + int(failed)
    operation = replace(operation, failures=failures)
    if not policy.exhausted(failures, now - operation.since):
        return operation
    for step in operation.steps:
        if step.state is StepState.WAITING:
            message = f"gave up after {operation.attempt} attempts: {step.message}"
            operation = operation.with_step(replace(step, state=StepState.FAILED, message=message))
    return operation


def parked(
    operation: Operation,
    policy: RetryPolicy,
    now: datetime.datetime,
    pause: datetime.timedelta,
) -> Operation:
    """Park the operation for a pause, but not beyond its maximum age.

    At that age it is due in any case: the last attempt ends it, with the reason for the wait.
    """
    end = operation.since + policy.max_age
    return replace(
        operation,
        state=State.WAITING,
        error=reasons(operation, StepState.WAITING),
        crashes=0,
        updated_at=now,
        next_attempt_at=max(now, min(now + pause, end)),
    )


def finished(
    operation: Operation, state: State, error: str | None, now: datetime.datetime
) -> Operation:
    """Return the operation in a finished state."""
    return replace(operation, state=state, error=error, updated_at=now, next_attempt_at=None)


def shown(details: ProviderDetails, kind: Kind) -> dict[str, ProviderDetail]:
    """Return providers with a final status from another operation, with an in-progress status."""
    return {
        name: replace(detail, status=ProviderStatus.UPDATE_IN_PROGRESS)
        for name, detail in details.items()
        if kind.deploys and detail.status in _ENDED
    }


def reasons(operation: Operation, state: StepState) -> str:
    """Return the messages of all steps in a state."""
    return "; ".join(
        f"{step.name}: {step.message}" for step in operation.steps if step.state is state
    )


def settled(
    details: ProviderDetails, kind: Kind, failed: Sequence[Step]
) -> dict[str, ProviderDetail]:
    """Return provider details with their final status.

    Args:
        kind: the kind of the operation that has ended.
        failed: the steps that failed for good. A step that belongs to no provider (DNS, or the
            whole operation, with an empty step name) failed for all providers.
    """
    by_provider = {step.name.rpartition(":")[2]: step for step in failed}
    others = next((step for name, step in by_provider.items() if name not in details), None)
    purge = kind is Kind.PURGE
    final = {}
    for name, detail in details.items():
        if purge and detail.status is ProviderStatus.FAILED:
            continue  # The failure belongs to another operation and still holds.
        step = by_provider.get(name, others)
        # After a failed purge the service is still deployed and served.
        broken = step is not None and not purge
        final[name] = replace(
            detail,
            status=ProviderStatus.FAILED if broken else ProviderStatus.DEPLOYED,
            error_message=_explain(step, purge) if step else None,
            error_info=step.name or None if step else None,
            error_class=step.error_class if step else None,
        )
    return final


def _explain(step: Step, purge: bool) -> str:
    where = step.name.rpartition(":")[2]
    words = f"{where}: {step.message}" if where else str(step.message)
    if not purge:
        return words
    return f"purge at {words}" if where else f"purge: {words}"
