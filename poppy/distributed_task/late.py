# SPDX-License-Identifier: Apache-2.0
"""Compensation for driver calls that took effect too late.

A call that hung, or belonged to an overtaken run, may take effect long after the service has moved
on: it may create an object of a deleted service, or replace a newer document with an older one.
Compensation follows when the call ends. It fails only for a call that outlives its process.
"""

from collections.abc import Callable
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.common.retry import RetryPolicy
from poppy.distributed_task.queueing import queue
from poppy.model.operations import Kind, Operation, StepState
from poppy.model.services import ProviderStatus, Service
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

_CONFLICTS = 10


def see_to(
    storage: Storage,
    operation: Operation,
    step: str,
    policy: RetryPolicy,
    undo: Callable[[], None] | None,
) -> None:
    """Undo a late call's effect, or queue an update that deploys the current document again.

    Args:
        operation: the operation of the call.
        step: the step of the call.
        undo: removes what the call may have created; None if it creates nothing.
    """
    if operation.kind is Kind.PURGE:
        return
    try:
        service = storage.services.get(operation.project_id, operation.service_id)
    except errors.NotFound:
        _undo(operation, step, policy, undo)
        return
    if service.deleting:
        _undo(operation, step, policy, undo)
        return
    now = storage.operations.get(operation.key)
    if now.state.finished or now.step(step).state is StepState.DONE:
        _make_again(storage, service, operation)


def _undo(
    operation: Operation, step: str, policy: RetryPolicy, undo: Callable[[], None] | None
) -> None:
    if undo is None:
        return
    try:
        policy.call(undo)
    except errors.DriverError as exc:
        LOG.error(
            "%s of service %s took effect after the service was deleted and could not be "
            "undone; please remove it by hand: %s",
            step,
            operation.service_id,
            exc,
        )
    else:
        LOG.info("%s was undone: service %s is deleted", step, operation.service_id)


def _make_again(storage: Storage, service: Service, late: Operation) -> None:
    for _ in range(_CONFLICTS):
        if storage.operations.was_deleted(service.project_id, service.service_id):
            return
        updating = ProviderStatus.UPDATE_IN_PROGRESS
        details = {
            name: replace(detail, status=updating)
            for name, detail in service.provider_details.items()
        }
        try:
            queue(storage, service.with_details(details), Kind.UPDATE, late)
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
