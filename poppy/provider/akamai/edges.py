# SPDX-License-Identifier: Apache-2.0
"""Edge hostnames: the names at Akamai that domains are made a CNAME of."""

from collections.abc import Mapping
from typing import NamedTuple

from poppy.model.services import Domain, ServiceSpec
from poppy.provider.akamai.certificates import Certificates, Order

SECURE_SUFFIX = ".edgekey.net"


class EdgeHostname(NamedTuple):
    """A name at Akamai that a domain is made a CNAME of.

    Attributes:
        name: the whole of it.
        enrollment: whose certificate it serves TLS with; None for plain HTTP, and for one that
            the operator has made.
        ours: whether it may be made when it is missing.
    """

    name: str
    enrollment: int | None = None
    ours: bool = True

    @property
    def parts(self) -> tuple[str, str]:
        """The part of the name that is one's own, and the domain of Akamai's."""
        prefix, *suffix = self.name.rsplit(".", 2)
        return prefix, ".".join(suffix)


def secure_edge(order: Order) -> EdgeHostname:
    """The edge hostname of a certificate, by which all names on it can be served."""
    return EdgeHostname(order.common_name + SECURE_SUFFIX, order.enrollment_id)


class Edges:
    """Which domain leads where.

    Args:
        plain: of http domains; ``{domain}`` stands for the domain.
        shared: of shared domains; None if there are none.
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
        """By domain, where it is to lead.

        Args:
            orders: by domain, the certificate that is its own or that it shares.
            present: by domain, where it leads now.
        """
        return {
            one.domain: self._of(one, orders.get(one.domain), present.get(one.domain, ""))
            for one in spec.domains
        }

    def public(self, edge: str) -> str:
        """The name by which the network's servers are reached."""
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
        """Whether it was led to another certificate by hand, of which the property is the record.

        And not because it had a certificate of the other kind before.
        """
        if not present.endswith(SECURE_SUFFIX) or present == own:
            return False
        if domain.certificate == "san":
            return present != domain.domain + SECURE_SUFFIX
        return present.removesuffix(SECURE_SUFFIX) not in self._certificates.shared_names()
