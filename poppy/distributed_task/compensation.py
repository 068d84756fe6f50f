# SPDX-License-Identifier: Apache-2.0
"""Compensation for driver calls that took effect too late.

A call that hung, or belonged to an overtaken run, may take effect long after the service has moved
on: it may create an object of a deleted service, replace a newer document with an older one, or
change names in DNS that belong to another service by now. Compensation follows when the call ends.
It fails only for a call that outlives its process.
"""

import contextlib
from collections.abc import Callable, Sequence

from oslo_log import log

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.distributed_task.queueing import queue_update
from poppy.model.operations import Kind, Operation, StepState
from poppy.model.services import Service
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

_CONFLICTS = 10


def compensate(
    storage: Storage,
    operation: Operation,
    service: Service,
    step: str,
    policy: RetryPolicy,
    undo: Callable[[], bool],
) -> None:
    """Undo a late call's effect, or queue updates that deploy the current documents again.

    Args:
        operation: the operation of the call.
        service: the service as the call knew it.
        step: the step of the call.
        undo: removes what the call may have created; returns whether it can create anything.

    Raises:
        Unavailable: storage does not answer.
    """
    if operation.kind in (Kind.PURGE, Kind.PREWARM):
        return
    try:
        stored = storage.services.get(operation.project_id, operation.service_id)
    except errors.NotFound:
        stored = None
    if stored is None or stored.deleting:
        _undo(operation, step, policy, undo)
    else:
        now = storage.operations.get(operation.key)
        if now.state.finished or now.step(step).state is StepState.DONE:
            _make_again(storage, stored, operation)
    # Last, so that nothing of the above can affect them.
    for owner in _new_owners(storage, service):
        _make_again(storage, owner)


def _new_owners(storage: Storage, service: Service) -> Sequence[Service]:
    """Return the other services that hold domains of a service by now."""
    owners = {}
    for domain in service.known_domains:
        with contextlib.suppress(errors.NotFound):
            # Unlike queries.by_claim(), this sees a claim that another region has just made.
            claim = storage.domains.get(domain)
            if claim.service_id not in (None, service.service_id):
                owners[claim.service_id] = storage.services.get(claim.project_id, claim.service_id)
    return [owner for owner in owners.values() if not owner.deleting]


def _undo(operation: Operation, step: str, policy: RetryPolicy, undo: Callable[[], bool]) -> None:
    try:
        undone = policy.call(undo)
    except errors.DriverError as exc:
        LOG.error(
            "%s of service %s took effect after the service was deleted and could not be "
            "undone; please remove it by hand: %s",
            step,
            operation.service_id,
            exc,
        )
    else:
        if undone:
            LOG.info("%s was undone: service %s is deleted", step, operation.service_id)


def _make_again(storage: Storage, service: Service, late: Operation | None = None) -> None:
    """Queue an update of a service.

    Args:
        late: the operation of the late call, if it is the service's own.
    """
    for _ in range(_CONFLICTS):
        if storage.operations.was_deleted(service.project_id, service.service_id):
            return
        try:
            queue_update(storage, service, late)
        except errors.Changed:
            service = storage.services.get(service.project_id, service.service_id)
        except errors.NotFound:
            return
        else:
            LOG.warning(
                "Service %s is updated again: a late call may have changed it at a provider",
                service.service_id,
            )
            return
