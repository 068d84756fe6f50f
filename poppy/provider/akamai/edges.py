# SPDX-License-Identifier: Apache-2.0
"""Edge hostnames: the CNAME targets of domains at Akamai."""

from collections.abc import Mapping
from typing import NamedTuple

from poppy.model.specs import Domain, ServiceSpec
from poppy.provider.akamai.certificates import Certificates, Order

SECURE_SUFFIX = ".edgekey.net"


class EdgeHostname(NamedTuple):
    """The CNAME target of a domain at Akamai.

    Attributes:
        name: the full name.
        enrollment: the id of the enrollment with its TLS certificate; None for plain HTTP, and
            for an edge hostname that the operator created.
        ours: whether the driver may create it if it is missing.
    """

    name: str
    enrollment: int | None = None
    ours: bool = True

    @property
    def parts(self) -> tuple[str, str]:
        """The name's own prefix, and Akamai's domain suffix."""
        prefix, *suffix = self.name.rsplit(".", 2)
        return prefix, ".".join(suffix)


def secure_edge(order: Order) -> EdgeHostname:
    """Return the edge hostname of a certificate, which can serve all of its names."""
    return EdgeHostname(order.common_name + SECURE_SUFFIX, order.enrollment_id)


class Edges:
    """Maps domains to edge hostnames.

    Args:
        plain: the edge hostname of http domains; ``{domain}`` stands for the domain.
        shared: the edge hostname of shared domains; None if they are not supported.
        network: ``STAGING`` or ``PRODUCTION``.
    """

    def __init__(
        self, plain: str, shared: str | None, network: str, certificates: Certificates
    ) -> None:
        self._plain = plain
        self._shared = shared or ""
        self._network = network
        self._certificates = certificates

    def of(
        self, spec: ServiceSpec, orders: Mapping[str, Order], present: Mapping[str, str]
    ) -> dict[str, EdgeHostname]:
        """Return the wanted edge hostname of each domain.

        Args:
            orders: the certificate order (sni or san) by domain.
            present: the current edge hostname by domain.
        """
        return {
            one.domain: self._of(one, orders.get(one.domain), present.get(one.domain, ""))
            for one in spec.domains
        }

    def public(self, edge: str) -> str:
        """Return the name that clients use; STAGING has its own."""
        if self._network == "STAGING" and edge.endswith(".net"):
            return f"{edge.removesuffix('.net')}-staging.net"
        return edge

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

        Only the property records this. A previous certificate of the other kind does not count.
        """
        if not present.endswith(SECURE_SUFFIX) or present == own:
            return False
        if domain.certificate == "san":
            return present != domain.domain + SECURE_SUFFIX
        return present.removesuffix(SECURE_SUFFIX) not in self._certificates.shared_names()
