# SPDX-License-Identifier: Apache-2.0
"""Default DV certificates of the double of Akamai, and tenants' CNAME records.

The rules are those of the operation "Update hostnames for a property version" and of the page
"Default DV contract limit and usage" (both https://techdocs.akamai.com/property-mgr), and, for the
problems, of Akamai's client library for Go (``pkg/papi/errors.go``).
"""

from collections.abc import Iterable, Mapping
from typing import Any

#: Status, type and members of a problem.
Refusal = tuple[int, str, str, dict[str, Any]]

_NETWORKS = ("STAGING", "PRODUCTION")
_SUFFIXES = (".edgekey.net", ".edgesuite.net")
#: Akamai's examples have the same value for all names of an account.
_ACCOUNT = "afae21b9a98d2d845d8032da0d689252"


class DefaultDouble:
    """The default certificates of the hostnames of properties.

    A certificate is deployed to a network some reads after the hostname is active there and its
    CNAME is in the DNS.

    Attributes:
        automatic: whether tenants publish the CNAME of each new hostname at once.
        enabled: whether the contract has default certificates.
        limit: maximum hostnames with a default certificate that are active on a network.
        takes: reads until a certificate is deployed, once nothing is missing.
        cnames: targets of CNAME records by name, in all tenants' zones.
        outcomes: statuses by hostname that take the place of the usual ones.
        active: hostnames with a default certificate by network.
    """

    def __init__(self) -> None:
        self.automatic = True
        self.enabled = True
        self.limit = 100
        self.takes = 1
        self.cnames: dict[str, str] = {}
        self.outcomes: dict[str, str] = {}
        self.active: dict[str, set[str]] = {network: set() for network in _NETWORKS}
        self._looks: dict[tuple[str, str], int] = {}

    def publish(self, *names: str) -> None:
        """Publish the CNAME records of hostnames, as the domains' owners would."""
        self.cnames |= {challenge(name): target(name) for name in names}

    def renew(self) -> None:
        """Let the time of renewals come: those without their CNAME fail."""
        for names in self.active.values():
            for name in names:
                if not self._is_published(name):
                    self.outcomes[name] = "EXPIRING_SOON_NEEDS_VALIDATION"

    def refusal(self, hostnames: Iterable[Mapping[str, str]]) -> Refusal | None:
        """Return why a property can't have these hostnames; None if it can."""
        names = {it["cnameFrom"] for it in hostnames if is_default(it)}
        if names and not self.enabled:
            kind = "property-version-hostname/default-cert-provisioning-unavailable"
            return 403, kind, "default certificates are not available", {}
        for entry in hostnames:
            if is_default(entry) and not entry["cnameTo"].endswith(_SUFFIXES):
                return 400, "hostname", f"no default certificate on {entry['cnameTo']}", {}
        if len(names - self._used()) > self.remaining:
            more = {"limitKey": "DEFAULT_CERTS_PER_CONTRACT", "limit": self.limit}
            detail = "The limit of default certificates is reached."
            return 429, "limit-exceeded", detail, {**more, "remaining": self.remaining}
        if self.automatic:
            self.publish(*names)
        return None

    @property
    def remaining(self) -> int:
        """How many hostnames more can get a certificate."""
        return self.limit - len(self._used())

    @property
    def limits(self) -> dict[str, str]:
        """The header fields of an answer to a change of hostnames."""
        field = "X-Limit-Default-Certs-Per-Contract"
        return {f"{field}-Limit": str(self.limit), f"{field}-Remaining": str(self.remaining)}

    def serve(self, network: str, names: set[str]) -> None:
        """Take note of the hostnames with a default certificate that a network serves."""
        for name in self.active[network] - names:
            self._looks.pop((name, network), None)
        self.active[network] = names

    def shown(self, name: str) -> dict[str, Any]:
        """Return the status of a hostname's certificate, and advance time."""
        found = {it.lower(): [{"status": self._status(name, it)}] for it in _NETWORKS}
        return {**found, "validationCname": {"hostname": challenge(name), "target": target(name)}}

    def _status(self, name: str, network: str) -> str:
        if name in self.outcomes:
            return self.outcomes[name]
        looks = self._looks.get((name, network), 0)
        # A deployed certificate stays until it expires.
        if name not in self.active[network] or not (
            looks > self.takes or self._is_published(name)
        ):
            return "PENDING"
        self._looks[name, network] = looks + 1
        return "DEPLOYED" if looks >= self.takes else "DEPLOYING"

    def _is_published(self, name: str) -> bool:
        return self.cnames.get(challenge(name)) == target(name)

    def _used(self) -> set[str]:
        return set().union(*self.active.values())


def is_default(hostname: Mapping[str, str]) -> bool:
    """Return whether Akamai issues the certificate of a hostname."""
    return hostname.get("certProvisioningType") == "DEFAULT"


def challenge(name: str) -> str:
    """Return the name of the CNAME that validates a hostname."""
    return f"_acme-challenge.{name}"


def target(name: str) -> str:
    """Return the target of that CNAME, which also proves ownership of the domain."""
    return f"ac.{_ACCOUNT}.{name}.validate-akdv.net"
