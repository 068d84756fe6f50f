# SPDX-License-Identifier: Apache-2.0
"""Domain claims in SQL, apart from services' own changes (see :mod:`.claims`)."""

from collections.abc import Sequence

import sqlalchemy as sa

from poppy.common import errors
from poppy.storage import domains
from poppy.storage.sqlalchemy import claims, schema
from poppy.storage.sqlalchemy.database import Database

_D = schema.DOMAINS.c
_THIS = _D.domain == sa.bindparam("its_name")
_HELD = sa.and_(
    _THIS, _D.project_id == sa.bindparam("project"), _D.service_id == sa.bindparam("service")
)

_GET = sa.select(schema.DOMAINS).where(_THIS)
_PROVE = sa.update(schema.DOMAINS).where(_HELD).values(pending=sa.false())
_REVOKE = sa.delete(schema.DOMAINS).where(_HELD, _D.pending == sa.true())
_FREE = sa.delete(schema.DOMAINS).where(
    _THIS,
    _D.project_id == sa.bindparam("project"),
    _D.released_at == sa.bindparam("as_read", type_=schema.Instant),
)
_RELEASED = (
    sa.select(schema.DOMAINS)
    .where(_D.released_at.is_not(None), _D.domain > sa.bindparam("marker"))
    .order_by(_D.domain)
    .limit(sa.bindparam("page"))
)


class DomainStore(domains.DomainStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, domain: str) -> domains.Claim:
        """Read the domain's row by primary key."""
        with self._database.read() as conn:
            row = conn.execute(_GET, {"its_name": domain}).first()
        if row is None:
            raise errors.NotFound(f"No service has the domain {domain}")
        return claims.to_claim(row)

    def prove(self, project_id: str, service_id: str, domain: str) -> bool:
        """Run one conditional statement."""
        held = {"its_name": domain, "project": project_id, "service": service_id}
        return self._database.write(lambda conn: conn.execute(_PROVE, held).rowcount == 1)

    def release(self, claim: domains.Claim) -> None:
        """Run one conditional statement, so that proof and revocation exclude each other."""
        parameters = {
            "its_name": claim.domain,
            "project": claim.project_id,
            "service": claim.service_id,
            "as_read": claim.released_at,
        }
        statement = _REVOKE if claim.released_at is None else _FREE
        if not self._database.write(lambda conn: conn.execute(statement, parameters).rowcount):
            raise errors.Changed(f"Domain {claim.domain} was claimed by another request")

    def released(self, marker: str | None, limit: int) -> Sequence[domains.Claim]:
        """Return a page, sorted by name."""
        with self._database.read() as conn:
            found = conn.execute(_RELEASED, {"marker": marker or "", "page": limit})
            return [claims.to_claim(row) for row in found]
