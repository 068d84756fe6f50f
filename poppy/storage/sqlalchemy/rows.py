# SPDX-License-Identifier: Apache-2.0
"""Conversion between rows and the model, and statements that several stores need.

Locking: a writer that decides something about a service first locks the service's row, which
stands for everything that belongs to the service (operations, claims). Only single-statement
writes to an operation skip the lock. To avoid deadlocks, locks are taken in this order: the
project's row, the service's row, then domain claims in alphabetical order.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from poppy.model.operations import Kind, Operation, OperationKey, Priority, State
from poppy.model.provider_details import ProviderDetail, ProviderDetails
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.storage.sqlalchemy import schema

UNFINISHED = tuple(str(state) for state in State if not state.finished)
DEPLOYING = tuple(str(kind) for kind in Kind if kind.deploys)

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
_HAS_UNFINISHED = (
    sa.select(_O.operation_id).where(ITS_OPERATIONS, _O.state.in_(UNFINISHED)).limit(1)
)
_ADD_OPERATION = sa.insert(schema.OPERATIONS)
_SUPERSEDED = str(State.SUPERSEDED)
_END = (
    sa.update(schema.OPERATIONS)
    .where(ITS_OPERATIONS, _O.state.in_(UNFINISHED), _O.state != str(State.RUNNING))
    .values(state=_SUPERSEDED, next_attempt_at=None)
)
_OVERTAKE = (
    sa.update(schema.OPERATIONS)
    .where(ITS_OPERATIONS, _O.state == str(State.RUNNING))
    .values(state=_SUPERSEDED)
)
HELD = sa.and_(_O.state == _SUPERSEDED, _O.next_attempt_at.is_not(None))
_OVERTAKE_WAITING = (
    sa.update(schema.OPERATIONS)
    .where(
        ITS_OPERATIONS,
        _O.kind.in_(DEPLOYING),
        sa.or_(
            _O.state == str(State.WAITING),
            sa.and_(_O.state == str(State.QUEUED), _O.attempt > 0),
        ),
    )
    .values(state=_SUPERSEDED, next_attempt_at=None)
)
_REOPEN = sa.update(schema.OPERATIONS).where(
    ITS_OPERATIONS,
    _O.operation_id == sa.bindparam("operation"),
    _O.state == str(State.FAILED),
    _O.attempt == sa.bindparam("as_read"),
)
_LET_GO = sa.update(schema.OPERATIONS).where(ITS_OPERATIONS, HELD).values(next_attempt_at=None)


def insert_missing(conn: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> None:
    """Insert a row unless its primary key exists.

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


def reopen(conn: sa.Connection, operation: Operation) -> bool:
    """Queue a failed operation; return False if it has not failed or was retried already."""
    parameters = {
        **identify(operation.key),
        "operation": operation.operation_id,
        "as_read": operation.attempt,
        **progress_of(operation),
    }
    return conn.execute(_REOPEN, parameters).rowcount == 1


def has_unfinished(conn: sa.Connection, service: Service) -> bool:
    """Whether a service has unfinished operations."""
    return conn.execute(_HAS_UNFINISHED, identify(service)).first() is not None


def supersede(conn: sa.Connection, key: OperationKey, at: datetime.datetime) -> None:
    """Supersede every unfinished operation of the service; running ones keep their lease."""
    conn.execute(_END, {**identify(key), "updated_at": at})
    conn.execute(_OVERTAKE, {**identify(key), "updated_at": at})


def supersede_waiting(conn: sa.Connection, key: OperationKey, at: datetime.datetime) -> None:
    """Supersede the service's waiting creates and updates; see ``Operation.gives_way_to``."""
    conn.execute(_OVERTAKE_WAITING, {**identify(key), "updated_at": at})


def let_go(conn: sa.Connection, key: OperationKey) -> None:
    """End the leases of superseded runs."""
    conn.execute(_LET_GO, identify(key))


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
        "spec": service.spec.to_dict(),
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
        # A finished operation must never become due, whatever the caller has set.
        "next_attempt_at": None if operation.state.finished else operation.next_attempt_at,
        "runner": operation.runner,
        "progress": operation.progress_to_dict(),
        "updated_at": operation.updated_at,
    }
