# SPDX-License-Identifier: Apache-2.0
"""The provider ``akamai``.

``doc/source/drivers/akamai.rst`` describes how each field of a service is mapped.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from oslo_config import cfg

from poppy.common.errors import ConfigError, InProgressError, PermanentError
from poppy.common.http import Quota
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import edge, log_store
from poppy.provider.akamai import compliance, logging, reporting, rules
from poppy.provider.akamai.ccu import CCU
from poppy.provider.akamai.certificates import Certificates, Order
from poppy.provider.akamai.cps import CPS
from poppy.provider.akamai.dom import DOM, LONGEST_DOMAIN
from poppy.provider.akamai.edgegrid import Document, Session, credentials
from poppy.provider.akamai.edges import SECURE_SUFFIX, EdgeHostname, Edges, secure_edge
from poppy.provider.akamai.options import OPTS
from poppy.provider.akamai.ownership import Ownership
from poppy.provider.akamai.papi import PAPI, Property
from poppy.provider.akamai.properties import Progress, Properties
from poppy.provider.base import Capability, Deployment, Issuance, Point, Provider, Query

_OWN_CERTIFICATE = ("san", "sni")
_HEALTH_TIMEOUT = 3.0  # Seconds.
_REQUIRED = ("contract", "group", "product", "notify_emails")
#: Maximum bytes of an edge hostname's prefix. A whole name has at most 255 bytes.
_LONGEST_PREFIX = 60


class AkamaiProvider(Provider):
    """Run each service as one Akamai property, named after the service's id.

    Earlier versions of Poppy put many services into one property, as policies of a reseller API.
    Separate properties need no reseller contract, isolate the services' rules, and activate one
    service at a time.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = OPTS

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFERRER,
            Capability.CLIENT_IP,
            Capability.GEOGRAPHY,
            Capability.SOFT_PURGE,
            Capability.ORIGIN_SSL,
            Capability.ANALYTICS,
        }
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: an option is missing, or a file can't be read.
        """
        super().__init__(conf, name)
        options = self.options
        self._group = f"drivers:provider:{name}"
        for option in _REQUIRED:
            if not options[option]:
                raise self._error(f"{option} is not set")
        self._template = self._read_template()
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
            Ownership(DOM(self._session, self._group)) if options.domain_validation else None,
            compliance.record(options.compliance_record, self._group),
        )
        self._ccu = CCU(self._session, options.network)
        self._certificates = Certificates(
            CPS(self._session, options.contract),
            options.san_certs,
            options.san_cert_hostname_limit,
            self._template,
            options.poll_after,
        )
        store = log_store.configured(options, self._group)
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
        )

    @property
    def supports(self) -> frozenset[Capability]:
        """The capabilities, with those that the options enable: certificates and logs."""
        options = self.options
        kinds = {
            Capability.SAN_CERTIFICATE: options.san_certs,
            Capability.SNI_CERTIFICATE: options.enrollment_template,
            Capability.SHARED_CERTIFICATE: options.shared_edge_hostname,
            Capability.LOG_DELIVERY: options.log_bucket,
        }
        return self.SUPPORTS | {kind for kind, option in kinds.items() if option}

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
        return edge.fixed_names(options.http_edge_hostname, options.shared_edge_hostname)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Make the property serve the document; see :meth:`Provider.ensure`."""
        spec = service.spec
        self.check(spec)
        orders = self._orders(spec)
        found = self._properties.find(service, known) or self._properties.make(service)
        present = self._properties.edge_hostnames(found) if orders else {}
        edges = self._edges.of(spec, orders, present)
        progress = self._serve(service, found, edges)
        place = self._logs.place(service, self.name) if self._logs else None
        had = known.certificates if known is not None else {}
        gone = set(had) - {one.domain for one in spec.domains if one.certificate}
        if progress.done:
            self._drop_certificates(gone)
            gone = set()
            before = {one.domain for one in known.access_urls} if known is not None else set()
            dropped = before - spec.domain_names
            self._properties.release(found.property_id, found.latest, dropped)
        waiting = [one for one in orders.values() if one.status == "create_in_progress"]
        certificates = {domain: order.status for domain, order in orders.items()}
        certificates |= {
            one.domain: "deployed" for one in spec.domains if one.certificate == "shared"
        }
        # Keep these until they are removed.
        certificates |= {domain: had[domain] for domain in gone}
        return Deployment(
            provider_service_id=found.property_id,
            access_urls={
                domain: self._edges.public(edges[domain].name) for domain in sorted(edges)
            },
            in_progress=bool(waiting) or not progress.done,
            poll_after=self.options.poll_after if progress.done else progress.poll_after,
            certificates=certificates,
            message="; ".join(filter(None, [*(one.wants for one in waiting), progress.message])),
            records=(*progress.records, *(record for one in waiting for record in one.records)),
            log_url=place.url if place else "",
        )

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Deactivate and delete the property, then its certificates; see base."""
        self._properties.take_down(service, known)
        if self._logs:
            self._logs.remove(service)
        had = set(known.certificates if known is not None else {})
        own = {one.domain for one in service.spec.domains if one.certificate in _OWN_CERTIFICATE}
        self._drop_certificates(own | had)

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict or invalidate content. Akamai can't purge patterns, so they purge everything."""
        found = self._existing(service, known)
        if purge.url is None or "*" in purge.url:
            cp_code = self._properties.existing_cp_code(service, found)
            self._ccu.purge_cp_code(cp_code, hard=purge.hard)
            return
        path = quote(purge.url, safe="/%?&=:;,+$!~*'()@[]-._")
        urls = [f"{one.protocol}://{one.domain}{path}" for one in service.spec.domains]
        self._ccu.purge_urls(urls, hard=purge.hard)

    def health(self) -> bool:
        """Return whether Akamai answers and accepts the credentials."""
        return self._quick_papi.answers()

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return counts of the whole service; see :meth:`Provider.metrics`."""
        found = self._existing(service, known)
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
        orders = self._orders(service.spec)
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
        found = self._existing(service, known)
        present = self._properties.edge_hostnames(found)
        edges = {domain: EdgeHostname(name, ours=False) for domain, name in present.items()}
        edges |= {domain: edge for domain, edge in moved.items() if domain in edges}
        progress = self._serve(service, found, edges)
        return Deployment(
            provider_service_id=found.property_id,
            access_urls={
                domain: self._edges.public(edges[domain].name) for domain in sorted(edges)
            },
            in_progress=not progress.done,
            poll_after=progress.poll_after,
            message=progress.message,
            certificates=known.certificates if known is not None else {},
        )

    def _serve(
        self, service: Service, found: Property, edges: Mapping[str, EdgeHostname]
    ) -> Progress:
        place = self._logs.place(service, self.name) if self._logs else None
        stream = self._logs.prepare(service, found, place) if self._logs else None

        def tree_for(cp_code: int) -> Document:
            return logging.with_stream(rules.tree(service.spec, cp_code, self._settings), stream)

        version = self._properties.write(service, found, tree_for, edges)
        progress = self._properties.activate(found.property_id, version, edges)
        if self._logs and progress.done:
            return self._logs.finish(service, found, place, stream)
        return progress

    def _existing(self, service: Service, known: ProviderDetail | None) -> Property:
        found = self._properties.find(service, known)
        if found is None:
            raise PermanentError(f"{self.name} has no service {service.service_id}")
        return found

    def _orders(self, spec: ServiceSpec) -> dict[str, Order]:
        """Return the orders of domains with their own certificate, each with its enrollment."""
        orders = {
            domain.domain: self._certificates.ensure(domain.domain, domain.certificate)
            for domain in spec.domains
            if domain.certificate in _OWN_CERTIFICATE
        }
        unplaced = [order.wants for order in orders.values() if order.enrollment_id is None]
        if unplaced:
            raise InProgressError("; ".join(unplaced), self.options.poll_after)
        return orders

    def _drop_certificates(self, domains: Collection[str]) -> None:
        """Remove the domains' own certificates of all enabled kinds."""
        kinds = [kind for kind in _OWN_CERTIFICATE if _capability(kind) in self.supports]
        for domain in sorted(domains):
            for kind in kinds:
                self._certificates.remove(domain, kind)

    def _check_kind(self, certificate: Certificate) -> None:
        kind = _capability(certificate.cert_type)
        if kind not in self.supports:
            raise PermanentError(f"{self.name} has no {kind}")

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
        found = credentials(options, self._group)
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

    def _read_template(self) -> Document | None:
        file = self.options.enrollment_template
        if not file:
            return None
        try:
            found: Any = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise self._error(f"enrollment_template can't be read: {exc}") from exc
        if not isinstance(found, dict):
            raise self._error("enrollment_template is not a JSON object")
        return found

    def _error(self, message: str) -> ConfigError:
        return ConfigError(f"[{self._group}] {message}")


def _capability(kind: str) -> Capability:
    return Capability(f"{kind} certificates")
