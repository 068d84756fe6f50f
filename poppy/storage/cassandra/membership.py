# SPDX-License-Identifier: Apache-2.0
"""Workers and circuit breakers in Cassandra: one small partition each."""

import datetime
import json
from collections.abc import Sequence

from poppy.model.membership import Breaker, Worker
from poppy.storage import membership
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.session import Database

SHELF = 0

BEAT = (
    "INSERT INTO workers (shelf, worker_id, document) VALUES (:shelf, :worker_id, :document) "
    "USING TTL :ttl"
)
LEAVE = "DELETE FROM workers WHERE shelf = :shelf AND worker_id = :worker_id"
WORKERS = "SELECT document FROM workers WHERE shelf = :shelf"
BREAKERS = "SELECT driver, version, document FROM breakers WHERE shelf = :shelf"
ADD = (
    "INSERT INTO breakers (shelf, driver, version, document) "
    "VALUES (:shelf, :driver, :version, :document) IF NOT EXISTS"
)
SWAP = (
    "UPDATE breakers SET version = :version, document = :document "
    "WHERE shelf = :shelf AND driver = :driver IF version = :as_read"
)


class MembershipStore(membership.MembershipStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, worker: Worker) -> None:
        """Write a row that expires."""
        row = {
            "shelf": SHELF,
            "worker_id": worker.worker_id,
            "document": codec.to_text(worker.to_dict()),
            "ttl": membership.FORGOTTEN * 86400,
        }
        self._database.write([(BEAT, row)])

    def leave(self, worker_id: str) -> None:
        """Delete a row."""
        self._database.write([(LEAVE, {"shelf": SHELF, "worker_id": worker_id})])

    def workers(self, since: datetime.datetime) -> Sequence[Worker]:
        """Read all rows of a small partition."""
        rows = self._database.read(WORKERS, {"shelf": SHELF})
        found = [Worker.from_dict(json.loads(document)) for (document,) in rows]
        return sorted(
            (worker for worker in found if worker.seen_at >= since),
            key=lambda worker: (worker.host, worker.pid),
        )

    def breakers(self) -> Sequence[Breaker]:
        """Read all rows of a small partition."""
        return [
            Breaker.from_dict(driver, version, json.loads(document))
            for driver, version, document in self._database.read(BREAKERS, {"shelf": SHELF})
        ]

    def swap(self, breaker: Breaker) -> bool:
        """Run one conditional write.

        Raises:
            Unavailable: it may or may not have been stored.
        """
        as_read = breaker.version - 1
        row = {
            "shelf": SHELF,
            "driver": breaker.driver,
            "version": breaker.version,
            "document": codec.to_text(breaker.to_dict()),
        }
        call = (SWAP, {**row, "as_read": as_read}) if as_read else (ADD, row)
        applied, _found = self._database.cas([call], self._database.levels.operations)
        return applied
