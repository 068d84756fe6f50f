# SPDX-License-Identifier: Apache-2.0
"""Operations that workers ask for by themselves: bulk work, for which no request waits."""

from dataclasses import replace

from poppy.model.operations import Kind, Operation, Priority
from poppy.model.services import Service
from poppy.storage.base import Storage


def queue(storage: Storage, service: Service, kind: Kind, cause: Operation | None = None) -> None:
    """Store a service as it is to be, with an operation that the dispatcher finds at once.

    Args:
        service: as read from storage, with changes.
        cause: the operation that it follows from, if any: its request and its trace go on.

    Raises:
        Changed: it was changed meanwhile.
        NotFound: it is gone.
        InvalidRequest: there is no such flavor any more.
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
