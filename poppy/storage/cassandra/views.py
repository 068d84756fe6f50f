# SPDX-License-Identifier: Apache-2.0
"""Consequences of the truth: views, and the release of what a removed service held.

Any process that has read the truth can repeat all of this at any time.
"""

from collections.abc import Iterable

from poppy.storage.cassandra import codec
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.index import Index
from poppy.storage.cassandra.places import Places
from poppy.storage.cassandra.session import Call, Database
from poppy.storage.cassandra.truth import Truth
from poppy.storage.cassandra.uses import Uses

PUT = (
    "INSERT INTO services_by_project (project_id, service_id, document) "
    "VALUES (:project_id, :service_id, :document) USING TIMESTAMP :clock"
)
DELETE = (
    "DELETE FROM services_by_project USING TIMESTAMP :clock "
    "WHERE project_id = :project_id AND service_id = :service_id"
)
ARCHIVE = (
    "INSERT INTO services_archive (project_id, service_id, document) "
    "VALUES (:project_id, :service_id, :document) USING TIMESTAMP :clock"
)
LIST = (
    "SELECT service_id, document FROM services_by_project "
    "WHERE project_id = :project_id AND service_id > :marker LIMIT :page"
)


class Views:
    """Brings everything in line with a service's truth."""

    def __init__(
        self, database: Database, claims: Claims, places: Places, uses: Uses, index: Index
    ) -> None:
        self._database = database
        self._index = index
        self._claims = claims
        self._places = places
        self._uses = uses

    def refresh(
        self, truth: Truth, before: Truth | None = None, along: Iterable[Call] = ()
    ) -> None:
        """Update everything after a change of the truth.

        Args:
            before: the truth that it replaced, if known.
            along: other writes to send along.

        Raises:
            Unavailable: some of it may not have been done.
        """
        if truth.service is None:
            return
        key = {**truth.identity, "clock": truth.clock}
        document = codec.document_of(truth.service)
        indexed = self._index.writes(truth, before)
        if truth.removed_at is None:
            self._database.write([(PUT, {**key, "document": document}), *indexed, *along])
            return
        archived = (ARCHIVE, {**key, "document": document})
        self._database.write([(DELETE, key), archived, *indexed, *along])
        self._claims.release_all(truth)
        self._places.give_back(truth.project_id, truth.service_id)
        self._uses.drop(truth, truth.service.spec.flavor_id)
