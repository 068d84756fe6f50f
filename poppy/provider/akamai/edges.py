# SPDX-License-Identifier: Apache-2.0
"""Edge hostnames: the CNAME targets of domains at Akamai."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from poppy.model.specs import Domain, ServiceSpec
from poppy.provider.akamai.certificates import Certificates, Order

SECURE_SUFFIX = ".edgekey.net"


class EdgeHostname(NamedTuple):
    """The CNAME target of a domain at Akamai.

    Attributes:
        name: the full name.
        enrollment: the id of the enrollment with its TLS certificate; None for plain HTTP, for a
            default certificate, and for an edge hostname that the operator created.
        ours: whether the driver may create it if it is missing.
        default: whether the domain has a default certificate. If so, Akamai creates a missing
            edge hostname.
    """

    name: str
    enrollment: int | None = None
    ours: bool = True
    default: bool = False

    @property
    def parts(self) -> tuple[str, str]:
        """The name's own prefix, and Akamai's domain suffix."""
        prefix, *suffix = self.name.rsplit(".", 2)
        return prefix, ".".join(suffix)


_NONE = EdgeHostname("")


def secure_edge(order: Order) -> EdgeHostname:
    """Return the edge hostname of a certificate, which can serve all of its names."""
    return EdgeHostname(order.common_name + SECURE_SUFFIX, order.enrollment_id)


class Edges:
    """Maps domains to edge hostnames.

    Args:
        plain: the edge hostname of http domains; ``{domain}`` stands for the domain.
        shared: the edge hostname of shared domains; None if they are not supported.
        network: ``STAGING`` or ``PRODUCTION``.
        default: whether new sni domains get default certificates.
    """

    def __init__(
        self,
        plain: str,
        shared: str | None,
        network: str,
        certificates: Certificates,
        default: bool,
    ) -> None:
        self._plain = plain
        self._shared = shared or ""
        self._network = network
        self._certificates = certificates
        self._default = default

    def of(
        self,
        spec: ServiceSpec,
        orders: Mapping[str, Order],
        defaults: Collection[str],
        present: Mapping[str, EdgeHostname],
    ) -> dict[str, EdgeHostname]:
        """Return the wanted edge hostname of each domain.

        Args:
            orders: the certificate order (sni or san) by domain.
            defaults: the domains with a default certificate.
            present: the current edge hostname by domain.
        """
        found = {}
        for one in spec.domains:
            if one.domain in defaults:
                found[one.domain] = EdgeHostname(one.domain + SECURE_SUFFIX, default=True)
            else:
                now = present.get(one.domain, _NONE).name
                found[one.domain] = self._of(one, orders.get(one.domain), now)
        return found

    def defaults(self, spec: ServiceSpec, present: Mapping[str, EdgeHostname]) -> set[str]:
        """Return the domains with a default certificate.

        An sni domain keeps the certificate that it has: a default one, or one of CPS. Otherwise
        a change of the option would replace the certificates of all services.
        """
        return {
            one.domain
            for one in spec.domains
            if one.certificate == "sni"
            and self._gets_default(one.domain, present.get(one.domain, _NONE))
        }

    def public(self, edge: str) -> str:
        """Return the name that clients use; STAGING has its own."""
        if self._network == "STAGING" and edge.endswith(".net"):
            return f"{edge.removesuffix('.net')}-staging.net"
        return edge

    def _gets_default(self, domain: str, present: EdgeHostname) -> bool:
        if present.default or not self._default:
            return present.default
        return not (self._is_sni(present.name) or self._certificates.has_sni(domain))

    def _of(self, domain: Domain, order: Order | None, present: str) -> EdgeHostname:
        if domain.certificate == "shared":
            return EdgeHostname(self._shared, ours=False)
        if order is None:
            name = self._plain.replace("{domain}", domain.domain)
            return EdgeHostname(name, ours=name != self._plain)
        edge = secure_edge(order)
        if self._is_migrated(domain, edge.name, present):
            return EdgeHostname(present, ours=False)
        return edge

    def _is_migrated(self, domain: Domain, own: str, present: str) -> bool:
        """Return whether an operator migrated the domain to another certificate.

        Only the property records this. A previous certificate of another kind does not count.
        """
        if not present.endswith(SECURE_SUFFIX) or present in (own, self._shared):
            return False
        if domain.certificate == "san":
            return present != domain.domain + SECURE_SUFFIX
        return self._is_sni(present)

    def _is_sni(self, edge: str) -> bool:
        """Return whether an edge hostname has the certificate of a single domain."""
        if not edge.endswith(SECURE_SUFFIX) or edge == self._shared:
            return False
        return edge.removesuffix(SECURE_SUFFIX) not in self._certificates.shared_names()
