# SPDX-License-Identifier: Apache-2.0
"""Conversion between table columns and the model."""

import datetime
import json
import time
from typing import Any

from poppy.model.operations import Kind, Operation, OperationKey, Priority, State
from poppy.model.provider_details import ProviderDetail, ProviderDetails
from poppy.model.secrets import Secret
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def now() -> int:
    """Return the time of this machine's clock in microseconds since 1970."""
    return time.time_ns() // 1000


def to_number(moment: datetime.datetime) -> int:
    """Convert to microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def to_moment(number: int) -> datetime.datetime:
    """Convert microseconds since 1970 to a UTC time."""
    return _EPOCH + datetime.timedelta(microseconds=number)


def optional_number(moment: datetime.datetime | None) -> int | None:
    """Convert like :func:`to_number`; None stays None."""
    return None if moment is None else to_number(moment)


def to_text(document: Any) -> str:
    """Serialize to JSON. Non-ASCII is escaped, because a lone surrogate is not valid UTF-8."""
    return _encode(document)


def service_columns(service: Service) -> dict[str, Any]:
    """Return the static columns of ``services`` for a service."""
    return {
        "spec": to_text(service.spec.to_dict(Secret.stored)),
        "provider_details": to_text(_details_to_dict(service.provider_details)),
        "disabled": service.disabled,
        "revision": service.revision,
        "service_created_at": to_number(service.created_at),
        "service_updated_at": to_number(service.updated_at),
        "log_url": service.log_url,
    }


def to_service(project_id: str, service_id: str, columns: Any) -> Service:
    """Convert the columns of :func:`service_columns`, in that order."""
    spec, details, disabled, revision, created_at, updated_at, *later = columns
    return Service(
        project_id=project_id,
        service_id=service_id,
        spec=ServiceSpec.from_dict(json.loads(spec)),
        provider_details={
            name: ProviderDetail.from_dict(detail) for name, detail in json.loads(details).items()
        },
        created_at=to_moment(created_at),
        updated_at=to_moment(updated_at),
        disabled=disabled,
        revision=revision,
        # Older documents, not rewritten since, lack this column.
        log_url=later[0] if later else None,
    )


def document_of(service: Service) -> str:
    """Return a whole service in one cell, so that concurrent writes of a projection can't mix."""
    return to_text(list(service_columns(service).values()))


def from_document(project_id: str, service_id: str, document: str) -> Service:
    """Convert a result of :func:`document_of`."""
    return to_service(project_id, service_id, json.loads(document))


def operation_columns(operation: Operation, slot: int | None) -> dict[str, Any]:
    """Return the row of an operation; ``slot`` is the slot of its hint."""
    return {
        "project_id": operation.project_id,
        "service_id": operation.service_id,
        "operation_id": operation.operation_id,
        "kind": str(operation.kind),
        "state": str(operation.state),
        "attempt": operation.attempt,
        "failures": operation.failures,
        "crashes": operation.crashes,
        "next_attempt_at": optional_number(operation.next_attempt_at),
        "slot": slot,
        "runner": operation.runner,
        "progress": to_text(operation.progress_to_dict()),
        "created_at": to_number(operation.created_at),
        "updated_at": to_number(operation.updated_at),
        "priority": int(operation.priority),
    }


def to_operation(key: OperationKey, columns: Any) -> Operation:
    """Convert :data:`OPERATION_COLUMNS`, in that order."""
    kind, state, attempt, failures, due_at, runner, progress, created_at, updated_at = columns[:9]
    return Operation(
        *key,
        kind=Kind(kind),
        created_at=to_moment(created_at),
        updated_at=to_moment(updated_at),
        state=State(state),
        attempt=attempt,
        failures=failures,
        # Operations of the first version lack this column.
        crashes=columns[9] or 0,
        # Operations of earlier versions count as tenants' requests.
        priority=Priority.TENANT if columns[10] is None else Priority(columns[10]),
        next_attempt_at=None if due_at is None else to_moment(due_at),
        runner=runner,
        **Operation.progress_from_dict(json.loads(progress)),
    )


def operation_document(operation: Operation) -> str:
    """Return a whole operation in one cell."""
    columns = operation_columns(operation, None)
    return to_text([columns[name] for name in _OPERATION_COLUMNS])


def from_operation_document(key: OperationKey, document: str) -> Operation:
    """Convert a result of :func:`operation_document`."""
    return to_operation(key, json.loads(document))


OPERATION_COLUMNS = (
    "kind, state, attempt, failures, next_attempt_at, runner, progress, created_at, updated_at, "
    "crashes, priority"
)
_OPERATION_COLUMNS = tuple(OPERATION_COLUMNS.split(", "))
SERVICE_COLUMNS = (
    "spec, provider_details, disabled, revision, service_created_at, service_updated_at, log_url"
)


def _details_to_dict(details: ProviderDetails) -> dict[str, Any]:
    return {name: detail.to_dict() for name, detail in details.items()}
