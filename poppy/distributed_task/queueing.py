# SPDX-License-Identifier: Apache-2.0
"""Operations that workers queue themselves, as bulk work: no request waits for them."""

from dataclasses import replace

from poppy.model.operations import Kind, Operation, Priority
from poppy.model.provider_details import ProviderStatus
from poppy.model.services import Service
from poppy.storage.base import Storage


def queue(storage: Storage, service: Service, kind: Kind, cause: Operation | None = None) -> None:
    """Store a changed service with an operation that the dispatcher finds at once.

    Args:
        service: as read from storage, with changes.
        cause: the operation that causes this one, if any. Its request id and trace carry over.

    Raises:
        Changed: the service has changed since it was read.
        NotFound: the service is gone.
        InvalidRequest: the flavor no longer exists.
        Unavailable: storage does not answer.
    """
    operation = Operation.new(
        service.project_id,
        service.service_id,
        kind,
        request_id=cause.request_id if cause else None,
        trace=cause.trace if cause else None,
        priority=Priority.BULK,
    )
    storage.services.submit(replace(service, updated_at=operation.created_at), operation)


def queue_update(storage: Storage, service: Service, cause: Operation | None = None) -> None:
    """Queue an update that deploys a service's document again. Raises like :func:`queue`."""
    details = {
        name: replace(detail, status=ProviderStatus.UPDATE_IN_PROGRESS)
        for name, detail in service.provider_details.items()
    }
    queue(storage, service.with_details(details), Kind.UPDATE, cause)
