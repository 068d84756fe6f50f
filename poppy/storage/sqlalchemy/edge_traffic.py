# SPDX-License-Identifier: Apache-2.0
"""The figures of the nodes of the operator's own edge in SQL: a row for each source and domain."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from poppy.model.edge_traffic import TOTAL, Batch, Counts, Domain, Hours, Traffic, by_country
from poppy.storage.sqlalchemy import rows, schema
from poppy.storage.sqlalchemy.database import Database

_T = schema.EDGE_TRAFFIC.c
_C = schema.EDGE_COUNTRIES.c
_TABLES = (schema.EDGE_TRAFFIC, schema.EDGE_COUNTRIES)


def _replace(table: sa.Table) -> sa.Update:
    key = [column for column in table.primary_key if column.name != "source"]
    return sa.update(table).where(
        table.c.source == sa.bindparam("its_source"),
        table.c.sequence < sa.bindparam("its_sequence"),
        *(column == sa.bindparam(f"its_{column.name}") for column in key),
    )


def _old(table: sa.Table) -> sa.Select[Any]:
    return (
        sa.select(table.c.source, table.c.hour)
        .where(table.c.hour < sa.bindparam("before"))
        .order_by(table.c.hour)
        .limit(sa.bindparam("page"))
    )


def _delete(table: sa.Table) -> sa.Delete:
    return sa.delete(table).where(table.c.source.in_(sa.bindparam("sources", expanding=True)))


_KNOWN = {
    table: sa.select(*(column for column in table.primary_key if column.name != "source")).where(
        table.c.source == sa.bindparam("its_source")
    )
    for table in _TABLES
}
_REPLACE = {table: _replace(table) for table in _TABLES}
_OLD = {table: _old(table) for table in _TABLES}
_DELETE = {table: _delete(table) for table in _TABLES}


def _sums(table: sa.Table) -> Sequence[sa.ColumnElement[Any]]:
    return tuple(sa.func.sum(table.c[name]) for name in Counts._fields)


def _of_domain(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.service_id == sa.bindparam("its_service_id"),
        table.c.domain == sa.bindparam("its_domain"),
        table.c.hour >= sa.bindparam("start"),
    )


_BY_HOUR = (
    sa.select(_T.hour, *_sums(schema.EDGE_TRAFFIC))
    .where(_of_domain(schema.EDGE_TRAFFIC), _T.hour < sa.bindparam("end"))
    .group_by(_T.hour)
    .order_by(_T.hour)
)
_BY_COUNTRY = (
    sa.select(_C.country, _C.hour, *_sums(schema.EDGE_COUNTRIES))
    .where(_of_domain(schema.EDGE_COUNTRIES), _C.hour < sa.bindparam("end"))
    .group_by(_C.country, _C.hour)
)
_BY_NODE = (
    sa.select(_T.node, *_sums(schema.EDGE_TRAFFIC))
    .where(_of_domain(schema.EDGE_TRAFFIC))
    .group_by(_T.node)
    .order_by(_T.node)
)


class TrafficRows(Traffic):
    """The part of the contract about figures; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_traffic(self, node: str, batch: Batch, keep: datetime.timedelta) -> None:
        """Insert the rows that are missing, and update those that are older.

        ``keep`` has no effect here: workers call :meth:`prune_traffic`.
        """
        given: dict[sa.Table, dict[tuple[str, ...], dict[str, Any]]] = {it: {} for it in _TABLES}
        for domain, counts in batch.counts.items():
            key = {"service_id": domain.service_id, "domain": domain.name}
            table = schema.EDGE_TRAFFIC
            if domain.country:
                key["country"] = domain.country
                table = schema.EDGE_COUNTRIES
            given[table][tuple(key.values())] = {
                "source": batch.source,
                **key,
                "hour": batch.hour,
                "node": node,
                "sequence": batch.sequence,
                **counts._asdict(),
            }

        def work(conn: sa.Connection) -> None:
            for table, those in given.items():
                found = conn.execute(_KNOWN[table], {"its_source": batch.source})
                missing = sorted(those.keys() - {tuple(row) for row in found})
                if missing:
                    rows.insert_missing(conn, table, [those[key] for key in missing])
                # All of them, since another transaction may have inserted older ones.
                if those:
                    conn.execute(
                        _REPLACE[table], [_this(table, those[it]) for it in sorted(those)]
                    )

        self._database.write(work)

    def traffic(self, domain: Domain, start: datetime.datetime, end: datetime.datetime) -> Hours:
        """Read a range of the index."""
        with self._database.read() as conn:
            return _hours(conn, {**_key(domain), "start": start, "end": end})

    def traffic_by_country(
        self, domain: Domain, start: datetime.datetime, end: datetime.datetime
    ) -> Mapping[str, Hours]:
        """Read a range of the index of both tables, that of countries first."""
        parameters = {**_key(domain), "start": start, "end": end}
        with self._database.read() as conn:
            found = [
                (row[0], row[1], _counts(row[1:])) for row in conn.execute(_BY_COUNTRY, parameters)
            ]
            return by_country(_hours(conn, parameters), found)

    def traffic_of_nodes(self, start: datetime.datetime) -> Mapping[str, Counts]:
        """Read the totals."""
        with self._database.read() as conn:
            found = conn.execute(_BY_NODE, {**_key(TOTAL), "start": start})
            return {row[0]: _counts(row) for row in found}

    def prune_traffic(self, before: datetime.datetime, limit: int) -> int:
        """Delete the rows of whole sources, each of which has one hour."""

        def work(conn: sa.Connection) -> int:
            # A worker of the previous release leaves the rows of countries.
            deleted = 0
            for table in _TABLES:
                page = {"before": before, "page": limit - deleted}
                found = conn.execute(_OLD[table], page).scalars().all()
                if found:
                    conn.execute(_DELETE[table], {"sources": sorted(set(found))})
                deleted += len(found)
            return deleted

        return self._database.write(work)


def _key(domain: Domain) -> dict[str, Any]:
    return {"its_service_id": domain.service_id, "its_domain": domain.name}


def _this(table: sa.Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an update."""
    names = [column.name for column in table.primary_key]
    values = {name: row[name] for name in ("sequence", *Counts._fields)}
    return {**{f"its_{name}": row[name] for name in (*names, "sequence")}, **values}


def _hours(conn: sa.Connection, parameters: Mapping[str, Any]) -> Hours:
    return [(row[0], _counts(row)) for row in conn.execute(_BY_HOUR, parameters)]


def _counts(row: Sequence[Any]) -> Counts:
    """Read the sums after the first column."""
    return Counts(*(int(value) for value in row[1:]))
