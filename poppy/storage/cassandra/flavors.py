# SPDX-License-Identifier: Apache-2.0
"""Flavors in Cassandra."""

import json
import time
import uuid
from collections.abc import Sequence

from poppy.common import errors
from poppy.model.flavors import Flavor
from poppy.storage import flavors as contract
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.flavor_references import (
    READ_FLAVOR,
    SHELF,
    FlavorReference,
    FlavorReferences,
)
from poppy.storage.cassandra.session import Database

CREATE = (
    "INSERT INTO flavors (shelf, flavor_id, document) VALUES (:shelf, :flavor_id, :document) "
    "IF NOT EXISTS"
)
LIST = "SELECT document FROM flavors WHERE shelf = :shelf"
# The mark expires if its process dies, so that services can use the flavor again.
MARK = (
    "UPDATE flavors USING TTL 300 SET deleting = :mark "
    "WHERE shelf = :shelf AND flavor_id = :flavor_id IF document != NULL"
)
UNMARK = (
    "UPDATE flavors SET deleting = NULL WHERE shelf = :shelf AND flavor_id = :flavor_id "
    "IF deleting = :mark"
)
DELETE = "DELETE FROM flavors WHERE shelf = :shelf AND flavor_id = :flavor_id IF deleting = :mark"

_PATIENCE = 60.0
"""Seconds in which a delete must finish; much less than the lifetime of the mark."""


class FlavorStore(contract.FlavorStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database, references: FlavorReferences) -> None:
        self._database = database
        self._references = references

    def create(self, flavor: Flavor) -> None:
        """Store a flavor. ``IF NOT EXISTS`` decides between concurrent creates.

        A create with an unknown outcome raises Unavailable. When it is repeated, it may report
        that the flavor already exists: the one that it created.
        """
        document = codec.to_text(flavor.to_dict())
        parameters = {"shelf": SHELF, "flavor_id": flavor.flavor_id, "document": document}
        applied, _found = self._database.cas([(CREATE, parameters)], self._database.levels.claims)
        if not applied:
            raise errors.InvalidRequest(f"Flavor {flavor.flavor_id} already exists")

    def get(self, flavor_id: str) -> Flavor:
        """Read a flavor by primary key."""
        document = self._read(flavor_id)
        if document is None:
            raise _not_found(flavor_id)
        return Flavor.from_dict(json.loads(document))

    def list(self) -> Sequence[Flavor]:
        """Read all flavors, sorted by id: one partition, in byte order."""
        rows = self._database.read(LIST, {"shelf": SHELF})
        return [Flavor.from_dict(json.loads(row[0])) for row in rows if row[0]]

    def delete(self, flavor_id: str) -> None:
        """Delete a flavor, but never one that a service uses; see :mod:`.flavor_references`.

        Uses that match no partition are dropped on the way. New services can't use a flavor that
        is being deleted; they can again if the delete is refused.
        """
        mark = uuid.uuid4()
        key = {"shelf": SHELF, "flavor_id": flavor_id, "mark": mark}
        begun = time.monotonic()
        if not self._cas(MARK, key):
            raise _not_found(flavor_id)
        for use in self._references.of(flavor_id):
            if self._is_real(flavor_id, use):
                self._cas(UNMARK, key)
                raise errors.InUse(f"Flavor {flavor_id} is used by a service")
            self._references.forget(flavor_id, use)
        if time.monotonic() - begun > _PATIENCE:
            raise errors.Unavailable(f"Deleting flavor {flavor_id} took too long")
        if not self._cas(DELETE, key):
            # Another delete has replaced the mark, and may have finished.
            if self._read(flavor_id) is None:
                raise _not_found(flavor_id)
            raise errors.Unavailable(f"Flavor {flavor_id} is being deleted by another request")

    def _is_real(self, flavor_id: str, use: FlavorReference) -> bool:
        for _ in partition.attempts():
            key = (use.project_id, use.service_id)
            found = partition.read(self._database, key, self._database.levels.claims)
            if found.alive is not None and found.alive.spec.flavor_id == flavor_id:
                return True
            if found.removed_at is not None or partition.fence(self._database, found, use.clock):
                return False
        raise AssertionError("attempts() ends with an error")

    def _cas(self, cql: str, parameters: dict[str, object]) -> bool:
        try:
            return self._database.cas([(cql, parameters)], self._database.levels.claims)[0]
        except Undecided as exc:
            raise errors.Unavailable(str(exc)) from exc

    def _read(self, flavor_id: str) -> str | None:
        rows = self._database.read(READ_FLAVOR, {"shelf": SHELF, "flavor_id": flavor_id})
        document: str | None = rows[0][0] if rows else None
        return document


def _not_found(flavor_id: str) -> errors.NotFound:
    return errors.NotFound(f"There is no flavor {flavor_id}")
