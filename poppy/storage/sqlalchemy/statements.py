# SPDX-License-Identifier: Apache-2.0
"""Statements about operations, built once."""

import sqlalchemy as sa

from poppy.model.operations import State
from poppy.storage.sqlalchemy import rows, schema

_O = schema.OPERATIONS.c

_RUNNING = str(State.RUNNING)
_UNFINISHED = _O.state.in_(rows.UNFINISHED)
_DEPLOYS = _O.kind.in_(rows.DEPLOYING)
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
# The operations that block this one, as in Operation.blocks: earlier ones, except waiting creates
# and updates; a running one; and a superseded one that may still be in a driver call. These may
# have a greater id, if the clocks of the two servers that made the ids differ.
OBSTACLES = (
    sa.select(_O.operation_id)
    .where(
        rows.ITS_OPERATIONS,
        _O.operation_id != sa.bindparam("operation"),
        sa.or_(
            sa.and_(
                _UNFINISHED,
                sa.or_(
                    _O.state == _RUNNING,
                    sa.and_(
                        _O.operation_id < sa.bindparam("operation"),
                        sa.or_(_O.state == str(State.QUEUED), sa.not_(_DEPLOYS)),
                    ),
                ),
            ),
            sa.and_(rows.HELD, _O.next_attempt_at > sa.bindparam("now")),
        ),
    )
    .limit(1)
)
BEGIN = (
    sa.update(schema.OPERATIONS)
    .where(
        _THIS,
        _UNFINISHED,
        sa.or_(
            _O.state == str(State.QUEUED),
            sa.and_(_O.state == _RUNNING, _O.runner == sa.bindparam("runner_now")),
            _O.next_attempt_at <= sa.bindparam("now"),
        ),
    )
    # The order matters: on MySQL later assignments see the results of earlier ones.
    .ordered_values(
        (_O.crashes, _O.crashes + sa.case((_O.state == _RUNNING, 1), else_=0)),
        (_O.attempt, _O.attempt + 1),
        (_O.state, _RUNNING),
        (_O.runner, sa.bindparam("runner_now")),
        (_O.next_attempt_at, sa.bindparam("until")),
        (_O.updated_at, sa.bindparam("now")),
    )
)
SAVE = sa.update(schema.OPERATIONS).where(_STILL_OURS)
_STILL_HELD = sa.and_(_THIS, rows.HELD, _O.attempt == sa.bindparam("our_attempt"))
IS_HELD = sa.select(_O.operation_id).where(_STILL_HELD)
RENEW = (
    sa.update(schema.OPERATIONS).where(_STILL_OURS).values(next_attempt_at=sa.bindparam("until"))
)
HOLD = (
    sa.update(schema.OPERATIONS).where(_STILL_HELD).values(next_attempt_at=sa.bindparam("until"))
)
ACKNOWLEDGE = sa.update(schema.OPERATIONS).where(_STILL_HELD).values(next_attempt_at=None)
NEXT = (
    sa.select(schema.OPERATIONS)
    .where(rows.ITS_OPERATIONS, _O.state == str(State.QUEUED))
    .order_by(_O.operation_id)
    .limit(1)
)
TO_DEPLOY = sa.select(_O.operation_id).where(rows.ITS_OPERATIONS, _UNFINISHED, _DEPLOYS).limit(1)
LAST = (
    sa.select(schema.OPERATIONS)
    .where(rows.ITS_OPERATIONS, _UNFINISHED)
    .order_by(_O.operation_id.desc())
    .limit(1)
)
JOIN = sa.update(schema.OPERATIONS).where(_THIS, _O.state == str(State.QUEUED), _O.attempt == 0)
MAKE_DUE = (
    sa.update(schema.OPERATIONS)
    .where(_THIS, _UNFINISHED)
    .values(next_attempt_at=sa.bindparam("now"))
)
SAVE_DETAILS = (
    sa.update(schema.SERVICES)
    .where(rows.THIS_SERVICE)
    .values(revision=schema.SERVICES.c.revision + 1)
)
ARCHIVE = sa.insert(schema.ARCHIVE)
DELETE_SERVICE = sa.delete(schema.SERVICES).where(rows.THIS_SERVICE)
