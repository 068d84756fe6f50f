# SPDX-License-Identifier: Apache-2.0
"""Flavors in SQL."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.model.flavors import Flavor
from poppy.storage import flavors as contract
from poppy.storage.sqlalchemy import schema
from poppy.storage.sqlalchemy.database import Database

_F = schema.FLAVORS.c

_THIS = _F.flavor_id == sa.bindparam("flavor")
_ADD = sa.insert(schema.FLAVORS)
_GET = sa.select(_F.document).where(_THIS)
_LIST = sa.select(_F.document).order_by(_F.flavor_id)
_DELETE = sa.delete(schema.FLAVORS).where(_THIS)


class FlavorStore(contract.FlavorStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, flavor: Flavor) -> None:
        """Store a flavor. The primary key decides between concurrent creates."""
        row = {"flavor_id": flavor.flavor_id, "document": flavor.to_dict()}

        def work(conn: sa.Connection) -> None:
            try:
                conn.execute(_ADD, row)
            except sa_exc.IntegrityError as exc:
                raise errors.InvalidRequest(f"Flavor {flavor.flavor_id} already exists") from exc

        self._database.write(work)

    def get(self, flavor_id: str) -> Flavor:
        """Read a flavor by primary key."""
        with self._database.read() as conn:
            row = conn.execute(_GET, {"flavor": flavor_id}).first()
        if row is None:
            raise _not_found(flavor_id)
        return Flavor.from_dict(row.document)

    def list(self) -> Sequence[Flavor]:
        """Read all flavors, sorted by id."""
        with self._database.read() as conn:
            return [Flavor.from_dict(row.document) for row in conn.execute(_LIST)]

    def delete(self, flavor_id: str) -> None:
        """Delete a flavor. The services' foreign key refuses while it is in use."""

        def work(conn: sa.Connection) -> None:
            try:
                result = conn.execute(_DELETE, {"flavor": flavor_id})
            except sa_exc.IntegrityError as exc:
                raise errors.InUse(f"Flavor {flavor_id} is used by a service") from exc
            if result.rowcount == 0:
                raise _not_found(flavor_id)

        self._database.write(work)


def _not_found(flavor_id: str) -> errors.NotFound:
    return errors.NotFound(f"There is no flavor {flavor_id}")
