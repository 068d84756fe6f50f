# SPDX-License-Identifier: Apache-2.0
"""The figures of the nodes of the operator's own edge in SQL: a row for each source and domain."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from poppy.model.edge_traffic import TOTAL, Batch, Counts, Domain, Traffic
from poppy.storage.sqlalchemy import rows, schema
from poppy.storage.sqlalchemy.database import Database

_T = schema.EDGE_TRAFFIC.c

_KNOWN = sa.select(_T.service_id, _T.domain).where(_T.source == sa.bindparam("its_source"))
_REPLACE = sa.update(schema.EDGE_TRAFFIC).where(
    _T.source == sa.bindparam("its_source"),
    _T.service_id == sa.bindparam("its_service"),
    _T.domain == sa.bindparam("its_domain"),
    _T.sequence < sa.bindparam("its_sequence"),
)
_SUMS = tuple(sa.func.sum(_T[name]) for name in Counts._fields)
_OF_DOMAIN = sa.and_(
    _T.service_id == sa.bindparam("its_service"), _T.domain == sa.bindparam("its_domain")
)
_BY_HOUR = (
    sa.select(_T.hour, *_SUMS)
    .where(_OF_DOMAIN, _T.hour >= sa.bindparam("start"), _T.hour < sa.bindparam("end"))
    .group_by(_T.hour)
    .order_by(_T.hour)
)
_BY_NODE = (
    sa.select(_T.node, *_SUMS)
    .where(_OF_DOMAIN, _T.hour >= sa.bindparam("start"))
    .group_by(_T.node)
    .order_by(_T.node)
)
_OLD = (
    sa.select(_T.source, _T.hour)
    .where(_T.hour < sa.bindparam("before"))
    .order_by(_T.hour)
    .limit(sa.bindparam("page"))
)
_DELETE = sa.delete(schema.EDGE_TRAFFIC).where(
    _T.source.in_(sa.bindparam("sources", expanding=True))
)


class TrafficRows(Traffic):
    """The part of the contract about figures; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_traffic(self, node: str, batch: Batch, keep: datetime.timedelta) -> None:
        """Insert the rows that are missing, and update those that are older.

        ``keep`` has no effect here: workers call :meth:`prune_traffic`.
        """
        given = {
            domain: {
                "source": batch.source,
                "service_id": domain.service_id,
                "domain": domain.name,
                "hour": batch.hour,
                "node": node,
                "sequence": batch.sequence,
                **counts._asdict(),
            }
            for domain, counts in batch.counts.items()
        }

        def work(conn: sa.Connection) -> None:
            found = conn.execute(_KNOWN, {"its_source": batch.source})
            missing = sorted(given.keys() - {Domain(*row) for row in found})
            if missing:
                new = [given[domain] for domain in missing]
                rows.insert_missing(conn, schema.EDGE_TRAFFIC, new)
            # All of them, since another transaction may have inserted older ones.
            conn.execute(_REPLACE, [_this(domain, given[domain]) for domain in sorted(given)])

        self._database.write(work)

    def traffic(
        self, domain: Domain, start: datetime.datetime, end: datetime.datetime
    ) -> Sequence[tuple[datetime.datetime, Counts]]:
        """Read a range of the index."""
        parameters = {**_key(domain), "start": start, "end": end}
        with self._database.read() as conn:
            return [(row[0], _counts(row)) for row in conn.execute(_BY_HOUR, parameters)]

    def traffic_of_nodes(self, start: datetime.datetime) -> Mapping[str, Counts]:
        """Read the totals."""
        with self._database.read() as conn:
            found = conn.execute(_BY_NODE, {**_key(TOTAL), "start": start})
            return {row[0]: _counts(row) for row in found}

    def prune_traffic(self, before: datetime.datetime, limit: int) -> int:
        """Delete the rows of whole sources, each of which has one hour."""

        def work(conn: sa.Connection) -> int:
            found = conn.execute(_OLD, {"before": before, "page": limit}).scalars().all()
            if found:
                conn.execute(_DELETE, {"sources": sorted(set(found))})
            return len(found)

        return self._database.write(work)


def _key(domain: Domain) -> dict[str, Any]:
    return {"its_service": domain.service_id, "its_domain": domain.name}


def _this(domain: Domain, row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: row[name] for name in Counts._fields}
    number = row["sequence"]
    this = {**_key(domain), "its_source": row["source"], "its_sequence": number}
    return {**this, **counts, "sequence": number}


def _counts(row: sa.Row[Any]) -> Counts:
    sums: Sequence[Any] = row[1:]
    return Counts(*(int(value) for value in sums))
