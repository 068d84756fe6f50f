# SPDX-License-Identifier: Apache-2.0
"""Conversion between rows and the model, and statements that several stores need.

Locking: a writer that decides something about a service first locks the service's row, which
stands for everything that belongs to the service (operations, claims). Only single-statement
writes to an operation skip the lock. To avoid deadlocks, locks are taken in this order: the
project's row, the service's row, then domain claims in alphabetical order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from poppy.model.lifecycle import Aggregate
from poppy.model.operations import Kind, Operation, OperationKey, Priority, State
from poppy.model.provider_details import ProviderDetail, ProviderDetails
from poppy.model.secrets import Secret
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.storage.sqlalchemy import schema

_S = schema.SERVICES.c
_O = schema.OPERATIONS.c

THIS_SERVICE = sa.and_(
    _S.project_id == sa.bindparam("project"), _S.service_id == sa.bindparam("service")
)
"""Bind parameters, here and below, must not have the names of columns, which updates reserve."""

ITS_OPERATIONS = sa.and_(
    _O.service_id == sa.bindparam("service"), _O.project_id == sa.bindparam("project")
)

_LOCK_SERVICE = sa.select(schema.SERVICES).where(THIS_SERVICE).with_for_update()
_ADD_OPERATION = sa.insert(schema.OPERATIONS)
_THIS_OPERATION = sa.and_(ITS_OPERATIONS, _O.operation_id == sa.bindparam("operation"))
_QUEUED = _O.state == str(State.QUEUED)
UNFINISHED = _O.state.in_([str(state) for state in State if not state.finished])
HELD = sa.and_(_O.state == str(State.SUPERSEDED), _O.next_attempt_at.is_not(None))
_LOAD_ALL = sa.select(schema.OPERATIONS).where(ITS_OPERATIONS, sa.or_(UNFINISHED, HELD))
# The expression keeps the database from walking through all operations that the service ever had,
# in the order of their ids, instead of using the index by state.
_ID = _O.operation_id.concat("")
_FIRST = sa.select(sa.func.min(_ID)).where(ITS_OPERATIONS, _QUEUED)
_LAST_TO_DEPLOY = sa.select(sa.func.max(_ID)).where(
    ITS_OPERATIONS, _QUEUED, _O.kind.in_([str(kind) for kind in Kind if kind.deploys])
)
# A service may have many purges in its queue. Of those that no worker has begun, only the first
# one can be next, and the last one that deploys stands for all that do.
_LOAD = sa.select(schema.OPERATIONS).where(
    ITS_OPERATIONS,
    _O.state.in_([str(state) for state in State if state not in (State.SUCCEEDED, State.FAILED)]),
    sa.or_(
        _O.operation_id == sa.bindparam("operation"),
        sa.and_(UNFINISHED, sa.or_(sa.not_(_QUEUED), _O.attempt > 0)),
        HELD,
        _O.operation_id == _FIRST.scalar_subquery(),
        _O.operation_id == _LAST_TO_DEPLOY.scalar_subquery(),
    ),
)
_GET = sa.select(schema.OPERATIONS).where(_THIS_OPERATION).with_for_update()
_STORE = sa.update(schema.OPERATIONS).where(_THIS_OPERATION)


def insert_missing(
    conn: sa.Connection, table: sa.Table, row: Mapping[str, Any] | Sequence[Mapping[str, Any]]
) -> None:
    """Insert a row unless its primary key exists, or each of several rows.

    A concurrent transaction that inserts the same key is waited for. There is no savepoint: after
    a deadlock MariaDB discards them, and SQLAlchemy's failing ROLLBACK TO SAVEPOINT would hide
    the deadlock from :meth:`.Database.write`, which then would not repeat the transaction.
    """
    if conn.dialect.name in ("mysql", "mariadb"):
        # Locks an existing row exclusively. INSERT IGNORE would lock it shared, and two
        # transactions that then update the row would deadlock.
        unchanged = {column.name: column for column in table.primary_key}
        conn.execute(mysql.insert(table).on_duplicate_key_update(unchanged), row)
    else:
        dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
        conn.execute(dialect.insert(table).on_conflict_do_nothing(), row)


def identify(key: OperationKey | Service) -> dict[str, Any]:
    """Return parameters for :data:`THIS_SERVICE` and :data:`ITS_OPERATIONS`."""
    return {"project": key.project_id, "service": key.service_id}


def lock_service(conn: sa.Connection, key: OperationKey) -> Service | None:
    """Read a service and lock it against other writers until the transaction ends."""
    row = conn.execute(_LOCK_SERVICE, identify(key)).first()
    return None if row is None else to_service(row)


def add_operation(conn: sa.Connection, operation: Operation) -> None:
    """Store a new operation."""
    conn.execute(
        _ADD_OPERATION,
        {
            "project_id": operation.project_id,
            "service_id": operation.service_id,
            "operation_id": operation.operation_id,
            "kind": str(operation.kind),
            "attempt": operation.attempt,
            "created_at": operation.created_at,
            "priority": int(operation.priority),
            **progress_of(operation),
        },
    )


def load(
    conn: sa.Connection, key: OperationKey, service: Service | None, *, whole: bool = False
) -> Aggregate:
    """Read and lock the operations that decisions about an open operation depend on.

    Args:
        service: as locked.
        whole: read all open operations.
    """
    statement = (_LOAD_ALL if whole else _LOAD).with_for_update()
    parameters = {**identify(key), "operation": key.operation_id}
    found = [to_operation(row) for row in conn.execute(statement, parameters)]
    return Aggregate(
        service,
        {it.operation_id: it.state for it in found if it.is_held or not it.state.finished},
        {it.operation_id: it for it in found},
    )


def get_operation(conn: sa.Connection, key: OperationKey) -> Operation | None:
    """Read and lock an operation."""
    row = conn.execute(_GET, {**identify(key), "operation": key.operation_id}).first()
    return None if row is None else to_operation(row)


def store(conn: sa.Connection, operations: Sequence[Operation]) -> None:
    """Write operations that :func:`load` has locked."""
    parameters = [
        {
            **identify(it.key),
            "operation": it.operation_id,
            "attempt": it.attempt,
            **progress_of(it),
        }
        for it in operations
    ]
    if parameters:
        conn.execute(_STORE, parameters)


def to_service(row: sa.Row[Any]) -> Service:
    """Convert a row of ``services``."""
    return Service(
        project_id=row.project_id,
        service_id=row.service_id,
        spec=ServiceSpec.from_dict(row.spec),
        provider_details={
            name: ProviderDetail.from_dict(detail) for name, detail in row.provider_details.items()
        },
        created_at=row.created_at,
        updated_at=row.updated_at,
        disabled=row.disabled,
        revision=row.revision,
        log_url=row.log_url,
    )


def changes_of(service: Service) -> dict[str, Any]:
    """Return the columns of ``services`` that a request may change."""
    return {
        "spec": service.spec.to_dict(Secret.stored),
        "provider_details": details_to_dict(service.provider_details),
        "status": service.status_bucket,
        "flavor_id": service.spec.flavor_id,
        "disabled": service.disabled,
        "updated_at": service.updated_at,
        "log_url": service.log_url,
    }


def details_to_dict(details: ProviderDetails) -> Mapping[str, Any]:
    """Return the document of the column ``provider_details``."""
    return {name: detail.to_dict() for name, detail in details.items()}


def to_operation(row: sa.Row[Any]) -> Operation:
    """Convert a row of ``operations``."""
    return Operation(
        project_id=row.project_id,
        service_id=row.service_id,
        operation_id=row.operation_id,
        kind=Kind(row.kind),
        created_at=row.created_at,
        updated_at=row.updated_at,
        state=State(row.state),
        attempt=row.attempt,
        failures=row.failures,
        crashes=row.crashes,
        next_attempt_at=row.next_attempt_at,
        runner=row.runner,
        priority=Priority(row.priority),
        **Operation.progress_from_dict(row.progress),
    )


def progress_of(operation: Operation) -> dict[str, Any]:
    """Return the columns of ``operations`` that a run may change."""
    return {
        "state": str(operation.state),
        "failures": operation.failures,
        "crashes": operation.crashes,
        "next_attempt_at": operation.next_attempt_at,
        "runner": operation.runner,
        "progress": operation.progress_to_dict(),
        "updated_at": operation.updated_at,
    }
