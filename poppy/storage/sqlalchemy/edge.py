# SPDX-License-Identifier: Apache-2.0
"""The log of changes of the operator's own edge in SQL.

A writer first locks the only row of ``edge_log``, until its transaction ends. So revisions are
consecutive, and become visible in their order.
"""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.model import ids
from poppy.model.edge import Change, Page, Publication, Stamp
from poppy.model.operations import Purge
from poppy.storage import edge
from poppy.storage.sqlalchemy import rows, schema
from poppy.storage.sqlalchemy.database import Database
from poppy.storage.sqlalchemy.edge_certificates import CertificateRows
from poppy.storage.sqlalchemy.edge_nodes import Nodes
from poppy.storage.sqlalchemy.edge_traffic import TrafficRows

_L = schema.EDGE_LOG.c
_C = schema.EDGE_CHANGES.c

_NUMBER = 0
_LAST = 2**63 - 1
_PROGRAM = ""
"""The reference of the row with a service's program."""

_LOG = sa.select(_L.head, _L.floor)
_LOCK = _LOG.with_for_update()
_ADVANCE = sa.update(schema.EDGE_LOG)
_THIS = sa.and_(
    _C.service_id == sa.bindparam("service"), _C.reference == sa.bindparam("its_reference")
)
_FIND: sa.Select[Any] = sa.select(_C.revision, _C.at, _C.content).where(_THIS)
_REPLACE = sa.update(schema.EDGE_CHANGES).where(_THIS)
_ADD = sa.insert(schema.EDGE_CHANGES)


def _page(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Return a query of some rows after a revision, together with the row of the log.

    It is one statement, so that what a concurrent prune deletes is either in the rows or below
    the floor. The rows are limited first, so that no database reads and sorts them all.
    """
    some = (
        sa.select(_C.revision, *columns)
        .where(_C.revision > sa.bindparam("after"), _C.revision <= sa.bindparam("until"))
        .order_by(_C.revision)
        .limit(sa.bindparam("page"))
        .subquery()
    )
    return (
        sa.select(_L.head, _L.floor, some)
        .select_from(schema.EDGE_LOG.outerjoin(some, sa.true()))
        .order_by(some.c.revision)
    )


_SIZES = _page(_C.size)
_CHANGES = _page(_C.service_id, _C.reference, _C.content, _C.hard)
_OLD = (
    sa.select(_C.revision)
    .where(_C.prunable == sa.true(), _C.at < sa.bindparam("before"))
    .order_by(_C.at)
    .limit(sa.bindparam("page"))
)
_DELETE = sa.delete(schema.EDGE_CHANGES).where(
    _C.revision.in_(sa.bindparam("revisions", expanding=True))
)


class _Log(NamedTuple):
    head: int
    floor: int


class EdgeStore(Nodes, CertificateRows, TrafficRows, edge.EdgeStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def publish(self, service_id: str, program: str) -> Stamp:
        """Replace the service's row."""
        row = {"content": program, "size": len(program), "prunable": False}

        def work(conn: sa.Connection) -> Stamp:
            log = _lock(conn)
            found = _find(conn, service_id)
            if found is not None and found.content == program:
                return Stamp(found.revision, found.at)
            return _append(conn, log, service_id, row)

        return self._database.write(work)

    def withdraw(self, service_id: str) -> Stamp | None:
        """Replace the service's row, if it has one, with one without content."""

        def work(conn: sa.Connection) -> Stamp | None:
            log = _lock(conn)
            found = _find(conn, service_id)
            if found is None:
                return None
            if found.content is None:
                return Stamp(found.revision, found.at)
            return _append(conn, log, service_id, {"prunable": True})

        return self._database.write(work)

    def purge(self, service_id: str, purge: Purge) -> Stamp:
        """Add a row."""
        reference = purge.reference or ids.new()
        return self._command(service_id, reference, edge.purge_to_text(purge), purge.hard)

    def prewarm(self, service_id: str, paths: Sequence[str], reference: str) -> Stamp:
        """Add a row."""
        return self._command(service_id, reference, edge.prewarm_to_text(paths), False)

    def _command(self, service_id: str, reference: str, text: str | None, hard: bool) -> Stamp:
        row = {"content": text, "hard": hard, "prunable": True}

        def work(conn: sa.Connection) -> Stamp:
            log = _lock(conn)
            found = _find(conn, service_id, reference)
            if found is not None:
                return Stamp(found.revision, found.at)
            return _append(conn, log, service_id, row, reference)

        return self._database.write(work)

    def current(self, service_id: str) -> Publication | None:
        """Read the service's row."""
        with self._database.read() as conn:
            found = _find(conn, service_id)
        if found is None:
            return None
        return Publication(Stamp(found.revision, found.at), found.content)

    def head(self) -> int:
        """Read the row of the log."""
        with self._database.read() as conn:
            found = conn.execute(_LOG).first()
        return 0 if found is None else int(found.head)

    def changes(self, after: int, limit: int, snapshot: int = 0) -> Page:
        """Read the sizes first, to limit the bytes of a page."""
        since = max(after, snapshot)
        found = self._read(_SIZES, since, {"after": after, "until": _LAST, "page": limit})
        if not found:
            return Page(0, 0, ())
        head = int(found[0].head)
        if found[0].revision is None:
            return Page(head, head, ())
        last = _cut(found)
        changes = self._read(_CHANGES, since, {"after": after, "until": last, "page": limit})
        is_end = last == found[-1].revision and len(found) < limit
        return Page(
            head if is_end else last,
            head,
            [_change(row) for row in changes if row.revision is not None],
        )

    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Delete rows and raise the floor in one transaction."""

        def work(conn: sa.Connection) -> int:
            log = _lock(conn)
            found = conn.execute(_OLD, {"before": before, "page": limit}).scalars().all()
            if found:
                conn.execute(_DELETE, {"revisions": found})
                conn.execute(_ADVANCE.values(floor=max(log.floor, *found)))
            return len(found)

        return self._database.write(work)

    def _read(
        self, statement: sa.Select[Any], since: int, parameters: dict[str, int]
    ) -> Sequence[sa.Row[Any]]:
        with self._database.read() as conn:
            found = conn.execute(statement, parameters).all()
        log = _Log(found[0].head, found[0].floor) if found else _Log(0, 0)
        if since and not log.floor <= since <= log.head:
            raise errors.Gone(f"The changes after revision {since} are not available")
        return found


def _lock(conn: sa.Connection) -> _Log:
    found = conn.execute(_LOCK).first()
    if found is None:
        row = {"number": _NUMBER, "head": 0, "floor": 0}
        rows.insert_missing(conn, schema.EDGE_LOG, row)
        found = conn.execute(_LOCK).one()
    return _Log(found.head, found.floor)


def _find(conn: sa.Connection, service_id: str, reference: str = _PROGRAM) -> sa.Row[Any] | None:
    return conn.execute(_FIND, {"service": service_id, "its_reference": reference}).first()


def _append(
    conn: sa.Connection,
    log: _Log,
    service_id: str,
    content: dict[str, Any],
    reference: str = _PROGRAM,
) -> Stamp:
    stamp = Stamp(log.head + 1, now_utc())
    conn.execute(_ADVANCE.values(head=stamp.revision))
    empty = {"content": None, "size": 0, "hard": False}
    row = {**empty, **content, **stamp._asdict()}
    this = {"service": service_id, "its_reference": reference}
    if conn.execute(_REPLACE, {**row, **this}).rowcount == 0:
        conn.execute(_ADD, {**row, "service_id": service_id, "reference": reference})
    return stamp


def _cut(found: Sequence[sa.Row[Any]]) -> int:
    """Return the last revision that fits on a page; at least the first one."""
    until, size = int(found[0].revision), int(found[0].size)
    for row in found[1:]:
        size += row.size
        if size > edge.PAGE_SIZE:
            break
        until = row.revision
    return until


def _change(row: sa.Row[Any]) -> Change:
    if row.reference == _PROGRAM:
        return Change(row.revision, row.service_id, program=row.content)
    return edge.command(row.revision, row.service_id, row.content, row.hard)
