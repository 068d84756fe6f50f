# SPDX-License-Identifier: Apache-2.0
"""The provider ``edge``: the operator's own edge of nodes that pull what they serve.

``doc/source/specs/edge-pulls.rst`` describes the design.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from oslo_config import cfg
from oslo_log import log

from poppy.common import addresses, errors, vault
from poppy.common.errors import InProgressError, PermanentError
from poppy.edge.program import Program
from poppy.model.certificates import Uploaded
from poppy.model.edge import EdgeLog, HasEdge, TextRecords
from poppy.model.edge_logs import LogObject
from poppy.model.edge_traffic import Domain
from poppy.model.operations import Purge
from poppy.model.pools import NameKeeping
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import log_store
from poppy.provider.base import Capability, Deployment, Point, Provider, Query, Sighting
from poppy.provider.edge import acme_options, document_secrets, statistics
from poppy.provider.edge.abilities import SUPPORTED
from poppy.provider.edge.acme_orders import Order, Owner
from poppy.provider.edge.compiler import check_shared, compile_program
from poppy.provider.edge.logs import LogUploads
from poppy.provider.edge.nodes import LATEST, SOONEST, Nodes, check_accepted, live, not_fetched
from poppy.provider.edge.options import OPTS

if TYPE_CHECKING:
    from poppy.provider.edge.certificates import Certificates
    from poppy.provider.edge.shared import SharedCertificates

LOG = log.getLogger(__name__)

_SHOWN = 3  # Nodes in a message about a prewarm.
_ANY = "any"  # The ID of a service that does not exist yet.


class EdgeProvider(Provider):
    """Publishes programs of services in the store, from where the nodes fetch them.

    A change is done once enough live nodes have reported its revision. A node that is away does
    not hold it up: it catches up before it serves again.

    A program that any live node refuses fails at once, with that node's reason: nodes check
    programs alike, so that the others would refuse it too. It stays published, because some nodes
    may serve it already.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (*OPTS, *log_store.OPTS, *acme_options.OPTS)

    SUPPORTS: ClassVar[frozenset[Capability]] = SUPPORTED
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = {
        Capability.GEOGRAPHY: ("geography",),
        Capability.ANALYTICS_BY_COUNTRY: ("geography",),
        Capability.LOG_DELIVERY: ("log_bucket",),
        Capability.SNI_CERTIFICATE: ("acme_directories",),
        Capability.CUSTOM_CERTIFICATE: ("encryption_keys",),
        Capability.SHARED_CERTIFICATE: ("acme_shared_certificates",),
    }

    _storage: HasEdge
    _log: EdgeLog
    _certificates: "Certificates | None" = None
    _shared: "SharedCertificates | None" = None

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: a network is invalid, or the store of logs is not complete.
        """
        super().__init__(conf, name)
        self._logs = LogUploads(log_store.configured(self.options, self.group), name)
        self._allowed = self._networks("allowed_origins")
        self._refused = self._networks("refused_origins")

    def attach(self, storage: HasEdge) -> None:
        """Keep the log of changes; see :meth:`Provider.attach`."""
        self._storage, self._log = storage, storage.edge
        self._nodes = Nodes(self._log, self.options)
        if self.options.acme_directories or self.options.encryption_keys:
            # Needs libraries of the extra ``edge``.
            from poppy.provider.edge.certificates import Certificates

            self._certificates = Certificates(self.options, self.group, self._log, self)

    def attach_dns(self, dns: TextRecords) -> None:
        """Prepare shared certificates; see :meth:`Provider.attach_dns`."""
        if not self.options.acme_shared_certificates:
            return
        if not self.options.acme_directories:
            raise self.config_error("acme_shared_certificates needs acme_directories")
        if not (dns.TEXTS and dns.shards):
            raise self.config_error(
                "acme_shared_certificates needs shards (shared_ssl_num_shards) and a DNS driver "
                "with TXT records"
            )
        from poppy.provider.edge.shared import SharedCertificates

        self._shared = SharedCertificates(self.options, self.group, self._storage, dns)

    @property
    def reserved_names(self) -> Sequence[str]:
        """The DNS name of the nodes, ``edge_name``."""
        return (self.options.edge_name,)

    @property
    def name_keeping(self) -> NameKeeping | None:
        """How Poppy keeps ``edge_name`` in DNS; None if the operator keeps it."""
        options = self.options
        if not options.edge_dns:
            return None
        return NameKeeping(
            options.edge_name,
            options.edge_dns_ttl,
            options.edge_dns_interval,
            options.edge_dns_dead_after,
            options.max_behind,
        )

    def check(self, spec: ServiceSpec) -> None:
        """Refuse a document that no node would serve; see :meth:`Provider.check`."""
        for entry in spec.origins:
            address = addresses.parse(entry.origin)
            try:
                if address is not None:
                    addresses.check(address, self._allowed, self._refused)
            except addresses.Refused as exc:
                raise PermanentError(f"The origin {entry.origin}: {exc}") from exc
        if not spec.origins:
            raise PermanentError(
                "The edge orders a certificate with the service that has the domain"
            )
        check_shared(spec)
        compile_program(_ANY, spec)
        if self._certificates is not None:
            self._certificates.check(spec)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Publish the program, and see whether the nodes have it; see :meth:`Provider.ensure`."""
        place = self._logs.place(service)
        program = self._compiled(service)
        owner = Owner.of(service)
        orders: Sequence[Order] = ()
        if self._certificates:
            orders = self._certificates.seal_again(self._certificates.orders(owner))
        text = program.to_json()
        if self._certificates and orders:
            text = self._certificates.publication(program, orders)
        stamp = self._log.publish(service.service_id, text)
        progress = self._nodes.progress(stamp)
        check_accepted(progress.live, service, stamp, "can't serve it")
        edge: str = self.options.edge_name
        deployment = Deployment(
            provider_service_id=service.service_id,
            access_urls={domain: edge for domain in sorted(service.spec.domain_names)},
            in_progress=bool(progress.message),
            poll_after=progress.poll_after,
            message=progress.message,
            certificates=known.certificates if known else {},
            certificate_messages=known.certificate_messages if known else {},
            log_url=place.url if place else "",
        )
        if progress.message or self._certificates is None:
            return deployment
        urls = known.access_urls if known else ()
        ready = {entry.domain.lower() for entry in urls if entry.operator_url}
        work = self._certificates.advance(owner, orders, ready)
        waiting = [] if work.poll_after is None else ["waiting for certificates"]
        poll_after = work.poll_after or (SOONEST if waiting else LATEST)
        waiting += self._unshared(service.spec)
        return replace(
            deployment,
            certificates=work.statuses,
            certificate_messages=work.messages,
            in_progress=bool(waiting),
            poll_after=poll_after,
            message="; ".join(waiting),
        )

    def _compiled(self, service: Service) -> Program:
        log_project = service.project_id if self._logs.place(service) else ""
        return compile_program(service.service_id, service.spec, log_project)

    def _unshared(self, spec: ServiceSpec) -> Sequence[str]:
        """Return why shared domains have no certificate yet."""
        shared = [it.domain.lower() for it in spec.domains if it.certificate == "shared"]
        found = [self._shared.missing(it) for it in shared] if self._shared else []
        return [reason for reason in found if reason]

    def inspect(self, service: Service, known: ProviderDetail | None) -> Sighting:
        """Compare the published program, and see whether nodes refuse it; see base."""
        current = self._log.current(service.service_id)
        if current is None or current.program is None:
            return Sighting(("the edge does not have the service",))
        wanted = self._compiled(service).to_dict()
        published = json.loads(current.program)
        differing = sorted(name for name in wanted if published.get(name) != wanted[name])
        if differing:
            return Sighting((f"the program of the edge differs in {', '.join(differing)}",))
        try:
            check_accepted(self._nodes.live(), service, current.stamp, "can't serve it")
        except PermanentError as exc:
            return Sighting((str(exc),), repairable=False)
        return Sighting()

    def publish(self, order: Order) -> None:
        """Wait until the nodes have an order's challenges, which :meth:`ensure` publishes."""
        current = self._log.current(order.service_id)
        program = json.loads((current and current.program) or "{}")
        tokens = {it["token"] for it in program.get("challenges", ())}
        if current is None or not {it.name for it in order.challenges} <= tokens:
            raise InProgressError("the challenges are being published", SOONEST)
        self._nodes.wait(current.stamp)

    def withdraw(self, order: Order) -> None:
        """Do nothing: the next publication has no challenges of this order."""

    def reveal(self, program: str) -> str:
        """Return a published program as nodes get it, with private keys and documents' secrets.

        Raises:
            ConfigError: a key to decrypt them is missing.
        """
        if document_secrets.MARK in program:
            program = document_secrets.reveal(program, self._document_vault)
        if '"certificates"' not in program:
            return program
        if self._certificates is None:
            raise self.config_error("encryption_keys: it is empty, but there are certificates")
        return self._certificates.reveal(program)

    @functools.cached_property
    def _document_vault(self) -> vault.Vault:
        return vault.Vault(self.conf[vault.GROUP].encryption_keys, vault.GROUP)

    def log_upload(self, upload: LogObject, node: str) -> str | None:
        """Return the URL with which a node puts logs into the bucket; None without a bucket.

        Raises:
            PermanentError: the service belongs to another project.
        """
        current = self._log.current(upload.service_id)
        return self._logs.url(upload, node, current.program if current else None)

    def keep_certificate(self, service: Service, domain: str, chain: str, key: str) -> None:
        """Keep a tenant's certificate; see :meth:`Provider.keep_certificate`."""
        if self._certificates is None:
            raise PermanentError(f"{self.name} has no encryption_keys")
        self._certificates.keep(service, domain, chain, key)

    def kept_certificate(self, service: Service, domain: str) -> Uploaded | None:
        """Return a tenant's certificate; see :meth:`Provider.kept_certificate`."""
        return self._certificates.kept(service, domain) if self._certificates else None

    def drop_certificate(self, service: Service, domain: str) -> None:
        """Delete a tenant's certificate; see :meth:`Provider.drop_certificate`."""
        if self._certificates is not None:
            self._certificates.drop(service, domain)

    def maintain(self) -> None:
        """Continue the orders of shared certificates; see :meth:`Provider.maintain`."""
        if self._shared is not None:
            self._shared.maintain()

    @property
    def key_ids(self) -> Sequence[str]:
        """The IDs of the keys that encrypt private keys in the store; new ones get the first."""
        return self._certificates.key_ids if self._certificates else ()

    def seal_accounts(self) -> Sequence[str]:
        """Encrypt accounts' keys with the first key; return the IDs of their previous keys.

        Raises:
            ConfigError: a key is missing.
        """
        return self._certificates.seal_accounts() if self._certificates else ()

    def due(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return services with orders that can go on; see :meth:`Provider.due`."""
        return self._certificates.due(limit) if self._certificates else ()

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Withdraw the program, and wait for the nodes; see :meth:`Provider.remove`.

        An edge without nodes serves nothing, so nothing is waited for.
        """
        stamp = self._log.withdraw(service.service_id)
        if self._certificates is not None:
            self._certificates.forget(Owner.of(service))
        if stamp is not None:
            self._nodes.wait(stamp, len(self._log.nodes()))

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Record the purge, and wait for the nodes; see :meth:`Provider.purge`.

        A purge without a reference can't be recognised when it is repeated, so it is not waited
        for.
        """
        current = self._log.current(service.service_id)
        if current is None or current.program is None:
            raise self.no_such(service)
        stamp = self._log.purge(service.service_id, purge)
        if purge.reference:
            self._nodes.wait(stamp)
            check_accepted(self._nodes.live(), service, stamp, "can't purge it")

    def prewarm(
        self,
        service: Service,
        known: ProviderDetail | None,
        paths: Sequence[str],
        reference: str,
    ) -> str:
        """Record the paths, and wait until the nodes have fetched them; see base."""
        current = self._log.current(service.service_id)
        if current is None or current.program is None:
            raise self.no_such(service)
        stamp = self._log.prewarm(service.service_id, paths, reference)
        self._nodes.wait(stamp)
        nodes = self._nodes.live()
        check_accepted(nodes, service, stamp, "can't prewarm it")
        return "; ".join(not_fetched(nodes, service, stamp)[:_SHOWN])

    def health(self) -> bool:
        """Return whether the store answers and any node serves."""
        return self.serves() is True

    def serves(self) -> bool | None:
        """Return whether any node serves; None if the store does not answer.

        One is enough, because the DNS name or load balancer of the nodes picks those that serve.
        """
        try:
            head, nodes = self._log.head(), self._log.nodes()
        except errors.Unavailable as exc:
            LOG.warning("%s: %s", self.name, exc)
            return None
        oldest = head - self.options.max_behind
        return any(
            node.report is not None and node.report.ready and node.revision >= oldest
            for node in live(nodes)
        )

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return counts by hour, of all nodes together; see :meth:`Provider.metrics`."""
        domain = Domain(service.service_id, query.domain)
        if query.by_country:
            zones = self._log.traffic_by_country(domain, query.start, query.end)
        else:
            zones = {"Global": self._log.traffic(domain, query.start, query.end)}
        return {zone: statistics.points(hours, query.metric) for zone, hours in zones.items()}

    def _networks(self, option: str) -> list[addresses.Network]:
        try:
            return addresses.networks(self.options[option])
        except ValueError as exc:
            raise self.config_error(f"{option}: {exc}") from exc
