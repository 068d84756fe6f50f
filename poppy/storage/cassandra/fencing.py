# SPDX-License-Identifier: Apache-2.0
"""Fencing: whether a run may begin, and whether it may still write."""

import datetime

from poppy.common import errors
from poppy.model.operations import Operation, OperationKey, State
from poppy.storage.cassandra.partition import ServicePartition

#: States in which only the operation itself shows whether it blocks another.
MAY_PASS = frozenset({State.WAITING, State.SUPERSEDED})


def check_runnable(
    found: ServicePartition, operation: Operation, runner: str, now: datetime.datetime
) -> None:
    """Check that a job may begin a run now.

    Args:
        found: read with the operations in the states of :data:`MAY_PASS`; for all others the
            queue is enough.

    Raises:
        NotRunnable: it may not.
    """
    for other, state in found.queue.items():
        if other == operation.operation_id:
            continue
        held = found.operations.get(other)
        if held is not None:
            blocks = held.operation.blocks(operation, now)
        else:
            blocks = other < operation.operation_id or state == State.RUNNING
        if blocks:
            raise errors.NotRunnable(f"Operation {operation.operation_id} has to wait for {other}")
    if not _is_runnable(operation, runner, now):
        raise errors.NotRunnable(
            f"Operation {operation.operation_id} is finished, not due or run elsewhere"
        )


def _is_runnable(operation: Operation, runner: str, now: datetime.datetime) -> bool:
    if operation.state.finished:
        return False
    if operation.state is State.QUEUED:
        return True
    if operation.state is State.RUNNING and operation.runner == runner:
        return True
    return operation.next_attempt_at is not None and operation.next_attempt_at <= now


def check_ours(
    found: ServicePartition, key: OperationKey, attempt: int, runner: str | None
) -> Operation:
    """Return the stored operation, if it belongs to this run.

    The job counts too: two regions that are cut off from each other can count the same attempt.

    Raises:
        Superseded: a delete has superseded the run, which has not yet reported its end.
        Fenced: the operation belongs to another run.
    """
    held = found.operations.get(key.operation_id)
    overtaken = held_by(found, key, attempt)
    if overtaken is not None and runner in (None, overtaken.runner):
        raise errors.Superseded(f"Operation {key.operation_id} was superseded")
    if held is None or held.operation.state is not State.RUNNING:
        raise fenced(key)
    if held.operation.attempt != attempt or runner not in (None, held.operation.runner):
        raise fenced(key)
    return held.operation


def held_by(found: ServicePartition, key: OperationKey, attempt: int) -> Operation | None:
    """Return the stored operation, if it is superseded and this run still holds the service."""
    held = found.operations.get(key.operation_id)
    if held is None or not held.operation.is_held or held.operation.attempt != attempt:
        return None
    return held.operation


def fenced(key: OperationKey) -> errors.Fenced:
    """Return the error for a run that may no longer write."""
    return errors.Fenced(f"Operation {key.operation_id} no longer belongs to this run")
