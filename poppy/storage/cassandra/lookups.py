# SPDX-License-Identifier: Apache-2.0
"""Views of services by status and by provider URL.

The service's partition decides. A projection is written after the partition, with its clock. The
writer of a partition deletes the rows of the previous one. If it dies in between, the next reader
finds these rows stale and drops them. So a reader never sees a service under a wrong status. The
partitions of a projection are shards of a status or a URL, so that they stay small.
"""

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from poppy.model.services import Service
from poppy.storage import queries
from poppy.storage.cassandra import partition
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.session import Call, Database, Row
from poppy.storage.cassandra.views import Columns, View

SHARDS = 16


def _shard(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % SHARDS


def _by_status(service: Service) -> Iterator[Columns]:
    shard = _shard(service.service_id)
    yield {**_identify(service), "status": service.status_bucket, "shard": shard}


def _by_url(service: Service) -> Iterator[Columns]:
    for url, domain in service.provider_urls:
        shard = _shard(domain)
        yield {**_identify(service), "provider_url": url, "domain": domain, "shard": shard}


def _identify(service: Service) -> Columns:
    return {"project_id": service.project_id, "service_id": service.service_id}


STATUSES = View(
    "services_by_status", ("status", "shard"), ("service_id",), ("project_id",), _by_status
)
PROJECT_STATUSES = View(
    "services_by_project_status",
    ("project_id", "status"),
    ("service_id",),
    ("written_at",),
    _by_status,
)
URLS = View(
    "domains_by_provider_url",
    ("provider_url", "shard"),
    ("domain", "service_id"),
    ("project_id",),
    _by_url,
)
VIEWS = (STATUSES, PROJECT_STATUSES, URLS)

BY_STATUS = (
    "SELECT service_id, project_id, WRITETIME(project_id) FROM services_by_status "
    "WHERE status = :status AND shard = :shard AND service_id > :marker LIMIT :page"
)
IDS = (
    "SELECT service_id FROM services_by_status WHERE status = :status AND shard = :shard "
    "LIMIT :page"
)
BY_PROJECT_STATUS = (
    "SELECT service_id, WRITETIME(written_at) FROM services_by_project_status "
    "WHERE project_id = :project_id AND status = :status AND service_id > :marker LIMIT :page"
)
BY_URL = (
    "SELECT domain, service_id, project_id, WRITETIME(project_id) FROM domains_by_provider_url "
    "WHERE provider_url = :provider_url AND shard = :shard AND domain > :marker LIMIT :page"
)


class Entry(NamedTuple):
    """A row as read, and its clock."""

    row: Columns
    clock: int


class Lookups:
    """Writes and reads the projections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def writes(self, found: ServicePartition, before: ServicePartition | None) -> Iterator[Call]:
        """Return the writes that bring all views in line with a partition; see :class:`View`."""
        return itertools.chain.from_iterable(view.writes(found, before) for view in VIEWS)

    def by_status(
        self, status_bucket: str, marker: str | None, limit: int
    ) -> Sequence[queries.Found]:
        """Return a page of services with a status, shard by shard."""
        first = 0 if marker is None else _shard(marker)
        found: list[queries.Found] = []
        for shard in range(first, SHARDS):
            where: dict[str, object] = {"status": status_bucket, "shard": shard}
            after = marker if marker is not None and shard == first else ""
            for page in self._pages(BY_STATUS, where, after, limit - len(found)):
                read = [
                    Entry({**where, "service_id": service, "project_id": project}, clock)
                    for service, project, clock in page
                ]
                good = self._verified(read, STATUSES, PROJECT_STATUSES)
                ids = [queries.Found(it.project_id, it.service_id) for _row, it in good]
                found.extend(ids[: limit - len(found)])
                if len(found) >= limit:
                    return found
        return found

    def count(self, status_bucket: str, limit: int) -> int:
        """Count rows, unverified, shard by shard until there are enough."""
        counted = 0
        for shard in range(SHARDS):
            where = {"status": status_bucket, "shard": shard, "page": limit - counted}
            counted += len(self._database.read(IDS, where))
            if counted >= limit:
                break
        return counted

    def of_project(
        self, project_id: str, status_bucket: str, marker: str | None, limit: int
    ) -> Sequence[Service]:
        """Return a page of a project's services with a status, sorted by id."""
        where = {"project_id": project_id, "status": status_bucket}
        services: list[Service] = []
        for page in self._pages(BY_PROJECT_STATUS, where, marker or "", limit):
            read = [
                Entry({**where, "service_id": service, "shard": _shard(service)}, clock)
                for service, clock in page
            ]
            good = self._verified(read, PROJECT_STATUSES, STATUSES)
            services.extend(service for _row, service in good)
            if len(services) >= limit:
                break
        return services[:limit]

    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """Return a page of domains, merged from all shards."""
        domains: list[str] = []
        after = marker or ""
        while len(domains) < limit:
            where = {"provider_url": provider_url, "marker": after, "page": limit}
            calls = [(BY_URL, {**where, "shard": shard}) for shard in range(SHARDS)]
            shards = self._database.read_each(calls)
            rows = sorted(row for page in shards for row in page)
            full = [page[-1][0] for page in shards if len(page) >= limit]
            # Beyond this domain, a full shard may have more rows than it has returned.
            horizon = min(full) if full else None
            read = [
                Entry(
                    {
                        "provider_url": provider_url,
                        "shard": _shard(domain),
                        "domain": domain,
                        "service_id": service,
                        "project_id": project,
                    },
                    clock,
                )
                for domain, service, project, clock in rows
                if horizon is None or domain <= horizon
            ]
            domains.extend(sorted({row["domain"] for row, _service in self._verified(read, URLS)}))
            if horizon is None:
                break
            after = horizon
        return domains[:limit]

    def _pages(
        self, cql: str, where: Mapping[str, object], after: str, page: int
    ) -> Iterator[list[Row]]:
        while True:
            rows = self._database.read(cql, {**where, "marker": after, "page": page})
            yield rows
            if len(rows) < page:
                return
            after = rows[-1][0]

    def _verified(
        self, entries: Sequence[Entry], view: View, *others: View
    ) -> Iterator[tuple[Columns, Service]]:
        """Iterate over the rows that services still have, and drop the stale ones.

        Args:
            others: views with rows for the same reason.
        """
        keys = [(it.row["project_id"], it.row["service_id"]) for it in entries]
        wanted = list(dict.fromkeys(keys))
        known = dict(zip(wanted, partition.read_each(self._database, wanted), strict=True))
        stale: list[Call] = []
        for (row, clock), key in zip(entries, keys, strict=True):
            found = known[key]
            if found.alive is not None and view.shows(row, found.alive):
                yield row, found.alive
            elif found.clock >= clock:
                stale.extend(it.drop(row, clock) for it in (view, *others))
        self._database.write(stale)
