# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: claims, like those to domains, that name the service to create.

A key is claimed before the service's partition is written, and counts once that exists. A key
without its service is an orphan: its writer died, failed, or is still on its way. It is taken over
behind a fence. So of a request and its repetition, however they overlap, one creates a service.
"""

import time
from typing import Any

from poppy.common import errors
from poppy.storage.cassandra import partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.session import Database
from poppy.storage.services import IdempotencyKey

CLAIM = (
    "INSERT INTO idempotency_keys (project_id, value, fingerprint, service_id) "
    "VALUES (:project_id, :value, :fingerprint, :service_id) IF NOT EXISTS USING TTL :ttl"
)
TAKE_OVER = (
    "UPDATE idempotency_keys USING TTL :ttl SET fingerprint = :fingerprint, "
    "service_id = :service_id WHERE project_id = :project_id AND value = :value "
    "IF service_id = :as_read"
)
RELEASE = (
    "DELETE FROM idempotency_keys WHERE project_id = :project_id AND value = :value "
    "IF service_id = :service_id"
)
READ = (
    "SELECT service_id, fingerprint FROM idempotency_keys "
    "WHERE project_id = :project_id AND value = :value"
)


class Keys:
    """Claims and looks up keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, project_id: str, key: IdempotencyKey) -> str | None:
        """Implement :meth:`ServiceStore.created_by`."""
        known = self._read(project_id, key, self._database.levels.wide)
        if known is None or self._read_partition(project_id, known[0]).service is None:
            return None
        return _checked(known, key)

    def claim(self, owner: ServicePartition, key: IdempotencyKey) -> None:
        """Claim a key for a service that is about to be created.

        Raises:
            Repeated: the key has already created a service.
            KeyReused: the key was used for a different request.
        """
        row = {
            **owner.identity,
            "value": key.value,
            "fingerprint": key.fingerprint,
            "ttl": max(1, int(key.expires_at.timestamp() - time.time())),
        }
        serial = self._database.levels.claims
        call: tuple[str, dict[str, Any]] = (CLAIM, row)
        for _ in partition.attempts():
            try:
                if self._database.cas([call], serial)[0]:
                    return
            except Undecided:
                pass  # the serial read below completes it
            known = self._read(owner.project_id, key, serial)
            if known is None:
                call = (CLAIM, row)
                continue
            if known[0] == owner.service_id:
                return
            found = self._read_partition(owner.project_id, known[0])
            if found.service is not None:
                raise errors.Repeated(_checked(known, key))
            if found.removed_at is not None or partition.fence(self._database, found):
                call = (TAKE_OVER, {**row, "as_read": known[0]})

    def release(self, owner: ServicePartition, key: IdempotencyKey) -> None:
        """Release the key of a refused service."""
        parameters = {**owner.identity, "value": key.value}
        self._database.cas([(RELEASE, parameters)], self._database.levels.claims)

    def _read_partition(self, project_id: str, service_id: str) -> ServicePartition:
        return partition.read(
            self._database, (project_id, service_id), self._database.levels.claims
        )

    def _read(self, project_id: str, key: IdempotencyKey, level: int) -> tuple[str, str] | None:
        where = {"project_id": project_id, "value": key.value}
        rows = self._database.read(READ, where, level)
        return (rows[0][0], rows[0][1]) if rows and rows[0][0] else None


def _checked(known: tuple[str, str], key: IdempotencyKey) -> str:
    service_id, fingerprint = known
    if fingerprint != key.fingerprint:
        raise errors.KeyReused
    return service_id
