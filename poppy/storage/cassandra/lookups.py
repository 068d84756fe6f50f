# SPDX-License-Identifier: Apache-2.0
"""Projections by status and by provider URL, which say where to look.

The service's partition decides. A projection is written after the partition, with its clock. The
writer of a partition deletes the rows of the previous one. If it dies in between, the next reader
finds these rows stale and drops them. So a reader never sees a service under a wrong status. The
partitions of a projection are shards of a status or a URL, so that they stay small.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from poppy.model.services import Service
from poppy.storage.cassandra import partition
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.session import Call, Database, Row

SHARDS = 16

PUT_STATUS = (
    "INSERT INTO services_by_status (status, shard, service_id, project_id) "
    "VALUES (:status, :shard, :service_id, :project_id) USING TIMESTAMP :clock"
)
DELETE_STATUS = (
    "DELETE FROM services_by_status USING TIMESTAMP :clock "
    "WHERE status = :status AND shard = :shard AND service_id = :service_id"
)
PUT_PROJECT_STATUS = (
    "INSERT INTO services_by_project_status (project_id, status, service_id, written_at) "
    "VALUES (:project_id, :status, :service_id, :clock) USING TIMESTAMP :clock"
)
DELETE_PROJECT_STATUS = (
    "DELETE FROM services_by_project_status USING TIMESTAMP :clock "
    "WHERE project_id = :project_id AND status = :status AND service_id = :service_id"
)
PUT_URL = (
    "INSERT INTO domains_by_provider_url (provider_url, shard, domain, service_id, project_id) "
    "VALUES (:provider_url, :shard, :domain, :service_id, :project_id) USING TIMESTAMP :clock"
)
DELETE_URL = (
    "DELETE FROM domains_by_provider_url USING TIMESTAMP :clock WHERE provider_url = "
    ":provider_url AND shard = :shard AND domain = :domain AND service_id = :service_id"
)
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
    """A row of a projection, as read."""

    project_id: str
    service_id: str
    clock: int
    domain: str = ""


class Lookups:
    """Writes and reads the projections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def writes(self, found: ServicePartition, before: ServicePartition | None) -> Iterator[Call]:
        """Return the writes that bring the projections in line with a partition.

        Args:
            before: the partition that it replaced, if known.
        """
        now = found.alive
        known = [it.service for it in (before, found) if it is not None and it.service]
        for status_bucket in {it.status_bucket for it in known} - (
            {now.status_bucket} if now else set()
        ):
            yield from self._drop_status(found, status_bucket, found.clock)
        urls = {pair for it in known for pair in it.provider_urls}
        for url, domain in urls - (now.provider_urls if now else set()):
            yield self._drop_url(found, url, domain, found.clock)
        if now is not None:
            yield from self._puts(found, now)

    def by_status(self, status_bucket: str, marker: str | None, limit: int) -> Sequence[Entry]:
        """Return a page of services with a status, shard by shard."""
        first = 0 if marker is None else _shard(marker)
        entries: list[Entry] = []
        for shard in range(first, SHARDS):
            where: dict[str, object] = {"status": status_bucket, "shard": shard}
            after = marker if marker is not None and shard == first else ""
            for page in self._pages(BY_STATUS, where, after, limit - len(entries)):
                read = [Entry(project, service, clock) for service, project, clock in page]
                good = [entry for entry, _ in self._verified_statuses(status_bucket, read)]
                entries.extend(good[: limit - len(entries)])
                if len(entries) >= limit:
                    return entries
        return entries

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
            read = [Entry(project_id, service_id, clock) for service_id, clock in page]
            services.extend(service for _, service in self._verified_statuses(status_bucket, read))
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
                Entry(project, service, clock, domain)
                for domain, service, project, clock in rows
                if horizon is None or domain <= horizon
            ]
            found = {entry.domain for entry in self._verified_urls(provider_url, read)}
            domains.extend(sorted(found))
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

    def _verified_statuses(
        self, status_bucket: str, entries: Sequence[Entry]
    ) -> Iterator[tuple[Entry, Service]]:
        stale: list[Call] = []
        for entry, found in zip(entries, self._truths(entries), strict=True):
            if found.alive is not None and found.alive.status_bucket == status_bucket:
                yield entry, found.alive
            elif found.clock >= entry.clock:
                stale.extend(self._drop_status(found, status_bucket, entry.clock))
        self._database.write(stale)

    def _verified_urls(self, url: str, entries: Sequence[Entry]) -> Iterator[Entry]:
        stale: list[Call] = []
        for entry, found in zip(entries, self._truths(entries), strict=True):
            if found.alive is not None and (url, entry.domain) in found.alive.provider_urls:
                yield entry
            elif found.clock >= entry.clock:
                stale.append(self._drop_url(found, url, entry.domain, entry.clock))
        self._database.write(stale)

    def _truths(self, entries: Iterable[Entry]) -> list[ServicePartition]:
        keys = [(entry.project_id, entry.service_id) for entry in entries]
        wanted = list(dict.fromkeys(keys))
        found = dict(zip(wanted, partition.read_each(self._database, wanted), strict=True))
        return [found[key] for key in keys]

    @staticmethod
    def _puts(found: ServicePartition, service: Service) -> Iterator[Call]:
        row = {**found.identity, "clock": found.clock}
        status = {**row, "status": service.status_bucket}
        yield PUT_STATUS, {**status, "shard": _shard(service.service_id)}
        yield PUT_PROJECT_STATUS, status
        for url, domain in service.provider_urls:
            yield PUT_URL, {**row, "provider_url": url, "domain": domain, "shard": _shard(domain)}

    @staticmethod
    def _drop_status(found: ServicePartition, status_bucket: str, clock: int) -> Iterator[Call]:
        key = {"service_id": found.service_id, "status": status_bucket, "clock": clock}
        yield DELETE_STATUS, {**key, "shard": _shard(found.service_id)}
        yield DELETE_PROJECT_STATUS, {**key, "project_id": found.project_id}

    @staticmethod
    def _drop_url(found: ServicePartition, url: str, domain: str, clock: int) -> Call:
        return DELETE_URL, {
            "provider_url": url,
            "shard": _shard(domain),
            "domain": domain,
            "service_id": found.service_id,
            "clock": clock,
        }


def _shard(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % SHARDS
