# SPDX-License-Identifier: Apache-2.0
"""Operations: history for tenants; search, retry and cancel for operators."""

import datetime
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.distributed_task import operation_result
from poppy.model.operations import Kind, Operation, OperationKey, State, Step, StepState
from poppy.model.provider_details import ProviderDetails, ProviderStatus
from poppy.model.services import Service, Status
from poppy.storage.base import Storage
from poppy.storage.operations import Marker

LOG = log.getLogger(__name__)

#: The states in which an operation may need an operator's action.
OPEN = frozenset({State.QUEUED, State.RUNNING, State.WAITING, State.FAILED})

CANCELLED = "cancelled by operator"
CANCELLED_BY_TENANT = "cancelled by the project"

#: What a tenant may cancel. Others are the operator's, or must be completed, such as a delete.
_TENANTS_OWN = (Kind.CREATE, Kind.UPDATE, Kind.PURGE, Kind.PREWARM)

#: How many operations are read for a page that is filtered by provider: the default page size, so
#: that the filter costs no more than a default page.
LOOKED_AT = 100

_LEASE = datetime.timedelta(seconds=10)
_UNDER_WAY = {
    Kind.CREATE: ProviderStatus.DEPLOY_IN_PROGRESS,
    Kind.UPDATE: ProviderStatus.UPDATE_IN_PROGRESS,
    Kind.DELETE: ProviderStatus.DELETE_IN_PROGRESS,
    Kind.PURGE: ProviderStatus.UPDATE_IN_PROGRESS,
}


class Page(NamedTuple):
    """A page of operations; ``following`` is the next marker, if there may be more."""

    operations: Sequence[Operation]
    following: Marker | None


class OperationsManager:
    """Read, retry and cancel the operations of all services."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def history(
        self, project_id: str, service_id: str, marker: str | None, limit: int
    ) -> Sequence[Operation]:
        """Return a page of a service's operations, latest first; also after its deletion.

        Raises:
            NotFound: the project does not have the service, and recently did not have it.
        """
        found = self._storage.operations.history(project_id, service_id, marker, limit)
        if not found and not self._storage.operations.history(project_id, service_id, None, 1):
            self._storage.services.get(project_id, service_id)
        return found

    def get(self, key: OperationKey) -> Operation:
        """Read an operation.

        Raises:
            NotFound: there is no such operation.
        """
        return self._storage.operations.get(key)

    def find(
        self,
        states: Collection[State],
        older_than: float,
        provider: str | None,
        limit: int,
        marker: Marker | None = None,
    ) -> Page:
        """Return a page of operations of all projects, oldest first.

        With a provider, a page may be short or empty although more follow: the filter may have to
        read the service of each operation, so it looks at :data:`LOOKED_AT` operations at most.

        Args:
            states: a subset of :data:`OPEN`.
            older_than: the minimum age of the request, in seconds.
            provider: only operations blocked on this provider.
            limit: the maximum number of operations.
            marker: the marker of the previous page.
        """
        before = now_utc() - datetime.timedelta(seconds=older_than)
        found: list[Operation] = []
        following = None
        listed = self._storage.operations.find(states, before, marker)
        for number, operation in enumerate(listed, 1):
            if provider is None or self._is_at(operation, provider):
                found.append(operation)
            if len(found) == limit or (provider is not None and number == LOOKED_AT):
                following = Marker(operation.created_at, operation.operation_id)
                break
        return Page(sorted(found, key=lambda it: (it.created_at, it.operation_id)), following)

    def retry(self, key: OperationKey) -> None:
        """Retry a failed operation from its first unfinished step.

        A delete starts over from its first step.

        Raises:
            NotFound: there is no such operation, or its service is gone.
            InvalidRequest: it has not failed, or the service was changed since.
            Changed: the service was changed at the same time.
        """
        operation = self.get(key)
        service = self._storage.services.get(key.project_id, key.service_id)
        if operation.state is not State.FAILED:
            raise errors.InvalidRequest(
                f"Operation {key.operation_id} is {operation.state}; only a failed one can be "
                "retried"
            )
        self._check_is_last(operation)
        if (
            operation.kind is Kind.PURGE
            and operation.is_shown
            and service.status is not Status.DEPLOYED
        ):
            raise errors.InvalidRequest(
                f"Service {key.service_id} is {service.status}; only a deployed service can be "
                "purged"
            )
        done = tuple(it for it in operation.steps if it.state is StepState.DONE)
        now = now_utc()
        again = replace(
            operation,
            state=State.QUEUED,
            # A delete visits all providers again: a removed object may have reappeared.
            steps=() if operation.kind is Kind.DELETE else done,
            failures=0,
            crashes=0,
            error=None,
            retried_at=now,
            updated_at=now,
            # A dispatcher finds it within a second.
            next_attempt_at=now,
        )
        changed = replace(_under_way(service, operation), updated_at=now)
        self._storage.services.reopen(changed, again)
        LOG.info("Operator retried operation %s", key.operation_id)

    def wake(self, provider: str | None = None) -> int:
        """Make waiting operations due now.

        Args:
            provider: only operations blocked on this provider.

        Returns:
            The number of operations.
        """
        now, woken, marker = now_utc(), 0, None
        while True:
            page = self.find({State.WAITING}, 0, provider, LOOKED_AT, marker)
            woken += sum(self._storage.operations.requeue(it, now) for it in page.operations)
            if page.following is None:
                return woken
            marker = page.following

    def cancel(self, key: OperationKey) -> None:
        """Cancel a waiting or queued operation; it fails, and so does its service.

        Raises:
            NotFound: there is no such operation.
            InvalidRequest: it is finished or running, or waits for an earlier one of its service.
            Changed: a worker has just claimed it, or a delete has just superseded it.
        """
        operation = self.get(key)
        if operation.state not in (State.WAITING, State.QUEUED):
            raise errors.InvalidRequest(
                f"Operation {key.operation_id} is {operation.state}; only one that is waiting or "
                "queued can be cancelled"
            )
        self._end(operation, CANCELLED)

    def give_up(self, key: OperationKey) -> None:
        """Cancel a waiting create, update or purge for its tenant; it fails.

        The service keeps its document. It becomes ``failed``, except for a purge, and can then be
        purged and changed.

        Raises:
            NotFound: there is no such operation.
            InvalidRequest: it is of another kind.
            Changed: it is not waiting, or another operation of the service runs now.
        """
        operation = self.get(key)
        if operation.kind not in _TENANTS_OWN:
            raise errors.InvalidRequest(f"A {operation.kind} can't be cancelled")
        if not operation.waits:
            raise errors.Changed(
                f"Operation {key.operation_id} is {operation.state}; only one that waits can be "
                "cancelled"
            )
        try:
            self._end(operation, CANCELLED_BY_TENANT)
        except errors.InvalidRequest as exc:
            raise errors.Changed(str(exc)) from exc

    def _end(self, operation: Operation, reason: str) -> None:
        """End a waiting or queued operation.

        Raises:
            InvalidRequest: another operation of its service comes first.
            Changed: a worker has just claimed it, or another request has just superseded it.
        """
        key, now = operation.key, now_utc()
        self._check_is_next(operation, now)
        if operation.state is State.WAITING and not self._storage.operations.requeue(
            operation, now + _LEASE
        ):
            raise errors.Changed(f"A worker has just claimed operation {key.operation_id}")
        try:
            begun, service = self._storage.operations.begin(key, reason, now, now + _LEASE)
        except errors.NotRunnable as exc:
            raise errors.InvalidRequest(f"It can't be cancelled now: {exc}") from exc
        ended = replace(
            begun, state=State.FAILED, error=reason, updated_at=now, next_attempt_at=None
        )
        try:
            self._storage.operations.save(ended, _failed(service, ended))
        except errors.Fenced as exc:
            # This run makes no calls, so a delete need not wait for it.
            self._storage.operations.acknowledge(key, ended.attempt, now)
            raise errors.Changed(f"Operation {key.operation_id} has just been overtaken") from exc
        LOG.info("Operation %s: %s", key.operation_id, reason)

    def _check_is_next(self, operation: Operation, now: datetime.datetime) -> None:
        """Refuse early, without changes, what :meth:`OperationStore.begin` would refuse."""
        listed = self._storage.operations.list(operation.project_id, operation.service_id)
        for other in listed:
            if other.blocks(operation, now):
                raise errors.InvalidRequest(
                    f"It can't be cancelled now: operation {operation.operation_id} has to wait "
                    f"for {other.operation_id}"
                )

    def _check_is_last(self, operation: Operation) -> None:
        apart = (Kind.PURGE, Kind.STEER, Kind.PREWARM)
        listed = self._storage.operations.list(operation.project_id, operation.service_id)
        for other in listed:
            if other.operation_id <= operation.operation_id or other.kind in apart:
                continue
            # A purge or steer conflicts with no later change, but nothing may follow a delete.
            if operation.kind not in apart or other.kind is Kind.DELETE:
                raise errors.InvalidRequest(
                    f"Operation {operation.operation_id} can't be retried: operation "
                    f"{other.operation_id} has changed the service since"
                )

    def _is_at(self, operation: Operation, provider: str) -> bool:
        """Whether an operation has not completed its step at a provider."""
        for step in operation.steps:
            kind, _, name = step.name.removeprefix("remove:").partition(":")
            if (kind, name) == ("provider", provider):
                return step.state is not StepState.DONE
        if operation.state is State.FAILED:
            return False
        try:
            service = self._storage.services.get(operation.project_id, operation.service_id)
        except errors.NotFound:
            return False
        return provider in service.provider_details


def _under_way(service: Service, operation: Operation) -> Service:
    """Return the service with the status that it shows while the operation runs."""
    if not operation.is_shown:
        return service
    status = _UNDER_WAY[operation.kind]
    return service.with_details(
        {
            name: replace(
                detail, status=status, error_message=None, error_info=None, error_class=None
            )
            for name, detail in service.provider_details.items()
        }
    )


def _failed(service: Service, operation: Operation) -> ProviderDetails | None:
    if not operation.is_shown:
        return None
    step = Step("", StepState.FAILED, operation.error, "Cancelled")
    return operation_result.settled(service.provider_details, operation.kind, [step])
