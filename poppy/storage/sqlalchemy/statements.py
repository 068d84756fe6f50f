# SPDX-License-Identifier: Apache-2.0
"""Statements about operations, built once."""

import sqlalchemy as sa

from poppy.model.operations import State
from poppy.storage.sqlalchemy import rows, schema

_O = schema.OPERATIONS.c

_RUNNING = str(State.RUNNING)
_THIS = sa.and_(rows.ITS_OPERATIONS, _O.operation_id == sa.bindparam("operation"))
_STILL_OURS = sa.and_(_THIS, _O.state == _RUNNING, _O.attempt == sa.bindparam("our_attempt"))

GET = sa.select(schema.OPERATIONS).where(_THIS)
LIST = sa.select(schema.OPERATIONS).where(rows.ITS_OPERATIONS).order_by(_O.operation_id)
HISTORY = (
    sa.select(schema.OPERATIONS)
    .where(rows.ITS_OPERATIONS)
    .order_by(_O.operation_id.desc())
    .limit(sa.bindparam("page"))
)
HISTORY_AFTER = HISTORY.where(_O.operation_id < sa.bindparam("marker"))
FIND = (
    sa.select(schema.OPERATIONS)
    .where(
        _O.state == sa.bindparam("wanted"),
        _O.created_at <= sa.bindparam("before"),
        sa.tuple_(_O.created_at, _O.operation_id)
        > sa.tuple_(sa.bindparam("from_moment", type_=schema.Instant), sa.bindparam("from_id")),
    )
    .order_by(_O.created_at, _O.operation_id)
    .limit(sa.bindparam("page"))
)
FAILURES = (
    sa.select(schema.OPERATIONS)
    .where(_O.state == str(State.FAILED))
    .order_by(_O.created_at.desc(), _O.operation_id.desc())
    .limit(sa.bindparam("page"))
)
EXPIRED = (
    sa.select(_O.service_id, _O.operation_id)
    .where(
        _O.state == sa.bindparam("wanted"),
        _O.created_at < sa.bindparam("before"),
        _O.updated_at < sa.bindparam("before"),
    )
    .order_by(_O.created_at)
    .limit(sa.bindparam("page"))
)
FORGET = sa.delete(schema.OPERATIONS).where(
    _O.service_id == sa.bindparam("service"), _O.operation_id == sa.bindparam("operation")
)
REQUEUE = (
    sa.update(schema.OPERATIONS)
    .where(
        _THIS,
        _O.state == sa.bindparam("state_read"),
        _O.attempt == sa.bindparam("attempt_read"),
        _O.next_attempt_at == sa.bindparam("time_read"),
    )
    .values(
        state=str(State.QUEUED),
        next_attempt_at=sa.bindparam("until"),
        crashes=_O.crashes + sa.bindparam("lost", type_=sa.Integer),
    )
)
SAVE = sa.update(schema.OPERATIONS).where(_STILL_OURS)
RENEW = (
    sa.update(schema.OPERATIONS).where(_STILL_OURS).values(next_attempt_at=sa.bindparam("until"))
)
HOLD = (
    sa.update(schema.OPERATIONS)
    .where(_THIS, rows.HELD, _O.attempt == sa.bindparam("our_attempt"))
    .values(next_attempt_at=sa.bindparam("until"))
)
LAST = (
    sa.select(schema.OPERATIONS)
    .where(rows.ITS_OPERATIONS, rows.UNFINISHED)
    .order_by(_O.operation_id.desc())
    .limit(1)
)
JOIN = sa.update(schema.OPERATIONS).where(_THIS, _O.state == str(State.QUEUED), _O.attempt == 0)
SAVE_DETAILS = sa.update(schema.SERVICES).where(rows.THIS_SERVICE)
ARCHIVE = sa.insert(schema.ARCHIVE)
DELETE_SERVICE = sa.delete(schema.SERVICES).where(rows.THIS_SERVICE)
