# SPDX-License-Identifier: Apache-2.0
"""The figures of the nodes of the operator's own edge in Cassandra.

The timestamp of a write is the sequence of its sums, so an earlier one that arrives late has no
effect. Rows expire. A partition has one day of a domain.
"""

import datetime
from collections.abc import Iterator, Mapping

from poppy.model.edge_traffic import TOTAL, Batch, Counts, Domain, Hours, Traffic, by_country
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.session import Call, Database

_DAY = 86_400_000_000
"""Microseconds."""

_COUNTS = ", ".join(Counts._fields)
PUT = (
    f"INSERT INTO edge_traffic (service_id, domain, day, hour, node, source, {_COUNTS}) VALUES "
    f"(:service_id, :domain, :day, :hour, :node, :source, "
    f"{', '.join(f':{name}' for name in Counts._fields)}) USING TIMESTAMP :sequence AND TTL :ttl"
)
PUT_COUNTRY = (
    "INSERT INTO edge_countries (service_id, domain, day, hour, country, node, source, "
    f"{_COUNTS}) VALUES (:service_id, :domain, :day, :hour, :country, :node, :source, "
    f"{', '.join(f':{name}' for name in Counts._fields)}) USING TIMESTAMP :sequence AND TTL :ttl"
)
_PART = "WHERE service_id = :service_id AND domain = :domain AND day = :day"
_WITHIN = f"{_PART} AND hour >= :start AND hour < :end"
BY_HOUR = f"SELECT hour, {_COUNTS} FROM edge_traffic {_WITHIN}"
BY_COUNTRY = f"SELECT country, hour, {_COUNTS} FROM edge_countries {_WITHIN}"
BY_NODE = f"SELECT node, {_COUNTS} FROM edge_traffic {_PART} AND hour >= :start"


class TrafficRows(Traffic):
    """The part of the contract about figures; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_traffic(self, node: str, batch: Batch, keep: datetime.timedelta) -> None:
        """Insert rows that expire."""
        hour = codec.to_number(batch.hour)
        same = {
            "day": hour // _DAY,
            "hour": hour,
            "node": node,
            "source": batch.source,
            "sequence": batch.sequence,
            "ttl": int(keep.total_seconds()),
        }
        self._database.write(
            (PUT_COUNTRY, {**_key(domain), "country": domain.country, **same, **counts._asdict()})
            if domain.country
            else (PUT, {**_key(domain), **same, **counts._asdict()})
            for domain, counts in batch.counts.items()
        )

    def traffic(self, domain: Domain, start: datetime.datetime, end: datetime.datetime) -> Hours:
        """Read the partition of each day."""
        found: dict[int, Counts] = {}
        for rows in self._database.read_each(_by_day(BY_HOUR, domain, start, end)):
            for hour, *counts in rows:
                found[hour] = found.get(hour, Counts()).plus(Counts(*counts))
        return [(codec.to_moment(hour), found[hour]) for hour in sorted(found)]

    def traffic_by_country(
        self, domain: Domain, start: datetime.datetime, end: datetime.datetime
    ) -> Mapping[str, Hours]:
        """Read the partitions of each day of both tables."""
        parts = [
            (country, codec.to_moment(hour), Counts(*counts))
            for rows in self._database.read_each(_by_day(BY_COUNTRY, domain, start, end))
            for country, hour, *counts in rows
        ]
        return by_country(self.traffic(domain, start, end), parts)

    def traffic_of_nodes(self, start: datetime.datetime) -> Mapping[str, Counts]:
        """Read the totals of a day and the next one."""
        first = codec.to_number(start)
        calls: Iterator[Call] = (
            (BY_NODE, {**_key(TOTAL), "day": first // _DAY + more, "start": first})
            for more in range(2)
        )
        found: dict[str, Counts] = {}
        for rows in self._database.read_each(calls):
            for node, *counts in rows:
                found[node] = found.get(node, Counts()).plus(Counts(*counts))
        return found

    def prune_traffic(self, before: datetime.datetime, limit: int) -> int:
        """Do nothing: rows expire."""
        return 0


def _by_day(
    query: str, domain: Domain, start: datetime.datetime, end: datetime.datetime
) -> Iterator[Call]:
    """Yield a query of each day's partition."""
    first, last = codec.to_number(start), codec.to_number(end)
    for day in range(first // _DAY, (last - 1) // _DAY + 1):
        yield query, {**_key(domain), "day": day, "start": first, "end": last}


def _key(domain: Domain) -> dict[str, str]:
    return {"service_id": domain.service_id, "domain": domain.name}
