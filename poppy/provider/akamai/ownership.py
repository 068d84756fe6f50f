# SPDX-License-Identifier: Apache-2.0
"""Proof that the tenant owns its domains, which Akamai requires of new hostnames.

See https://techdocs.akamai.com/property-mgr/docs/prove-domain-ownership. Poppy claims a domain
unless the account already has a validated claim that covers it, shows the tenant the TXT record,
and asks Akamai to look it up. The TXT record, not the CNAME: the name ``_acme-challenge`` of the
CNAME is also used to validate certificates, and a name with a CNAME has no other records. Default
certificates need exactly this CNAME, so it also proves the ownership of their domains. See
https://techdocs.akamai.com/domain-validation/docs/validation-methods.

Akamai does not record what a claim is for. So Poppy writes its claims into hidden variables of the
property's rule tree, before it makes them, and releases no others.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from oslo_log import log

from poppy.common.errors import DriverError, PermanentError, RetryableError
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.provider.akamai.dom import DEAD, DOM, HOST, Claim
from poppy.provider.akamai.edgegrid import Document

LOG = log.getLogger(__name__)

_AGAIN = 5.0  # Seconds.
#: Prefix of the variables that record Poppy's claims. Akamai demands ``PMUSER_``; see
#: https://techdocs.akamai.com/property-mgr/reference/variables.
_NOTE = "PMUSER_POPPY_CLAIM_"


class Missing(NamedTuple):
    """What is missing for Akamai to accept domains.

    Attributes:
        message: what the tenant must do, or what Poppy waits for; empty if nothing is missing.
        records: the DNS records that the tenant must create.
    """

    message: str = ""
    records: tuple[DNSRecord, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is missing."""
        return bool(self.message)


class Ownership:
    """Claims of domains."""

    def __init__(self, dom: DOM) -> None:
        self._dom = dom

    def prove(
        self,
        domains: Collection[str],
        by_cname: Collection[str],
        remember: Callable[[Collection[str]], object],
    ) -> Missing:
        """Make progress with the claims of domains.

        Args:
            by_cname: domains that are proven by the CNAME of their default certificate, which
                the tenant creates for the certificate.
            remember: called with the domains that are about to be claimed.

        Returns:
            What is missing; nothing if all domains are validated.

        Raises:
            PermanentError: Akamai refuses a claim; the message names the domain.
        """
        claims = self._unproven(domains)
        unclaimed = [name for name, one in claims.items() if one is None or one.status in DEAD]
        if unclaimed:
            remember(unclaimed)
            refused = self._dom.add(unclaimed)
            claims = self._unproven(domains)
            for name, one in claims.items():
                if one is None or one.status in DEAD:
                    raise _unclaimed(name, refused.get(name))
            # The tenant does not know the new records yet, so there is nothing to validate.
            missing = _missing(claims, by_cname)
            return missing or Missing("waiting for Akamai to accept the domains")
        if claims:
            for name in self._validate(claims, by_cname):
                claims.pop(name, None)
        return _missing(claims, by_cname)

    def release(self, domains: Iterable[str]) -> None:
        """Delete the claims of domains.

        A claim that was never validated may stay until its token expires: Akamai may refuse to
        delete it before. It gives no rights.
        """
        for one in self._own(domains):
            try:
                if one.validated:
                    self._dom.invalidate(one.name)
                self._dom.delete(one.name)
            except PermanentError as exc:
                if any(other.validated for other in self._own([one.name])):
                    raise
                LOG.warning("Akamai keeps its claim of domain %s: %s", one.name, exc)

    def _unproven(self, domains: Iterable[str]) -> dict[str, Claim | None]:
        """Return, by domain that no validated claim covers, its claim, or None without one."""
        wanted = sorted(domains)
        claims = self._dom.search(pair for name in wanted for pair in _related(name))
        return {
            name: next((one for one in claims if _is_own(one, name)), None)
            for name in wanted
            if not any(one.covers(name) for one in claims)
        }

    def _own(self, domains: Iterable[str]) -> list[Claim]:
        wanted = sorted(domains)
        if not wanted:
            return []
        claims = self._dom.search((name, HOST) for name in wanted)
        return [one for one in claims if any(_is_own(one, name) for name in wanted)]

    def _validate(self, pending: Collection[str], by_cname: Collection[str]) -> set[str]:
        """Return the domains whose records Akamai has found just now."""
        try:
            return self._dom.validate(pending, by_cname)
        except PermanentError as exc:
            # Akamai also looks the records up by itself.
            LOG.warning("Akamai does not validate %s now: %s", ", ".join(sorted(pending)), exc)
            return set()


def noted(rules: Document) -> frozenset[str]:
    """Return the domains that :func:`note` has recorded in a rule tree."""
    return frozenset(
        str(entry.get("value"))
        for entry in rules.get("variables") or ()
        if str(entry.get("name")).startswith(_NOTE)
    )


def note(domains: Collection[str], rules: Document) -> Document:
    """Return a rule tree that records Poppy's claims instead of those that it has."""
    others = [one for one in rules.get("variables") or () if not one["name"].startswith(_NOTE)]
    claims = [
        {
            "name": f"{_NOTE}{number}",
            "value": domain,
            "description": "A domain claimed by Poppy",
            "hidden": True,
            "sensitive": False,
        }
        for number, domain in enumerate(sorted(domains), 1)
    ]
    return {**rules, "variables": [*others, *claims]} if others or claims else rules


def _related(domain: str) -> list[tuple[str, str]]:
    """Return the claims that may cover a domain: pairs of a domain and a scope."""
    labels = domain.split(".")
    # A top-level domain belongs to no account.
    parents = [".".join(labels[level:]) for level in range(1, len(labels) - 1)]
    wildcard = [(name, "WILDCARD") for name in parents[:1]]
    return [(domain, HOST), *wildcard, *((name, "DOMAIN") for name in (domain, *parents))]


def _is_own(claim: Claim, domain: str) -> bool:
    return claim.name == domain and claim.scope == HOST and not claim.inherited


def _unclaimed(domain: str, reason: str | None) -> DriverError:
    """Return the error for a domain that could not be claimed."""
    if reason is None:
        return RetryableError(f"Akamai does not show the claim of domain {domain}", _AGAIN)
    return PermanentError(f"Akamai refuses the claim of domain {domain}: {reason}")


def _missing(claims: Mapping[str, Claim | None], by_cname: Collection[str]) -> Missing:
    """Return what the tenant must do, or what Akamai does, for pending claims."""
    pending = [
        one._replace(record=None) if name in by_cname else one
        for name, one in claims.items()
        if one is not None
    ]
    records = [
        DNSRecord(one.name, Purpose.OWNERSHIP, RecordType.TXT, *one.record)
        for one in pending
        if one.record is not None
    ]
    return Missing("; ".join(map(_wants, pending)), tuple(records))


def _wants(claim: Claim) -> str:
    if claim.record is None:
        return f"waiting for Akamai to validate the domain {claim.name}"
    name, value = claim.record
    return (
        f"to prove to Akamai that you own {claim.name}, create the TXT record {name} "
        f"with the value {value}"
    )
