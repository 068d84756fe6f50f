# SPDX-License-Identifier: Apache-2.0
"""What comes of an attempt: for the operation, and for the service's providers."""

import datetime
from collections.abc import Sequence
from dataclasses import replace

from poppy.common.retry import RetryPolicy
from poppy.model.operations import Kind, Operation, State, Step, StepState
from poppy.model.services import ProviderDetail, ProviderStatus

Details = dict[str, ProviderDetail]

_ENDED = (ProviderStatus.DEPLOYED, ProviderStatus.FAILED)


def waits(operation: Operation) -> bool:
    """Whether a step is to be tried again, or asked for again."""
    return any(step.state is StepState.WAITING for step in operation.steps)


def counted(
    operation: Operation, failed: bool, policy: RetryPolicy, now: datetime.datetime
) -> Operation:
    """With this attempt counted; at the end of the budget, what waits has failed.

    Args:
        failed: whether the attempt failed; else it only waits for a provider to get done.
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
    """To be gone on with after a pause, or at the end of its time if that is earlier.

    It is due then in any case: its last attempt ends it, with the reason for which it waited.
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
    """Ended, well or badly."""
    return replace(operation, state=state, error=error, updated_at=now, next_attempt_at=None)


def show(details: Details, kind: Kind) -> None:
    """Give providers that show another operation's end the status of one that goes on."""
    if not kind.deploys:
        return
    for name, detail in details.items():
        if detail.status in _ENDED:
            details[name] = replace(detail, status=ProviderStatus.UPDATE_IN_PROGRESS)


def reasons(operation: Operation, state: StepState) -> str:
    """Why steps are in a state."""
    return "; ".join(
        f"{step.name}: {step.message}" for step in operation.steps if step.state is state
    )


def settle(details: Details, kind: Kind, failed: Sequence[Step]) -> None:
    """Give every provider its final status.

    Args:
        kind: of the operation that has ended.
        failed: the steps that failed for good. One that is not a provider's (DNS, or the whole
            operation, whose step has no name) failed for all of them.
    """
    by_provider = {step.name.rpartition(":")[2]: step for step in failed}
    others = next((step for name, step in by_provider.items() if name not in details), None)
    purge = kind is Kind.PURGE
    for name, detail in details.items():
        if purge and detail.status is ProviderStatus.FAILED:
            continue  # That is of another operation, and still so.
        step = by_provider.get(name, others)
        # What could not be purged is still deployed, and serves.
        broken = step is not None and not purge
        details[name] = replace(
            detail,
            status=ProviderStatus.FAILED if broken else ProviderStatus.DEPLOYED,
            error_message=_explain(step, purge) if step else None,
            error_info=step.name or None if step else None,
            error_class=step.error_class if step else None,
        )


def _explain(step: Step, purge: bool) -> str:
    where = step.name.rpartition(":")[2]
    words = f"{where}: {step.message}" if where else str(step.message)
    if not purge:
        return words
    return f"purge at {words}" if where else f"purge: {words}"
