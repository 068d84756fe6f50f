# SPDX-License-Identifier: Apache-2.0
"""A skeleton for drivers of providers that have one object for each service."""

import abc
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from poppy.common import inspection
from poppy.model import certificates
from poppy.model.dns_records import DNSRecord
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Deployment, Provider

Found = TypeVar("Found")
Plan = TypeVar("Plan")


class ObjectProvider(Provider, Generic[Plan, Found]):
    """Run each service as one object of the provider: a site, a property or a distribution.

    The object carries the service's id, in its name, label or comment. So it can be found even if
    the reply with the provider's ID was lost. ``ensure`` and ``remove`` are written here, from
    these steps::

        ensure:  prepare(service)                         →  what the object must be
                 stored(service, ID) or search(service)   →  the object
                 or create(service, plan)               →  a new one
                 converge(service, known, plan, found)  →  its deployment

        remove:  stored(service, ID) or search(service)   →  the object
                 delete(service, found)
                 clean_up(service, known)                 →  no trace of the service is left

    Each may be called again after any other, by any worker. They raise the same errors as
    :meth:`Provider.ensure` and :meth:`Provider.remove`. ``purge`` and ``metrics`` stay with the
    driver; both begin with :meth:`existing`.
    """

    @abc.abstractmethod
    def prepare(self, service: Service) -> Plan:
        """Compile the document, and create what the object refers to.

        A document that is refused here leaves the object unchanged.
        """

    @abc.abstractmethod
    def stored(self, service: Service, provider_service_id: str) -> Found | None:
        """Return the object with the stored ID; None if it is gone or not the service's."""

    @abc.abstractmethod
    def search(self, service: Service) -> Found | None:
        """Return the object without knowing its ID; None if there is none."""

    @abc.abstractmethod
    def create(self, service: Service, plan: Plan) -> Found:
        """Create the object, or return the one that another worker has just created."""

    @abc.abstractmethod
    def converge(
        self, service: Service, known: ProviderDetail | None, plan: Plan, found: Found
    ) -> Deployment:
        """Change what differs and return the deployment; write nothing if nothing differs."""

    @abc.abstractmethod
    def delete(self, service: Service, found: Found) -> None:
        """Delete the object; it may be gone already.

        Raises:
            InProgressError: the provider must first take it out of service.
        """

    def clean_up(  # noqa: B027 - most have nothing else
        self, service: Service, known: ProviderDetail | None
    ) -> None:
        """Remove what else belongs to the service, such as certificates; it may be gone."""

    def find(self, service: Service, known: ProviderDetail | None) -> Found | None:
        """Return the object of a service, even if its ID is not stored; None if there is none."""
        found = self._stored(service, known)
        return self.search(service) if found is None else found

    def existing(self, service: Service, known: ProviderDetail | None) -> Found:
        """Return the object of a service.

        Raises:
            PermanentError: there is none.
        """
        found = self.find(service, known)
        if found is None:
            raise self.no_such(service)
        return found

    def obtain(self, service: Service, known: ProviderDetail | None, plan: Plan) -> Found:
        """Return the object of a service; create it if there is none."""
        found = self.find(service, known)
        if found is None:
            inspection.differs(f"{self.name} does not have the service")
            found = self.create(service, plan)
        return found

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Have one object that serves the document; see :meth:`Provider.ensure`."""
        plan = self.prepare(service)
        return self.converge(service, known, plan, self.obtain(service, known, plan))

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the object and what belongs to it; see :meth:`Provider.remove`."""
        found = self.find(service, known)
        if found is not None:
            self.delete(service, found)
        self.clean_up(service, known)

    def _stored(self, service: Service, known: ProviderDetail | None) -> Found | None:
        if known is None or known.provider_service_id is None:
            return None
        return self.stored(service, known.provider_service_id)


class Order(Protocol):
    """A vendor's order of a certificate for one domain.

    Attributes:
        status: one of :data:`poppy.model.certificates.STATES`.
        wants: what the tenant must do, or what the order waits for.
        records: the DNS records that the order requires.
    """

    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def wants(self) -> str: ...  # noqa: D102
    @property
    def records(self) -> Sequence[DNSRecord]: ...  # noqa: D102


class Orders(NamedTuple):
    """The certificates of a service, in the form of :class:`Deployment`.

    Attributes:
        statuses: certificate status by domain.
        waiting: what each order in progress waits for.
        records: the DNS records that the orders require.
    """

    statuses: dict[str, str]
    waiting: list[str]
    records: list[DNSRecord]

    @classmethod
    def of(cls, spec: ServiceSpec, orders: Mapping[str, Order]) -> Self:
        """Combine the orders of a service by domain; shared certificates are always deployed."""
        shared = {it.domain: "deployed" for it in spec.domains if it.certificate == "shared"}
        return cls(
            {domain: order.status for domain, order in orders.items()} | shared,
            [it.wants for it in orders.values() if it.status == "create_in_progress"],
            [record for order in orders.values() for record in order.records],
        )


def own_certificates(spec: ServiceSpec) -> dict[str, str]:
    """Return the kind of certificate, ``san`` or ``sni``, by domain that needs its own."""
    return {
        it.domain: it.certificate
        for it in spec.domains
        if it.certificate is not None and it.certificate in certificates.TYPES
    }


def dropped_certificates(service: Service, known: ProviderDetail | None) -> set[str]:
    """Return the domains that had a certificate of their own and do not need it any more."""
    had = known.certificates if known is not None else {}
    return set(had) - {it.domain for it in service.spec.domains if it.certificate}
