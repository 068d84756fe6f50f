# SPDX-License-Identifier: Apache-2.0
"""Due operations in fair turns, and the number of a project's open operations.

If everything due fits into the answer, one query of the index by time is enough. Otherwise a
"loose index scan" skips through the index by project: one step for each project with unfinished
operations, then a few rows of each project in turn. So the cost depends on the number of projects,
not on the backlog of one of them.
"""

import datetime
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from poppy.model import fairness
from poppy.model.operations import Operation, Priority, State
from poppy.storage import operations as contract
from poppy.storage.sqlalchemy import rows, schema

Head = Mapping[Priority, datetime.datetime]
"""The oldest due time of a project's operations, by priority."""

_O = schema.OPERATIONS.c
_FRONT = (Priority.PURGE, Priority.TENANT)
_WAITS = sa.and_(_O.next_attempt_at.is_not(None), _O.state != str(State.SUPERSEDED))
_DUE = sa.and_(_O.next_attempt_at <= sa.bindparam("now"), _O.state != str(State.SUPERSEDED))

OLDEST = (
    sa.select(schema.OPERATIONS)
    .where(_DUE)
    .order_by(_O.next_attempt_at, _O.operation_id)
    .limit(sa.bindparam("page"))
)
OF_PROJECT = (
    sa.select(schema.OPERATIONS)
    .where(
        _O.project_id == sa.bindparam("project"),
        _O.priority == sa.bindparam("wanted"),
        _DUE,
        sa.tuple_(_O.next_attempt_at, _O.operation_id)
        > sa.tuple_(sa.bindparam("from_moment", type_=schema.Instant), sa.bindparam("from_id")),
    )
    .order_by(_O.next_attempt_at, _O.operation_id)
    .limit(sa.bindparam("page"))
)
_UNFINISHED = (
    sa.select(
        sa.case(
            (
                sa.and_(
                    _O.state == str(State.WAITING),
                    _O.next_attempt_at > sa.bindparam("now", type_=schema.Instant),
                ),
                1,
            ),
            else_=0,
        ).label("parked")
    )
    .where(
        _O.project_id == sa.bindparam("project"),
        _O.priority.in_([int(it) for it in _FRONT]),
        _O.next_attempt_at.is_not(None),
    )
    .limit(sa.bindparam("page"))
    .subquery()
)
OPEN = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_UNFINISHED.c.parked), 0))


def _heads() -> sa.Select[Any]:
    """Select each project with unfinished operations, and its oldest due time per priority."""
    first = sa.select(sa.func.min(_O.project_id).label("project_id")).where(
        _O.next_attempt_at.is_not(None)
    )
    projects = first.cte("projects", recursive=True)
    following = (
        sa.select(sa.func.min(_O.project_id))
        .where(_O.next_attempt_at.is_not(None), _O.project_id > projects.c.project_id)
        .scalar_subquery()
    )
    projects = projects.union_all(sa.select(following).where(projects.c.project_id.is_not(None)))
    oldest = [
        sa.select(_O.next_attempt_at)
        .where(_O.project_id == projects.c.project_id, _O.priority == int(priority), _WAITS)
        .order_by(_O.next_attempt_at)
        .limit(1)
        .scalar_subquery()
        for priority in Priority
    ]
    return sa.select(projects.c.project_id, *oldest).where(projects.c.project_id.is_not(None))


HEADS = _heads()


def due(
    conn: sa.Connection, now: datetime.datetime, limit: int, had: Mapping[str, int]
) -> Sequence[Operation]:
    """Return due operations in fair order; see :meth:`.OperationStore.due`."""
    oldest = [
        rows.to_operation(row) for row in conn.execute(OLDEST, {"now": now, "page": limit + 1})
    ]
    if len(oldest) <= limit:
        return list(fairness.ordered(oldest, _place, had))
    heads: dict[str, Head] = {}
    for project_id, *moments in conn.execute(HEADS):
        found = {
            priority: moment
            for priority, moment in zip(Priority, moments, strict=True)
            if moment is not None and moment <= now
        }
        if found:
            heads[project_id] = found
    read = functools.partial(_in_turns, _Reader(conn, now, limit), heads, had)
    return list(itertools.islice(fairness.woven(read(_FRONT), read((Priority.BULK,))), limit))


def count_open(
    conn: sa.Connection, project_id: str, limit: int, now: datetime.datetime
) -> contract.Unfinished:
    """Count a project's unfinished operations, except bulk work, up to the limit."""
    parameters = {"project": project_id, "page": limit, "now": now}
    total, parked = conn.execute(OPEN, parameters).one()
    return contract.Unfinished(int(total), int(parked))


class _Reader(NamedTuple):
    """Reads the due operations of a project."""

    conn: sa.Connection
    now: datetime.datetime
    limit: int

    def of_project(
        self, project_id: str, priorities: Iterable[Priority], page: int
    ) -> Iterator[Operation]:
        """Iterate by priority, then longest due first, reading pages on demand."""
        for priority in priorities:
            moment, operation_id = schema.EPOCH, ""
            while True:
                parameters = {
                    "project": project_id,
                    "wanted": int(priority),
                    "now": self.now,
                    "from_moment": moment,
                    "from_id": operation_id,
                    "page": page,
                }
                result = self.conn.execute(OF_PROJECT, parameters)
                found = [rows.to_operation(row) for row in result]
                yield from found
                if len(found) < page:
                    break
                last = found[-1]
                assert last.next_attempt_at is not None  # it is due
                moment, operation_id = last.next_attempt_at, last.operation_id


def _in_turns(
    reader: _Reader,
    heads: Mapping[str, Head],
    had: Mapping[str, int],
    priorities: Sequence[Priority],
) -> Iterator[Operation]:
    """Yield one operation of each project in turn, starting with the most urgent one."""
    wanted = {
        project_id: [it for it in priorities if it in head] for project_id, head in heads.items()
    }
    order = sorted(
        (found[0], heads[project_id][found[0]], project_id)
        for project_id, found in wanted.items()
        if found
    )
    # About as many as the project's turns.
    page = -(-reader.limit // max(1, len(order)))
    return fairness.in_turns(
        [
            (had.get(project_id, 0), reader.of_project(project_id, wanted[project_id], page))
            for _priority, _moment, project_id in order
        ]
    )


def _place(operation: Operation) -> fairness.Place:
    return fairness.Place(operation.project_id, operation.priority)
