# SPDX-License-Identifier: Apache-2.0
"""Domain claims of services, held and released.

A claim is a row of ``domains`` with a random token, created by ``INSERT ... IF NOT EXISTS``. Of
two concurrent claims, in any data centres, Paxos over all replicas (SERIAL) admits one. A claim is
written before the partition of its service names its token, and counts once that does. A claim
with a token that no partition names is an orphan: its writer died, or is still on its way. See
:mod:`.partition` for how orphans are dropped. If two requests take one over, ``IF claim = <as
read>`` again admits one.

``released_at`` and ``released_by`` describe the last release. A later claim leaves them unchanged,
so a request that claims a domain in quarantine and then fails does not end the quarantine. When an
update drops a domain, they are set *before* the partition stops naming it: if the process dies in
between, the resulting orphan is in quarantine. The claims of a removed service need no such stamp,
because its partition records when it was removed.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oslo_log import log

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.model.services import Service
from poppy.storage import domains
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.partition import GRACE, ServicePartition
from poppy.storage.cassandra.session import Call, Database

LOG = log.getLogger(__name__)

CLAIM = (
    "INSERT INTO domains (domain, project_id, service_id, claim, claimed_at, pending) VALUES "
    "(:domain, :project_id, :service_id, :claim, :claimed_at, :pending) IF NOT EXISTS"
)
TAKE_OVER = (
    "UPDATE domains SET project_id = :project_id, service_id = :service_id, claim = :claim, "
    "claimed_at = :claimed_at, pending = :pending WHERE domain = :domain IF claim = :as_read"
)
STAMP = (
    "UPDATE domains SET released_at = :released_at, released_by = :project_id "
    "WHERE domain = :domain IF claim = :claim AND pending != true"
)
RELEASE = (
    "UPDATE domains SET released_at = :released_at, released_by = :project_id, claim = null, "
    "service_id = null WHERE domain = :domain IF claim = :claim AND pending != true"
)
DROP = "DELETE FROM domains WHERE domain = :domain IF claim = :claim AND released_at = null"
LET_GO = (
    "UPDATE domains SET claim = null, service_id = null, pending = false WHERE domain = :domain "
    "IF claim = :claim"
)
READ = (
    "SELECT project_id, service_id, claim, claimed_at, pending, released_at, released_by "
    "FROM domains WHERE domain = :domain"
)
OWN_GRACE = 10.0
"""Like :data:`GRACE`, if the same project asks for the claim; a request rarely takes longer."""
COLUMNS = (
    *("project_id", "service_id", "claim", "claimed_at"),
    *("pending", "released_at", "released_by"),
)

Found = Mapping[str, Any]


class Claims:
    """Creates and releases claims.

    Args:
        policy: returns the current rules.
    """

    def __init__(self, database: Database, policy: Callable[[], Policy]) -> None:
        self._database = database
        self._policy = policy

    def claim(
        self,
        owner: ServicePartition,
        service: Service,
        wanted: Iterable[str],
        tokens: dict[str, str],
        at: int,
    ) -> None:
        """Claim, in sorted order, domains that the service's partition does not name yet.

        Args:
            service: the service to store.
            tokens: the tokens of this request's earlier claims, which are reused; new ones are
                added.
            at: when the claim was requested, in microseconds.

        Raises:
            DomainTaken: another service has claimed one. Claims made so far stay until they are
                given back.
            DomainReleased: one is in quarantine for another project.
        """
        policy = self._policy()
        for domain in sorted(wanted):
            row = {
                **owner.identity,
                "domain": domain,
                "claim": uuid.UUID(tokens.setdefault(domain, str(uuid.uuid4()))),
                "claimed_at": codec.now(),
                "pending": domains.awaits_proof(policy, service, domain),
            }
            try:
                self._claim(owner, row, at, policy)
            except errors.DomainTaken:
                del tokens[domain]
                raise

    def give_back(self, tokens: Mapping[str, str]) -> None:
        """Undo claims that still have these tokens. A quarantine continues."""
        for domain, token in sorted(tokens.items()):
            parameters = {"domain": domain, "claim": uuid.UUID(token)}
            applied, found = self._cas(DROP, parameters)
            if not applied and found is not None and str(found.get("claim")) == token:
                self._cas(LET_GO, parameters)

    def stamp(self, owner: ServicePartition, tokens: Mapping[str, str], at: int) -> None:
        """Start the quarantine of domains that the partition is about to stop naming."""
        if domains.is_kept(self._policy(), owner.project_id):
            for domain, token in sorted(tokens.items()):
                self._cas(STAMP, _release(owner, domain, token, at))

    def release_all(self, removed: ServicePartition) -> None:
        """Release the claims that a removed service still has. May be repeated."""
        for domain, token in sorted(removed.claims.items()):
            self._release(removed, domain, token)

    def _release(self, removed: ServicePartition, domain: str, token: str) -> None:
        at = removed.removed_at
        if at is not None and domains.is_kept(self._policy(), removed.project_id):
            applied, found = self._cas(RELEASE, _release(removed, domain, token, at))
            if applied or found is None or str(found.get("claim")) != token:
                return
        self.give_back({domain: token})

    def _claim(
        self, owner: ServicePartition, row: dict[str, Any], at: int, policy: Policy
    ) -> None:
        domain = row["domain"]
        call: Call = (CLAIM, row)
        for _ in partition.attempts():
            found = self._try(call, domain)
            if found is None or found["claim"] == row["claim"]:
                return
            if found["claim"] is not None:
                holder = self._holder(owner, found)
                if holder is None:
                    raise errors.DomainTaken(domain)
                if holder.removed_at is not None:
                    self._finish_removal(holder, domain, str(found["claim"]))
                    continue
            proven = _is_kept_for(owner, found, domain, at, policy)
            pending = row["pending"] and not proven
            call = (TAKE_OVER, {**row, "pending": pending, "as_read": found["claim"]})
        raise AssertionError("attempts() ends with an error")

    def _finish_removal(self, holder: ServicePartition, domain: str, token: str) -> None:
        """Complete a removal, or undo the claim of a service that was never stored."""
        if holder.claims.get(domain) == token:
            self._release(holder, domain, token)
        else:
            self.give_back({domain: token})

    def _try(self, call: Call, domain: str) -> Found | None:
        """Return the domain's row if the call was refused; None if it was applied."""
        serial = self._database.levels.claims
        try:
            applied, found = self._database.cas([call], serial)
        except Undecided:
            # The serial read completes all pending writes, including this one.
            return self._read(domain)
        if applied:
            return None
        if found is not None and "released_by" in found:
            return dict(found)
        # A refused take-over returns only the token of the current claim.
        return self._read(domain)

    def _read(self, domain: str) -> Found:
        rows = self._database.read(READ, {"domain": domain}, self._database.levels.claims)
        return dict(zip(COLUMNS, rows[0] if rows else (None,) * len(COLUMNS), strict=True))

    def _cas(self, cql: str, parameters: Mapping[str, Any]) -> tuple[bool, Found | None]:
        return self._database.cas([(cql, parameters)], self._database.levels.claims)

    def _holder(self, owner: ServicePartition, found: Found) -> ServicePartition | None:
        """Return the partition of a claim that may be taken over; None if it may not be.

        An existing partition has been fenced, so that it can't start to name the claim.
        """
        key = (found["project_id"], found["service_id"])
        holder = partition.read(self._database, key, self._database.levels.claims)
        if holder.removed_at is not None:
            return holder
        if str(found["claim"]) in holder.claims.values():
            return None
        own = key == (owner.project_id, owner.service_id)
        # A tenant repeats a request that got no response.
        patience = OWN_GRACE if key[0] == owner.project_id else GRACE
        if not own and codec.now() - found["claimed_at"] < patience * 1_000_000:
            return None
        LOG.info("Taking over a claim that service %s does not name", key[1])
        return holder if partition.fence(self._database, holder) else None


def _release(owner: ServicePartition, domain: str, token: str, at: int) -> dict[str, Any]:
    return {
        "domain": domain,
        "claim": uuid.UUID(token),
        "released_at": at,
        "project_id": owner.project_id,
    }


def _is_kept_for(
    owner: ServicePartition, found: Found, domain: str, at: int, policy: Policy
) -> bool:
    """Whether an unclaimed domain is in quarantine for the project that asks.

    Raises:
        DomainReleased: it is in quarantine for another project.
    """
    if found["released_at"] is None:
        return False
    free_at = policy.free_at(codec.to_moment(found["released_at"]))
    if free_at <= codec.to_moment(at):
        return False
    if found["released_by"] != owner.project_id:
        raise errors.DomainReleased(domain, free_at)
    return True
