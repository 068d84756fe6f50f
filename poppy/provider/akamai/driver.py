# SPDX-License-Identifier: Apache-2.0
"""The provider ``akamai``.

``doc/source/drivers/akamai.rst`` describes how each field of a service is mapped.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from oslo_config import cfg

from poppy.common.errors import InProgressError, PermanentError
from poppy.common.http import Quota
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import edges, log_store
from poppy.provider.akamai import capabilities, compliance, logging, reporting, rules
from poppy.provider.akamai.ccu import CCU, scopes
from poppy.provider.akamai.certificates import Certificates, Order, read_template
from poppy.provider.akamai.cps import CPS
from poppy.provider.akamai.dom import DOM, LONGEST_DOMAIN
from poppy.provider.akamai.edgegrid import Document, Session, credentials
from poppy.provider.akamai.edges import SECURE_SUFFIX, EdgeHostname, Edges, secure_edge
from poppy.provider.akamai.options import OPTS
from poppy.provider.akamai.ownership import Ownership
from poppy.provider.akamai.papi import PAPI, Property
from poppy.provider.akamai.properties import Progress, Properties
from poppy.provider.base import Capability, Deployment, Issuance, Point, Query
from poppy.provider.skeleton import (
    ObjectProvider,
    Orders,
    dropped_certificates,
    own_certificates,
)

_HEALTH_TIMEOUT = 3.0  # Seconds.
#: Maximum bytes of an edge hostname's prefix. A whole name has at most 255 bytes.
_LONGEST_PREFIX = 60


class AkamaiProvider(ObjectProvider[None, Property]):
    """Run each service as one Akamai property, named after the service's id.

    Earlier versions of Poppy put many services into one property, as policies of a reseller API.
    Separate properties need no reseller contract, isolate the services' rules, and activate one
    service at a time.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = OPTS

    SUPPORTS: ClassVar[frozenset[Capability]] = capabilities.SUPPORTS
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = capabilities.OPTIONAL

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: an option is missing, or a file can't be read.
        """
        super().__init__(conf, name)
        options = self.options
        self.require("contract", "group", "product", "notify_emails")
        self._settings = rules.Settings(
            methods=tuple(options.methods),
            downgrade=options.allow_https_downgrade,
            origin_ip_version=options.origin_ip_version,
            large_files=options.large_files,
            http2=options.http2,
            http3=options.http3,
        )
        self._session = self._new_session(options.timeout)
        self._quick_papi = self._papi(self._new_session(min(_HEALTH_TIMEOUT, options.timeout)))
        self._properties = Properties(
            self._papi(self._session),
            options.network,
            options.notify_emails,
            options.ip_version,
            options.poll_after,
            Ownership(DOM(self._session, self.group)) if options.domain_validation else None,
            compliance.record(options.compliance_record, self.group),
        )
        self._ccu = CCU(self._session, options.network)
        self._certificates = Certificates(
            CPS(self._session, options.contract),
            options.san_certs,
            options.san_cert_hostname_limit,
            read_template(options.enrollment_template, self.group),
            options.poll_after,
        )
        store = log_store.configured(options, self.group)
        self._logs = store and logging.LogDelivery(
            self._session,
            store,
            options.contract,
            options.group,
            options.notify_emails,
            options.network,
            options.poll_after,
        )
        self._edges = Edges(
            options.http_edge_hostname,
            options.shared_edge_hostname,
            options.network,
            self._certificates,
            options.default_certificates,
        )

    @property
    def quota(self) -> Mapping[str, Quota]:
        """Akamai's remaining limits on calls and objects."""
        return self._session.quota

    def check(self, spec: ServiceSpec) -> None:
        """Refuse paths, origins and names that Akamai does not support."""
        rules.check(spec, self._settings)
        for domain in spec.domains:
            own = domain.certificate == "sni" or (
                domain.certificate is None and "{domain}" in self.options.http_edge_hostname
            )
            # This limit is also below that of a common name (names.MAX_COMMON_NAME).
            if own and len(domain.domain) > _LONGEST_PREFIX:
                raise PermanentError(
                    f"Domain {domain.domain} is too long for a name at Akamai: "
                    f"{_LONGEST_PREFIX} characters"
                )
            if self.options.domain_validation and len(domain.domain) > LONGEST_DOMAIN:
                raise PermanentError(
                    f"Domain {domain.domain} is too long to be validated by Akamai: "
                    f"{LONGEST_DOMAIN} characters"
                )

    @property
    def reserved_names(self) -> Sequence[str]:
        """The edge hostnames shared by all domains."""
        options = self.options
        return edges.fixed_names(options.http_edge_hostname, options.shared_edge_hostname)

    def prepare(self, service: Service) -> None:
        """Check the document."""
        self.check(service.spec)

    def stored(self, service: Service, provider_service_id: str) -> Property | None:
        """Return the property with an id, unless it is another service's."""
        return self._properties.get(service, provider_service_id)

    def search(self, service: Service) -> Property | None:
        """Return the property with the service's name."""
        return self._properties.search(service)

    def create(self, service: Service, plan: None) -> Property:
        """Create the property; its name is unique."""
        return self._properties.make(service)

    def converge(
        self,
        service: Service,
        known: ProviderDetail | None,
        plan: None,
        found: Property,
    ) -> Deployment:
        """Activate a version that serves the document, then drop what it does not use."""
        spec = service.spec
        present = self._properties.edge_hostnames(found) if own_certificates(spec) else {}
        defaults = self._edges.defaults(spec, present)
        orders = self._orders(spec, defaults)
        edges = self._edges.of(spec, orders, defaults, present)
        version, progress = self._serve(service, found, edges)
        if defaults:
            orders |= self._properties.default_orders(found.property_id, version)
        place = self._logs.place(service, self.name) if self._logs else None
        state = Orders.of(spec, orders)
        gone = dropped_certificates(service, known)
        if progress.done:
            self._drop_certificates(gone)
            before = {one.domain for one in known.access_urls} if known is not None else set()
            dropped = before - spec.domain_names
            self._properties.release(found.property_id, found.latest, dropped)
        elif known is not None:
            # Keep these until they are removed.
            state.statuses.update((domain, known.certificates[domain]) for domain in gone)
        return Deployment(
            provider_service_id=found.property_id,
            access_urls=self._access_urls(edges),
            in_progress=bool(state.waiting) or not progress.done,
            poll_after=self.options.poll_after if progress.done else progress.poll_after,
            certificates=state.statuses,
            message="; ".join(filter(None, [*state.waiting, progress.message])),
            records=(*progress.records, *state.records),
            log_url=place.url if place else "",
        )

    def delete(self, service: Service, found: Property) -> None:
        """Deactivate the property, then delete it."""
        self._properties.take_down(found)

    def clean_up(self, service: Service, known: ProviderDetail | None) -> None:
        """Remove the stream of logs and the certificates, once no property uses them."""
        if self._logs:
            self._logs.remove(service)
        had = known.certificates if known is not None else {}
        self._drop_certificates({*own_certificates(service.spec), *had})

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict or invalidate content."""
        found = self.existing(service, known)
        cp_code = self._properties.existing_cp_code(service, found)
        self._ccu.purge(scopes(service.spec, cp_code, purge), hard=purge.hard)

    def health(self) -> bool:
        """Return whether Akamai answers and accepts the credentials."""
        return self._quick_papi.answers()

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return counts of the whole service; see :meth:`Provider.metrics`."""
        found = self.existing(service, known)
        cp_code = self._properties.existing_cp_code(service, found)
        return {"Global": reporting.points(self._session, cp_code, query)}

    def ensure_certificate(self, certificate: Certificate, known: Issuance | None) -> Issuance:
        """Order the certificate, or return its progress."""
        self._check_kind(certificate)
        order = self._certificates.ensure(certificate.domain_name, certificate.cert_type)
        return self._issuance(order)

    def remove_certificate(self, certificate: Certificate, known: Issuance | None) -> None:
        """Cancel or delete the certificate."""
        self._check_kind(certificate)
        self._certificates.remove(certificate.domain_name, certificate.cert_type)

    def certificate_status(self, certificate: Certificate) -> Issuance | None:
        """See :class:`~poppy.provider.akamai.jobs.CertificateJobs`."""
        order = self._certificates.find(certificate.domain_name, certificate.cert_type)
        return None if order is None else self._issuance(order)

    def san_mapping(self, service: Service) -> Mapping[str, str | None]:
        """See :class:`~poppy.provider.akamai.jobs.CertificateJobs`."""
        wanted = (one.domain for one in service.spec.domains if one.certificate == "san")
        enrollments = {domain: self._certificates.enrollment(domain, "san") for domain in wanted}
        return {
            domain: one.common_name + SECURE_SUFFIX if one else None
            for domain, one in enrollments.items()
        }

    def update_property(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """See :class:`~poppy.provider.akamai.jobs.CertificateJobs`."""
        present = self._properties.edge_hostnames(self.existing(service, known))
        orders = self._orders(service.spec, self._edges.defaults(service.spec, present))
        return self._move(service, known, {d: secure_edge(one) for d, one in orders.items()})

    def migrate(
        self, service: Service, known: ProviderDetail | None, domain: str, new_cert: str
    ) -> Deployment:
        """See :class:`~poppy.provider.akamai.jobs.CertificateJobs`."""
        if domain not in service.spec.domain_names:
            raise PermanentError(f"Service {service.service_id} has no domain {domain}")
        name = new_cert if new_cert.endswith(SECURE_SUFFIX) else f"{new_cert}{SECURE_SUFFIX}"
        certificate = self._certificates.by_name(name.removesuffix(SECURE_SUFFIX))
        enrollment = certificate.enrollment_id if certificate else None
        edge = EdgeHostname(name, enrollment, ours=certificate is not None)
        return self._move(service, known, {domain: edge})

    def _move(
        self,
        service: Service,
        known: ProviderDetail | None,
        moved: Mapping[str, EdgeHostname],
    ) -> Deployment:
        """Move some domains to other edge hostnames, and change nothing else."""
        found = self.existing(service, known)
        edges = self._properties.edge_hostnames(found)
        for domain in moved:
            if domain in edges and edges[domain].default:
                raise PermanentError(f"Domain {domain} has a default certificate, not one of CPS")
        edges |= {domain: edge for domain, edge in moved.items() if domain in edges}
        _version, progress = self._serve(service, found, edges)
        return Deployment(
            provider_service_id=found.property_id,
            access_urls=self._access_urls(edges),
            in_progress=not progress.done,
            poll_after=progress.poll_after,
            message=progress.message,
            certificates=known.certificates if known is not None else {},
        )

    def _serve(
        self, service: Service, found: Property, edges: Mapping[str, EdgeHostname]
    ) -> tuple[int, Progress]:
        """Write and activate the document. Return the number of its version, too."""
        place = self._logs.place(service, self.name) if self._logs else None
        stream = self._logs.prepare(service, found, place) if self._logs else None

        def tree_for(cp_code: int) -> Document:
            return logging.with_stream(rules.tree(service.spec, cp_code, self._settings), stream)

        version = self._properties.write(service, found, tree_for, edges)
        progress = self._properties.activate(found.property_id, version, edges)
        if self._logs and progress.done:
            progress = self._logs.finish(service, found, place, stream)
        return version, progress

    def _access_urls(self, edges: Mapping[str, EdgeHostname]) -> dict[str, str]:
        return {domain: self._edges.public(edges[domain].name) for domain in sorted(edges)}

    def _orders(self, spec: ServiceSpec, defaults: Collection[str]) -> dict[str, Order]:
        """Return the orders of domains with their own certificate, each with its enrollment.

        Args:
            defaults: domains that need no order.
        """
        orders = {
            domain: self._certificates.ensure(domain, kind)
            for domain, kind in own_certificates(spec).items()
            if domain not in defaults
        }
        unplaced = [order.wants for order in orders.values() if order.enrollment_id is None]
        if unplaced:
            raise InProgressError("; ".join(unplaced), self.options.poll_after)
        return orders

    def _drop_certificates(self, domains: Collection[str]) -> None:
        """Remove the domains' own certificates of all configured kinds."""
        for domain in sorted(domains):
            for kind in self._certificates.kinds:
                self._certificates.remove(domain, kind)

    def _check_kind(self, certificate: Certificate) -> None:
        kind = certificate.cert_type
        if kind not in self._certificates.kinds:
            raise PermanentError(
                f"{self.name} has no {kind} certificates to order without a service"
            )

    def _issuance(self, order: Order) -> Issuance:
        details: dict[str, object] = {
            "enrollment_id": order.enrollment_id,
            "edge_hostname": order.common_name + SECURE_SUFFIX if order.common_name else None,
            "waits_for": order.wants,
            "validation": [
                {"domain": record.domain, "name": record.name, "value": record.value}
                for record in order.records
            ],
        }
        return Issuance(
            status=order.status,
            details=details,
            in_progress=order.status == "create_in_progress",
            poll_after=self.options.poll_after,
        )

    def _new_session(self, timeout: float) -> Session:
        options = self.options
        found = credentials(options, self.group)
        return Session(
            self.name,
            options.api_url or f"https://{found.host}",
            found,
            timeout,
            options.account_switch_key,
        )

    def _papi(self, session: Session) -> PAPI:
        options = self.options
        return PAPI(session, options.contract, options.group, options.product, options.rule_format)
