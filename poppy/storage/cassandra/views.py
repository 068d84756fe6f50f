# SPDX-License-Identifier: Apache-2.0
"""What follows from the truth: views, and the end of what a removed service had.

All of this can be done again at any time, by anyone who has read the truth.
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
    """Brings everything into agreement with a service's truth."""

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
        """After any change of the truth.

        Args:
            before: the truth that it took the place of, if that is known.
            along: other writes that wait for an opportunity.

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
