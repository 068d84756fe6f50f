# SPDX-License-Identifier: Apache-2.0
"""Consequences of the partition: projections, and the release of what a removed service held.

Any process that has read the partition can repeat all of this at any time.
"""

from collections.abc import Iterable

from poppy.storage.cassandra import codec
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.flavor_references import FlavorReferences
from poppy.storage.cassandra.lookups import Lookups
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.quota import Quota
from poppy.storage.cassandra.session import Call, Database
from poppy.storage.cassandra.views import View

PROJECTS = View("services_by_project", ("project_id",), ("service_id",), ("document",))
ARCHIVE = View("services_archive", ("project_id",), ("service_id",), ("document",))
LIST = (
    "SELECT service_id, document FROM services_by_project "
    "WHERE project_id = :project_id AND service_id > :marker LIMIT :page"
)


class Projections:
    """Brings everything in line with a service's partition."""

    def __init__(
        self,
        database: Database,
        claims: Claims,
        quota: Quota,
        references: FlavorReferences,
        lookups: Lookups,
    ) -> None:
        self._database = database
        self._lookups = lookups
        self._claims = claims
        self._quota = quota
        self._references = references

    def refresh(
        self,
        current: ServicePartition,
        before: ServicePartition | None = None,
        along: Iterable[Call] = (),
    ) -> None:
        """Update everything after a change of the partition.

        Args:
            before: the partition that it replaced, if known.
            along: other writes to send along.

        Raises:
            Unavailable: some of it may not have been done.
        """
        if current.service is None:
            return
        row = {**current.identity, "document": codec.document_of(current.service)}
        indexed = self._lookups.writes(current, before)
        if current.removed_at is None:
            self._database.write([PROJECTS.add(row, current.clock), *indexed, *along])
            return
        moved = [PROJECTS.drop(row, current.clock), ARCHIVE.add(row, current.clock)]
        self._database.write([*moved, *indexed, *along])
        self._claims.release_all(current)
        self._quota.give_back(current.project_id, current.service_id)
        self._references.drop(current, current.service.spec.flavor_id)
