# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of a service's operations: which may begin, write and end, and what follows.

The functions are pure. A store loads an :class:`Aggregate`, calls one of them, and commits the
:class:`Transition` on the condition that the aggregate is unchanged. A refusal is an error of
:mod:`poppy.common.errors`. For speed, a store may commit without loading if one condition on the
operation's row implies the decision; if the condition fails, a function here says why.
"""

import datetime
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from poppy.common import errors
from poppy.model.operations import Kind, Operation, OperationKey, State
from poppy.model.provider_details import ProviderDetails
from poppy.model.services import Service


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A service and its open operations, as a store has loaded them.

    An operation is open while it is unfinished, or superseded and still holds the service
    (:attr:`.Operation.is_held`).

    Attributes:
        service: None if there is none, or it was removed.
        states: the states of open operations by id.
        operations: the operations loaded in full, by id. Functions that need others than the one
            that they change have a function ``needed_to_...`` beside them.
    """

    service: Service | None
    states: Mapping[str, str]
    operations: Mapping[str, Operation]

    def others(self, operation_id: str) -> list[Operation]:
        """Return the loaded operations except one."""
        return [it for name, it in self.operations.items() if name != operation_id]


class Run(NamedTuple):
    """An operation that a worker has begun, and the service as stored."""

    operation: Operation
    service: Service


@dataclass(frozen=True, slots=True)
class Transition:
    """What to store, atomically.

    Attributes:
        operations: those that changed, as they are to be stored.
        service: None if it is unchanged.
        following: the one of them that has become due because another one no longer blocks it.
        releases: whether to release the domains that the service's document no longer names.
        run: the run that has begun; its operation is the first one.
    """

    operations: tuple[Operation, ...]
    service: Service | None = None
    following: Operation | None = None
    releases: bool = False
    run: Run | None = None


def requeue(
    stored: Operation | None, as_read: Operation, next_attempt_at: datetime.datetime
) -> Operation | None:
    """Reserve a due operation for posting; see :meth:`.OperationStore.requeue`.

    Returns:
        None if it has changed since it was read.
    """
    if stored is None or _position(stored) != _position(as_read):
        return None
    return replace(
        stored,
        state=State.QUEUED,
        next_attempt_at=next_attempt_at,
        crashes=stored.crashes + int(stored.state is State.RUNNING),
    )


def nothing(_states: Mapping[str, str]) -> Collection[str]:
    """Return no operations to load, besides the one to change."""
    return ()


def needed_to_begin(states: Mapping[str, str]) -> list[str]:
    """Return the operations to load for :func:`begin`.

    They are those that may block or not, depending on more than their state.
    """
    return [it for it, state in states.items() if state in (State.WAITING, State.SUPERSEDED)]


def begin(
    found: Aggregate,
    key: OperationKey,
    runner: str,
    now: datetime.datetime,
    until: datetime.datetime,
) -> Transition:
    """Begin a run; see :meth:`.OperationStore.begin`.

    Waiting operations that give way to this one become superseded. Leases of superseded runs end:
    they have lapsed, and a run that wakes up must find out.

    Raises:
        NotRunnable: it can't begin now.
    """
    operation = found.operations.get(key.operation_id)
    if operation is None or found.service is None:
        raise errors.NotRunnable(f"Operation {key.operation_id} or its service is gone")
    for other in found.states:
        if _blocks(found, other, operation, now):
            raise errors.NotRunnable(f"Operation {key.operation_id} has to wait for {other}")
    if not _is_runnable(operation, runner, now):
        raise errors.NotRunnable(
            f"Operation {key.operation_id} is finished, not due or run elsewhere"
        )
    begun = replace(
        operation,
        state=State.RUNNING,
        attempt=operation.attempt + 1,
        crashes=operation.crashes + int(operation.state is State.RUNNING),
        runner=runner,
        next_attempt_at=until,
        updated_at=now,
    )
    others = found.others(key.operation_id)
    waiting = [it for it in others if it.state is State.WAITING]
    overtaken = [_superseded(it, now) for it in waiting if it.gives_way_to(begun)]
    run = Run(begun, found.service)
    return Transition((begun, *overtaken, *_let_go(others)), run=run)


def needed_to_save(states: Mapping[str, str], operation: Operation) -> list[str]:
    """Return the operations to load for :func:`save`."""
    if _may_release(operation):
        return [it for it, state in states.items() if state != State.SUPERSEDED]
    return needed_to_acknowledge(states) if lets_others_begin(operation) else []


def save(found: Aggregate, operation: Operation, details: ProviderDetails | None) -> Transition:
    """Store a run's progress or end; see :meth:`.OperationStore.save`.

    Raises:
        Superseded: a delete has superseded the run, which has not yet acknowledged that.
        Fenced: the operation belongs to another run.
    """
    service = _check_run(found, operation)
    others = found.others(operation.operation_id)
    following = None
    if lets_others_begin(operation):
        following = _following(others, operation.updated_at)
    releases = _may_release(operation) and not any(
        it.kind.deploys and not it.state.finished for it in others
    )
    return Transition(
        (_ended(operation), *([following] if following else [])),
        None if details is None else with_details(service, operation, details),
        following,
        releases,
    )


def with_details(service: Service, operation: Operation, details: ProviderDetails) -> Service:
    """Return the next revision of a service, with the details that a run has saved."""
    return replace(
        service.with_details(details),
        updated_at=operation.updated_at,
        revision=service.revision + 1,
    )


def lets_others_begin(operation: Operation) -> bool:
    """Return whether a run that is saved in this state unblocks other operations."""
    parked = operation.state is State.WAITING and operation.kind.deploys
    return operation.state.finished or parked


def renew(
    stored: Operation | None, key: OperationKey, attempt: int, until: datetime.datetime
) -> Operation:
    """Renew the lease of a run; see :meth:`.OperationStore.renew`.

    Returns:
        The operation; finished if the run is superseded and must end.

    Raises:
        Fenced: the operation belongs to another run.
    """
    if stored is not None and (_is_run(stored, attempt) or _is_held_by(stored, attempt)):
        return replace(stored, next_attempt_at=until)
    raise lost(stored, key, attempt)


def needed_to_acknowledge(states: Mapping[str, str]) -> list[str]:
    """Return the operation to load for :func:`acknowledge`: the first that is queued."""
    return sorted(it for it, state in states.items() if state == State.QUEUED)[:1]


def acknowledge(
    found: Aggregate, key: OperationKey, attempt: int, now: datetime.datetime
) -> Transition | None:
    """End the lease of a superseded run; see :meth:`.OperationStore.acknowledge`.

    Returns:
        None if the run holds nothing.
    """
    stored = found.operations.get(key.operation_id)
    if stored is None or found.service is None or not _is_held_by(stored, attempt):
        return None
    following = _following(found.others(key.operation_id), now)
    ended = replace(stored, next_attempt_at=None)
    return Transition((ended, *([following] if following else [])), following=following)


def remove(found: Aggregate, operation: Operation) -> Transition:
    """Finish a delete; see :meth:`.OperationStore.remove`.

    All open operations must be loaded. They can't run without the service, so they become
    superseded, without leases.

    Raises:
        Superseded, Fenced: as for :func:`save`.
    """
    _check_run(found, operation)
    others = found.others(operation.operation_id)
    ended = [_superseded(it, operation.updated_at) for it in others if not it.state.finished]
    return Transition((_ended(operation), *ended, *_let_go(others)))


def lost(
    stored: Operation | None, key: OperationKey, attempt: int, runner: str | None = None
) -> errors.Fenced:
    """Return the error for a run that may not write to the stored operation."""
    if stored and _is_held_by(stored, attempt) and runner in (None, stored.runner):
        return errors.Superseded(f"Operation {key.operation_id} was superseded")
    return errors.Fenced(f"Operation {key.operation_id} no longer belongs to this run")


def replaced(stored: Service | None, service: Service) -> Service:
    """Return the next revision of a service.

    Args:
        service: as read, with changes; its ``revision`` as read.

    Raises:
        NotFound: the service is gone.
        Changed: another request has changed it.
    """
    if stored is None or stored.revision != service.revision:
        raise outdated(stored, service)
    return replace(service, revision=service.revision + 1, created_at=stored.created_at)


def outdated(stored: Service | None, service: Service) -> errors.PoppyError:
    """Return the error for a service that can't replace the stored one."""
    if stored is None:
        return errors.NotFound(f"There is no service {service.service_id}")
    return errors.Changed(f"Service {service.service_id} was changed by another request")


def needed_to_submit(states: Mapping[str, str], operation: Operation) -> Collection[str]:
    """Return the operations to load for :func:`superseded_by`."""
    return states if operation.kind is Kind.DELETE or operation.kind.deploys else ()


def superseded_by(found: Aggregate, operation: Operation) -> tuple[Operation, ...]:
    """Return the operations that a new one supersedes; see :meth:`.ServiceStore.submit`.

    A running one keeps its lease on the service.
    """
    at = operation.updated_at
    if operation.kind is not Kind.DELETE:
        return tuple(
            _superseded(it, at)
            for it in found.others(operation.operation_id)
            if it.gives_way_to(operation)
        )
    return tuple(
        replace(it, state=State.SUPERSEDED, updated_at=at)
        if it.state is State.RUNNING
        else _superseded(it, at)
        for it in found.others(operation.operation_id)
        if not it.state.finished
    )


def check_failed(stored: Operation | None, operation: Operation) -> None:
    """Check that a failed operation can be queued again; see :meth:`.ServiceStore.reopen`.

    Raises:
        Changed: it has not failed, or was retried after it was read.
    """
    known = stored and (stored.state, stored.attempt)
    if known != (State.FAILED, operation.attempt):
        raise errors.Changed(f"Operation {operation.operation_id} has not failed")


def check_idle(states: Mapping[str, str], service: Service) -> None:
    """Check that no run will overwrite an amendment; see :meth:`.ServiceStore.amend`.

    Raises:
        ServiceBusy: the service has open operations.
    """
    if states:
        raise errors.ServiceBusy(f"Service {service.service_id} has unfinished operations")


def _position(operation: Operation) -> tuple[State, int, datetime.datetime | None]:
    return operation.state, operation.attempt, operation.next_attempt_at


def _blocks(found: Aggregate, other: str, operation: Operation, now: datetime.datetime) -> bool:
    if other == operation.operation_id:
        return False
    if other in found.operations:
        return found.operations[other].blocks(operation, now)
    return found.states[other] == State.RUNNING or other < operation.operation_id


def _is_runnable(operation: Operation, runner: str, now: datetime.datetime) -> bool:
    if operation.state.finished:
        return False
    if operation.state is State.QUEUED:
        return True
    if operation.state is State.RUNNING and operation.runner == runner:
        return True
    return operation.next_attempt_at is not None and operation.next_attempt_at <= now


def _check_run(found: Aggregate, operation: Operation) -> Service:
    """Return the service, if the run may write.

    The job counts too: two regions that are cut off from each other can count the same attempt.
    """
    stored = found.operations.get(operation.operation_id)
    if (
        stored is None
        or found.service is None
        or not _is_run(stored, operation.attempt)
        or operation.runner not in (None, stored.runner)
    ):
        raise lost(stored, operation.key, operation.attempt, operation.runner)
    return found.service


def _is_run(stored: Operation, attempt: int) -> bool:
    return stored.state is State.RUNNING and stored.attempt == attempt


def _is_held_by(stored: Operation, attempt: int) -> bool:
    return stored.is_held and stored.attempt == attempt


def _may_release(operation: Operation) -> bool:
    """Return whether the end of a run may release the domains that the document has dropped.

    If another deployment is pending, the document may belong to that one, and a provider may still
    serve a domain that it drops.
    """
    return operation.state is State.SUCCEEDED and operation.kind.deploys


def _following(others: Iterable[Operation], now: datetime.datetime) -> Operation | None:
    """Return the operation that waited for this one, due now."""
    queued = [it for it in others if it.state is State.QUEUED]
    first = min(queued, key=lambda it: it.operation_id, default=None)
    return first and replace(first, next_attempt_at=now)


def _ended(operation: Operation) -> Operation:
    # A finished operation must never become due, whatever the caller has set.
    return replace(operation, next_attempt_at=None) if operation.state.finished else operation


def _superseded(operation: Operation, at: datetime.datetime) -> Operation:
    return replace(operation, state=State.SUPERSEDED, next_attempt_at=None, updated_at=at)


def _let_go(others: Iterable[Operation]) -> list[Operation]:
    return [replace(it, next_attempt_at=None) for it in others if it.is_held]
