# SPDX-License-Identifier: Apache-2.0
"""Orders for certificates apart from services; see :mod:`poppy.model.certificates`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from poppy.common import errors
from poppy.manager.actions import amended
from poppy.manager.admin_search import host
from poppy.manager.change_pipeline import Change, Changes
from poppy.manager.services import ServicesManager
from poppy.model import admin_schemas, certificates, ids, rules, validation
from poppy.model.operations import Kind
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import Domain, ServiceSpec
from poppy.provider.base import Provider
from poppy.storage.base import Storage

_LISTED = (*certificates.STATES, "delete_in_progress")
_GIVEN_UP = ("failed", "cancelled")
_AT_PROVIDER = {
    "deployed": ProviderStatus.DEPLOYED,
    "failed": ProviderStatus.FAILED,
    "cancelled": ProviderStatus.FAILED,
}


class CertificatesManager:
    """Manage orders for certificates.

    ``project_id`` is the project of the request; None is an operator, who has access to all.
    """

    def __init__(
        self,
        storage: Storage,
        changes: Changes,
        services: ServicesManager,
        providers: Mapping[str, Provider],
        limit: int,
    ) -> None:
        self._storage = storage
        self._changes = changes
        self._services = services
        self._providers = providers
        self._limit = limit

    def create(self, project_id: str | None, document: object, request_id: str | None) -> None:
        """Order a certificate; a failed order is repeated.

        Raises:
            InvalidRequest: the document is invalid or for another project, a provider does not
                support the certificate type, or the domain already has a certificate of this type.
            LimitReached: the project has reached its limit of orders.
        """
        body = validation.validate(admin_schemas.CERTIFICATE, document)
        owner = body["project_id"]
        if project_id not in (None, owner):
            raise errors.InvalidRequest("The project_id is not the one of the request")
        spec = self._spec(body)
        flavor = self._changes.flavor(spec.flavor_id)
        self._changes.check(spec, flavor)
        detail = ProviderDetail(ProviderStatus.DEPLOY_IN_PROGRESS)
        namespace, order_id = certificates.namespace(owner), ids.new()
        operation = self._changes.operation(namespace, order_id, Kind.CREATE, request_id)
        order = Service(
            project_id=namespace,
            service_id=order_id,
            spec=spec,
            provider_details=dict.fromkeys(flavor.provider_names, detail),
            created_at=operation.created_at,
            updated_at=operation.created_at,
        )
        try:
            self._storage.services.create(order, operation, self._limit)
        except errors.DomainTaken as exc:
            self._order_again(order, request_id, exc)
        else:
            self._changes.post(operation)

    def get(self, project_id: str | None, domain: str) -> Sequence[Service]:
        """Return the orders for a domain, at most one of each type.

        Raises:
            InvalidRequest: the domain name is invalid.
            NotFound: the project has no order for the domain.
        """
        name = host(domain, "domain")
        found = [self._find(project_id, name, kind) for kind in certificates.TYPES]
        orders = [order for order in found if order is not None]
        if not orders:
            raise errors.NotFound(f"There is no certificate for {name}")
        return orders

    def delete(
        self, project_id: str | None, domain: str, cert_type: str | None, request_id: str | None
    ) -> None:
        """Request the deletion of a certificate.

        Raises:
            InvalidRequest: the domain or type is invalid, or the project has no such certificate.
        """
        name = host(domain, "domain")
        if cert_type not in certificates.TYPES:
            raise errors.InvalidRequest(
                f"The cert_type must be one of {', '.join(certificates.TYPES)}"
            )
        order = self._find(project_id, name, cert_type)
        if order is None:
            raise errors.InvalidRequest(f"There is no {cert_type} certificate for {name}")
        self._services.delete(order.project_id, order.service_id, request_id)

    def by_status(
        self, status: str, marker: str | None, limit: int
    ) -> tuple[Sequence[Service], str | None]:
        """Return a page of all orders with a status, and the marker of the next page or None.

        Raises:
            InvalidRequest: the status is unknown.
        """
        if status not in _LISTED:
            raise errors.InvalidRequest(f"The status must be one of {', '.join(_LISTED)}")
        page = self._storage.queries.by_status(certificates.status_bucket(status), marker, limit)
        orders = []
        for entry in page:
            try:
                orders.append(self._storage.services.get(entry.project_id, entry.service_id))
            except errors.NotFound:
                continue  # deleted since the page was read
        return orders, page[-1].service_id if len(page) >= limit else None

    def set_status(
        self, domain: str, cert_type: str | None, patch: object, request_id: str | None
    ) -> None:
        """Set the status of a certificate by hand, or have its order processed again.

        Args:
            domain: the certificate's domain.
            cert_type: the certificate's type; required if the domain has several.
            patch: a JSON Patch that replaces only the status.
            request_id: the id of the request.

        Raises:
            InvalidRequest: the patch is invalid, or the certificate is ambiguous.
            ServiceBusy: an operation of the order is unfinished.
            NotFound: there is no such certificate.
        """
        (operation,) = validation.validate(admin_schemas.CERTIFICATE_PATCH, patch)
        status = operation["value"]
        orders = self.get(None, domain)
        wanted = [order for order in orders if cert_type in (None, _type_of(order))]
        if not wanted:
            raise errors.NotFound(f"There is no {cert_type} certificate for {domain}")
        if len(wanted) > 1:
            raise errors.InvalidRequest(
                "The domain has several certificates: select one by ?cert_type="
            )
        (order,) = wanted
        if status not in _AT_PROVIDER:
            self._redo(order, request_id)
            return

        def amend(found: Service) -> Service:
            details = {
                name: replace(
                    detail,
                    status=_AT_PROVIDER[status],
                    certificates=dict.fromkeys(found.spec.domain_names, status),
                    error_message=None,
                    error_info=None,
                    error_class=None,
                )
                for name, detail in found.provider_details.items()
            }
            return found.with_details(details)

        amended(self._storage, order.project_id, order.service_id, amend)

    def redo(self, domain: str, cert_type: str, request_id: str | None) -> None:
        """Process an order again, even if it is deployed.

        Raises:
            InvalidRequest: there is no such order.
            ServiceBusy: an operation of the order is unfinished.
        """
        order = self._find(None, host(domain, "domain_name"), cert_type)
        if order is None:
            raise errors.InvalidRequest(f"There is no {cert_type} certificate for {domain}")
        self._redo(order, request_id)

    def _redo(self, order: Service, request_id: str | None) -> None:
        def decide(found: Service) -> Change:
            if certificates.status_of(found.provider_details) in (
                "create_in_progress",
                "delete_in_progress",
            ):
                raise errors.ServiceBusy("The certificate is already being processed")
            return self._changes.updated(found, found.spec, request_id)

        self._changes.make(order.project_id, order.service_id, decide)

    def _order_again(
        self, order: Service, request_id: str | None, taken: errors.DomainTaken
    ) -> None:
        (domain,) = order.spec.domains
        known = self._find(certificates.owner(order.project_id), domain.domain, _type_of(order))
        if (
            known is not None
            and known.spec == order.spec
            and certificates.status_of(known.provider_details) in _GIVEN_UP
        ):
            self._redo(known, request_id)
            return
        raise errors.InvalidRequest(
            f"Domain {domain.domain} already has a {domain.certificate} certificate"
        ) from taken

    def _spec(self, body: Mapping[str, str]) -> ServiceSpec:
        name = host(body["domain_name"], "domain_name")
        rules.check_full_domain(name)
        self._changes.reserved.check_domain(name)
        return ServiceSpec(
            name=name,
            flavor_id=body["flavor_id"],
            domains=(Domain(name, "https", body["cert_type"]),),
            origins=(),
        )

    def _find(self, project_id: str | None, domain: str, cert_type: str) -> Service | None:
        try:
            order = self._storage.queries.by_claim(certificates.claim(domain, cert_type))
        except errors.NotFound:
            return None
        mine = project_id in (None, certificates.owner(order.project_id))
        return order if mine else None


def _type_of(order: Service) -> str:
    return order.spec.domains[0].certificate or ""
