# SPDX-License-Identifier: Apache-2.0
"""Domains that services have claimed.

A claim is a row of ``domains`` with a random token, made by ``INSERT ... IF NOT EXISTS``: of two
at the same time, in whatever data centres, Paxos over all replicas (SERIAL) lets one in. It is
made before the truth of its service names its token, and counts once that does. A claim whose
token no truth names is an orphan: its maker died, or is on its way. See :mod:`.truth` for how
orphans are dropped; of two that take one over, ``IF claim = <as read>`` again lets one in.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from oslo_log import log

from poppy.common import errors
from poppy.storage.cassandra import codec, truth
from poppy.storage.cassandra.session import Call, Database, Undecided
from poppy.storage.cassandra.truth import GRACE, Truth

LOG = log.getLogger(__name__)

CLAIM = (
    "INSERT INTO domains (domain, project_id, service_id, claim, claimed_at) VALUES (:domain, "
    ":project_id, :service_id, :claim, :claimed_at) IF NOT EXISTS"
)
TAKE_OVER = (
    "UPDATE domains SET project_id = :project_id, service_id = :service_id, claim = :claim, "
    "claimed_at = :claimed_at WHERE domain = :domain IF claim = :as_read"
)
RELEASE = "DELETE FROM domains WHERE domain = :domain IF claim = :claim"
READ = "SELECT project_id, service_id, claim, claimed_at FROM domains WHERE domain = :domain"
OWN_GRACE = 10.0
"""As :data:`GRACE`, for a claim that the same project asks for; a request rarely takes longer."""
_COLUMNS = ("project_id", "service_id", "claim", "claimed_at")


class Claims:
    """Makes and releases claims."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: Truth, domains: Iterable[str], tokens: dict[str, str]) -> None:
        """Claim domains for a service whose truth does not name them yet, in order.

        Args:
            tokens: of claims that this request has made before, which are looked after; gets
                those of the new ones.

        Raises:
            DomainTaken: one is another service's. What was claimed stays claimed until it is
                released.
        """
        for domain in sorted(domains):
            token = tokens.setdefault(domain, str(uuid.uuid4()))
            if not self._claim(owner, domain, token):
                del tokens[domain]
                raise errors.DomainTaken(domain)

    def release(self, tokens: Mapping[str, str]) -> None:
        """Let go of claims, if they are still these."""
        for domain, token in sorted(tokens.items()):
            parameters = {"domain": domain, "claim": uuid.UUID(token)}
            self._database.cas([(RELEASE, parameters)], self._database.levels.claims)

    def _claim(self, owner: Truth, domain: str, token: str) -> bool:
        parameters: dict[str, Any] = {
            **owner.identity,
            "domain": domain,
            "claim": uuid.UUID(token),
            "claimed_at": codec.now(),
        }
        call: Call = (CLAIM, parameters)
        for _ in truth.attempts():
            found = self._try(call, domain)
            if found is None or str(found["claim"]) == token:
                return True
            if found["claim"] is None:
                call = (CLAIM, parameters)
            elif self._is_orphan(owner, found):
                call = (TAKE_OVER, {**parameters, "as_read": found["claim"]})
            else:
                return False
        raise AssertionError("attempts() ends with an error")

    def _try(self, call: Call, domain: str) -> dict[str, Any] | None:
        serial = self._database.levels.claims
        try:
            applied, found = self._database.cas([call], serial)
        except Undecided:
            # This brings what is under way to its end, ours included.
            rows = self._database.read(READ, {"domain": domain}, serial)
            return dict(zip(_COLUMNS, rows[0] if rows else (None,) * 4, strict=True))
        if applied:
            return None
        if found is None or "service_id" in found:
            return found
        # A take-over found another claim; only its token is told.
        rows = self._database.read(READ, {"domain": domain}, serial)
        return dict(zip(_COLUMNS, rows[0] if rows else (None,) * 4, strict=True))

    def _is_orphan(self, owner: Truth, found: Mapping[str, Any]) -> bool:
        """Whether the claim that was found may be taken over; behind a fence, where need be."""
        key = (found["project_id"], found["service_id"])
        holder = truth.read(self._database, key, self._database.levels.claims)
        if holder.removed_at is not None:
            return True
        if str(found["claim"]) in holder.claims.values():
            return False
        own = key == (owner.project_id, owner.service_id)
        # A tenant whose request was not answered asks again.
        patience = OWN_GRACE if key[0] == owner.project_id else GRACE
        if not own and codec.now() - found["claimed_at"] < patience * 1_000_000:
            return False
        LOG.info("A claim of service %s that it does not name is taken over", key[1])
        return truth.fence(self._database, holder)
