# SPDX-License-Identifier: Apache-2.0
"""Domain claims in Cassandra, apart from services' own changes (see :mod:`.claims`)."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from poppy.common import errors
from poppy.storage import domains
from poppy.storage.cassandra import claims, codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.partition import Change, ServicePartition, best_effort
from poppy.storage.cassandra.session import Database

# For operators' tools: it reads all domains.
SCAN = "SELECT domain, claim, released_at, released_by FROM domains"
PROVE = "UPDATE domains SET pending = false WHERE domain = :domain IF claim = :claim"
REVOKE = "DELETE FROM domains WHERE domain = :domain IF claim = :claim AND pending = true"
FREE = (
    "DELETE FROM domains WHERE domain = :domain IF claim = null AND released_at = :as_read "
    "AND released_by = :project_id"
)


class DomainStore(domains.DomainStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, domain: str) -> domains.Claim:
        """Read the domain's row, and the partition that must name its claim."""
        row, holder = self._read(domain)
        if holder is not None:
            service_id = holder.service_id
            return domains.Claim(domain, holder.project_id, service_id, bool(row["pending"]))
        if row["released_at"] is None:
            raise errors.NotFound(f"No service has the domain {domain}")
        at = codec.to_moment(row["released_at"])
        return domains.Claim(domain, row["released_by"], None, False, at)

    def prove(self, project_id: str, service_id: str, domain: str) -> bool:
        """Run one conditional write on the claim that the service's partition names."""
        for _ in partition.attempts():
            row, holder = self._read(domain)
            if holder is None or (holder.project_id, holder.service_id) != (
                project_id,
                service_id,
            ):
                return False
            if not row["pending"] or self._cas(PROVE, domain, claim=row["claim"]):
                return True
        raise AssertionError("attempts() ends with an error")

    def release(self, claim: domains.Claim) -> None:
        """Run one conditional write, so that proof and revocation exclude each other.

        Then remove the domain from the service's partition, so that an update claims it again. If
        the process dies before that, a name without a row remains, which all others treat as no
        claim.
        """
        row, holder = self._read(claim.domain)
        if claim.released_at is not None:
            released_at = codec.to_number(claim.released_at)
            freed = self._cas(FREE, claim.domain, as_read=released_at, project_id=claim.project_id)
        elif holder is None or holder.service_id != claim.service_id:
            freed = False
        else:
            freed = self._cas(REVOKE, claim.domain, claim=row["claim"])
        if not freed:
            raise errors.Changed(f"Domain {claim.domain} was claimed by another request")
        if holder is not None:
            self._forget(holder, claim.domain, str(row["claim"]))

    def released(self, marker: str | None, limit: int) -> Sequence[domains.Claim]:
        """Read all domains, and keep the first ones after the marker, by name."""
        behind = (
            (domain, codec.to_moment(released_at), released_by)
            for domain, claim, released_at, released_by in self._database.scan(SCAN)
            if claim is None and released_at is not None and domain > (marker or "")
        )
        return [
            domains.Claim(domain, project_id, None, False, at)
            for domain, at, project_id in heapq.nsmallest(limit, behind)
        ]

    def _read(self, domain: str) -> tuple[Mapping[str, Any], ServicePartition | None]:
        """Return the row, and the partition of the service that holds the domain, if any."""
        level = self._database.levels.claims
        rows = self._database.read(claims.READ, {"domain": domain}, level)
        row = dict(
            zip(claims.COLUMNS, rows[0] if rows else (None,) * len(claims.COLUMNS), strict=True)
        )
        if row["claim"] is None:
            return row, None
        holder = partition.read(self._database, (row["project_id"], row["service_id"]), level)
        named = holder.alive is not None and holder.claims.get(domain) == str(row["claim"])
        return row, holder if named else None

    def _forget(self, holder: ServicePartition, domain: str, token: str) -> None:
        with best_effort(claims.LOG, "Removing a revoked claim from its service"):
            for _ in partition.attempts():
                found = partition.read(self._database, (holder.project_id, holder.service_id))
                if found.alive is None or found.claims.get(domain) != token:
                    return
                kept = {name: it for name, it in found.claims.items() if name != domain}
                change = Change(found.tick(), found.alive, claims=kept)
                serial = self._database.levels.claims
                if partition.write(self._database, found, change, serial) is not None:
                    return

    def _cas(self, cql: str, domain: str, **parameters: object) -> bool:
        call = (cql, {"domain": domain, **parameters})
        try:
            return self._database.cas([call], self._database.levels.claims)[0]
        except Undecided as exc:
            raise errors.Unavailable(str(exc)) from exc
