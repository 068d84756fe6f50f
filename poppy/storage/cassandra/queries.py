# SPDX-License-Identifier: Apache-2.0
"""Limits, admin searches and documents in Cassandra."""

import json
from collections.abc import Sequence
from typing import Any

from poppy.common import errors
from poppy.model.services import Service
from poppy.storage import queries
from poppy.storage.cassandra import claims, codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.lookups import Lookups
from poppy.storage.cassandra.session import Call, Database

GET_PROJECT = (
    "SELECT service_id, service_limit, services FROM places "
    "WHERE project_id = :project_id AND service_id = ''"
)
# Includes the row that makes the static column readable by its key; see places.
SET_LIMIT = (
    "INSERT INTO places (project_id, service_id, service_limit) "
    "VALUES (:project_id, '', :service_limit)"
)
GET_DOCUMENT = "SELECT content, version FROM documents WHERE name = :name"
ADD_DOCUMENT = (
    "INSERT INTO documents (name, content, version) VALUES (:name, :content, :version) "
    "IF NOT EXISTS"
)
PUT_DOCUMENT = (
    "UPDATE documents SET content = :content, version = :version WHERE name = :name "
    "IF version = :as_read"
)


class ProjectStore(queries.ProjectStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get_limit(self, project_id: str) -> int | None:
        """Read a static column of the project's places."""
        return self._read(project_id)[0]

    def count(self, project_id: str) -> int:
        """Read a static column of the project's places."""
        return self._read(project_id)[1] or 0

    def set_limit(self, project_id: str, limit: int) -> None:
        """Write the static column. Of concurrent writes, the later one wins."""
        parameters = {"project_id": project_id, "service_limit": limit}
        self._database.write([(SET_LIMIT, parameters)], self._database.levels.wide)

    def _read(self, project_id: str) -> tuple[int | None, int | None]:
        parameters = {"project_id": project_id}
        rows = self._database.read(GET_PROJECT, parameters, self._database.levels.wide)
        return (rows[0][1], rows[0][2]) if rows else (None, None)


class QueryStore(queries.QueryStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._database = database
        self._lookups = lookups

    def by_status(
        self, status_bucket: str, marker: str | None, limit: int
    ) -> Sequence[queries.Found]:
        """Read a page of a projection and verify it against the partition."""
        return self._lookups.by_status(status_bucket, marker, limit)

    def count(self, status_bucket: str, limit: int) -> int:
        """Count the rows of a projection."""
        return self._lookups.count(status_bucket, limit)

    def by_claim(self, claim: str) -> Service:
        """Read the claim, and the partition that must name it."""
        rows = self._database.read(claims.READ, {"domain": claim})
        if rows and rows[0][2] is not None:
            project_id, service_id, token = rows[0][:3]
            found = partition.read(self._database, (project_id, service_id))
            if found.alive is not None and found.claims.get(claim) == str(token):
                return found.alive
        raise errors.NotFound(f"No service claims {claim}")

    def domains_at(self, provider_url: str, marker: str | None, limit: int) -> Sequence[str]:
        """Read a page of a projection and verify it against the partition."""
        return self._lookups.domains_at(provider_url, marker, limit)


class DocumentStore(queries.DocumentStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> queries.Document:
        """Read a document: one row."""
        rows = self._database.read(GET_DOCUMENT, {"name": name}, self._database.levels.wide)
        if not rows:
            return queries.Document(None, 0)
        return queries.Document(json.loads(rows[0][0]), rows[0][1])

    def put(self, name: str, content: Any, version: int) -> None:
        """Run one conditional write.

        Raises:
            Unavailable: it may or may not have been written. If it was, a repetition raises
                Changed.
        """
        row = {"name": name, "content": codec.to_text(content), "version": version + 1}
        call: Call = (ADD_DOCUMENT, row)
        if version:
            call = (PUT_DOCUMENT, {**row, "as_read": version})
        try:
            applied, _found = self._database.cas([call], self._database.levels.claims)
        except Undecided as exc:
            raise errors.Unavailable(str(exc)) from exc
        if not applied:
            raise errors.Changed(f"{name} was changed by another request")
