# SPDX-License-Identifier: Apache-2.0
"""Which services use, or are about to use, a flavor.

A service's use is written before its partition, and *then* the flavor is read. A delete marks the
flavor and *then* reads its uses. Both happen at a quorum of all replicas, so at least one of the
two sees the other. If the delete sees the use, the service's partition decides: either the
partition came first (the flavor is in use) or the fence did (the service is refused).
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from poppy.common import errors
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.partition import ServicePartition
from poppy.storage.cassandra.session import Database
from poppy.storage.cassandra.views import View

SHARDS = 16
SHELF = 0
"""All flavors share one partition: they are few, and listed as often as they change."""

ROWS = View("flavor_uses", ("flavor_id", "shard"), ("project_id", "service_id"), ("written_at",))
LIST = (
    "SELECT project_id, service_id, WRITETIME(written_at) FROM flavor_uses "
    "WHERE flavor_id = :flavor_id AND shard = :shard"
)
READ_FLAVOR = (
    "SELECT document, deleting FROM flavors WHERE shelf = :shelf AND flavor_id = :flavor_id"
)


class FlavorReference(NamedTuple):
    """A use as read."""

    project_id: str
    service_id: str
    clock: int


class FlavorReferences:
    """Writes and reads uses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, current: ServicePartition, flavor_id: str, clock: int) -> None:
        """Record that a service is about to use a flavor.

        Args:
            clock: the clock of the service's coming partition.

        Raises:
            InvalidRequest: the flavor does not exist, or no longer exists.
        """
        row = {**_key(current, flavor_id), "written_at": codec.now()}
        self._database.write([ROWS.add(row, clock)], self._database.levels.wide)
        key = {"shelf": SHELF, "flavor_id": flavor_id}
        rows = self._database.read(READ_FLAVOR, key, self._database.levels.wide)
        if not rows or rows[0][0] is None or rows[0][1] is not None:
            raise errors.InvalidRequest(f"There is no flavor {flavor_id}")

    def drop(self, current: ServicePartition, flavor_id: str) -> None:
        """Record that a service does not use a flavor, as of its partition's clock."""
        self._database.write([ROWS.drop(_key(current, flavor_id), current.clock)])

    def forget(self, flavor_id: str, use: FlavorReference) -> None:
        """Delete a use as read. If it has been written again, its clock is later and it stays."""
        current = ServicePartition(use.project_id, use.service_id, clock=use.clock)
        self.drop(current, flavor_id)

    def of(self, flavor_id: str) -> Iterator[FlavorReference]:
        """Iterate over all uses of a flavor."""
        for shard in range(SHARDS):
            parameters = {"flavor_id": flavor_id, "shard": shard}
            for row in self._database.read(LIST, parameters, self._database.levels.wide):
                yield FlavorReference(*row)


def _key(current: ServicePartition, flavor_id: str) -> dict[str, object]:
    shard = zlib.crc32(current.service_id.encode()) % SHARDS
    return {**current.identity, "flavor_id": flavor_id, "shard": shard}
