# SPDX-License-Identifier: Apache-2.0
"""The provider ``fastly``.

``doc/source/drivers/fastly.rst`` describes how each field of a service is mapped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from oslo_config import cfg
from oslo_log import log

from poppy.common.errors import ConfigError, PermanentError, RetryableError
from poppy.common.http import Quota
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import Domain, ServiceSpec
from poppy.provider import edge, log_store
from poppy.provider.base import (
    Capability,
    Deployment,
    Issuance,
    Point,
    Provider,
    Query,
    check_access_name,
)
from poppy.provider.fastly import keys, statistics
from poppy.provider.fastly.api import API
from poppy.provider.fastly.configuration import Settings, check_limits, wanted
from poppy.provider.fastly.tls import Certificates, Subscription
from poppy.provider.fastly.versions import Versions

LOG = log.getLogger(__name__)

_OWN_CERTIFICATE = ("san", "sni")
_HEALTH_TIMEOUT = 3.0  # Seconds.
_POLL = 60.0  # Seconds; issuing takes minutes after the domain's owner has created the record.
_AGAIN = 5.0  # Seconds.
_MOST = 5  # Maximum objects of one service after races.
_COMMENT = "managed by Poppy, which reverts manual changes"


class FastlyProvider(Provider):
    """Run each service as one Fastly service, named after the service's id."""

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        cfg.StrOpt(
            "token",
            secret=True,
            help="A user's API token or an automation token, with the scope global and the role "
            "engineer. Ordering certificates also needs the permission to manage TLS.",
        ),
        cfg.StrOpt("api_url", default="https://api.fastly.com", help="URL of Fastly's API."),
        cfg.FloatOpt(
            "timeout",
            default=30.0,
            min=0.1,
            help="Timeout of an API call in seconds.",
        ),
        cfg.StrOpt(
            "http_access_name",
            default="dualstack.nonssl.global.fastly.net",
            help="CNAME target of http domains; {domain} stands for the domain.",
        ),
        cfg.StrOpt(
            "tls_configuration",
            help="Id of the TLS configuration for san and sni certificates. It determines the "
            "CNAME target of their domains. Default: the account's.",
        ),
        cfg.StrOpt(
            "certificate_authority",
            choices=["certainly", "lets-encrypt", "globalsign"],
            help="Certificate authority of san and sni certificates. Default: Fastly's.",
        ),
        cfg.StrOpt(
            "shared_tls_configuration",
            help="Id of the TLS configuration for shared domains, with a certificate that you "
            "have uploaded and activated at Fastly.",
        ),
        cfg.StrOpt(
            "shared_access_name",
            help="CNAME target of shared domains, instead of that of shared_tls_configuration. "
            "If both are unset, there are no shared certificates.",
        ),
        cfg.IntOpt(
            "grace",
            default=300,
            min=0,
            help="Seconds after its TTL, or after a soft purge, that an object may be served "
            "stale while a new one is fetched or the origin is down.",
        ),
        cfg.IntOpt(
            "stale_if_error",
            min=0,
            help="Seconds after its TTL, or after a soft purge, that an object may be served "
            "stale if the origin is down or answers with 5xx. Default: grace.",
        ),
        cfg.FloatOpt(
            "connect_timeout",
            default=5.0,
            min=0.1,
            help="Seconds that an edge waits to connect to an origin.",
        ),
        cfg.FloatOpt(
            "first_byte_timeout",
            default=60.0,
            min=0.1,
            help="Seconds that an edge waits for the first byte of an origin's response.",
        ),
        cfg.FloatOpt(
            "between_bytes_timeout",
            default=60.0,
            min=0.1,
            help="Seconds that an edge waits between two parts of an origin's response.",
        ),
        cfg.IntOpt(
            "max_backends",
            default=5,
            min=1,
            help="Maximum origins of a service: the account's limit on backends per service.",
        ),
        cfg.BoolOpt(
            "segmented_caching",
            default=True,
            help="Let Fastly cache large objects in segments. Otherwise it answers requests for "
            "objects of more than 20 MB with 503. Incompatible with Fastly's compression.",
        ),
        *log_store.OPTS,
    )

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFERRER,
            Capability.CLIENT_IP,
            Capability.GEOGRAPHY,
            Capability.SOFT_PURGE,
            Capability.ORIGIN_SSL,
            Capability.IPV6_ORIGIN,
            Capability.SAN_CERTIFICATE,
            Capability.SNI_CERTIFICATE,
            Capability.ANALYTICS,
        }
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: there is no token, or the store of logs is not complete.
        """
        super().__init__(conf, name)
        options = self.options
        if not options.token:
            raise ConfigError(f"[drivers:provider:{name}] token is not set")
        self._settings = Settings(
            grace=options.grace,
            connect_timeout=options.connect_timeout,
            first_byte_timeout=options.first_byte_timeout,
            between_bytes_timeout=options.between_bytes_timeout,
            segmented_caching=options.segmented_caching,
            stale_if_error=(
                options.grace if options.stale_if_error is None else options.stale_if_error
            ),
        )
        self._logs = log_store.configured(options, f"drivers:provider:{name}")
        self._api = API(name, options.api_url, options.token, options.timeout)
        timeout = min(options.timeout, _HEALTH_TIMEOUT)
        self._quick_api = API(name, options.api_url, options.token, timeout)
        self._versions = Versions(self._api)
        self._certificates = Certificates(
            self._api, options.tls_configuration, options.certificate_authority
        )

    @property
    def supports(self) -> frozenset[Capability]:
        """The capabilities, with those that need options: shared certificates and logs."""
        options = self.options
        optional = {
            Capability.SHARED_CERTIFICATE: options.shared_access_name
            or options.shared_tls_configuration,
            Capability.LOG_DELIVERY: self._logs,
        }
        return self.SUPPORTS | {kind for kind, option in optional.items() if option}

    @property
    def quota(self) -> Mapping[str, Quota]:
        """Fastly's remaining limit on changes."""
        return self._api.quota

    def check(self, spec: ServiceSpec) -> None:
        """Refuse what Fastly can't express or does not allow; see :meth:`Provider.check`."""
        check_limits(wanted(spec, self._settings), self.options.max_backends)
        for domain in spec.domains:
            if domain.certificate is None:
                check_access_name(domain.domain, self._http_access_name(domain))

    @property
    def reserved_names(self) -> Sequence[str]:
        """The CNAME targets shared by all domains."""
        return edge.fixed_names(self.options.http_access_name, self.options.shared_access_name)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Activate a version that serves the document; see :meth:`Provider.ensure`."""
        logs = log_store.place(self._logs, service, self.name)
        objects = wanted(service.spec, self._settings, logs)
        fastly_id = self._find(service, known) or self._make(service)
        self._versions.converge(fastly_id, objects)
        for domain in sorted(_dropped(service, known)):
            self._certificates.remove(domain, force=True)
        try:
            found = self._deployment(service, known, fastly_id)
        except PermanentError as exc:
            # Fastly accepts orders only for active domains. If another worker has changed the
            # active version, the refusal may be temporary.
            if self._versions.serves(fastly_id, objects):
                raise
            raise RetryableError(
                f"Fastly's service {fastly_id} was changed concurrently", _AGAIN
            ) from exc
        return replace(found, log_url=logs.url) if logs else found

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the service and its certificates; see :meth:`Provider.remove`."""
        ordered = {domain.domain for domain in _with_own_certificate(service.spec)}
        for domain in sorted(ordered | _dropped(service, known)):
            self._certificates.remove(domain, force=True)
        for _ in range(_MOST):
            fastly_id = self._find(service, known)
            if fastly_id is None:
                return
            self._versions.stop(fastly_id)
            self._api.delete_service(fastly_id)
        raise RetryableError(f"Fastly still has a service {_name(service)}", retry_after=_AGAIN)

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict objects or make them stale by surrogate key; see :meth:`Provider.purge`."""
        key = keys.key(purge.url)
        fastly_id = self._find(service, known)
        if fastly_id is None:
            raise PermanentError(f"{self.name} has no service {service.service_id}")
        if key == keys.EVERYTHING and purge.hard:
            self._api.purge_all(fastly_id)
        else:
            self._api.purge_key(fastly_id, key, soft=not purge.hard)

    def health(self) -> bool:
        """Return whether Fastly answers and accepts the token."""
        return self._quick_api.answers()

    def ensure_certificate(self, certificate: Certificate, known: Issuance | None) -> Issuance:
        """Order the certificate; Fastly requires that its domain is on an active service."""
        retry = known is not None and known.status == "failed"
        found = self._certificates.ensure(certificate.domain_name, retry=retry)
        return Issuance(
            status=found.status,
            details={"validation": [record._asdict() for record in found.records]},
            in_progress=found.status == "create_in_progress",
            poll_after=_POLL,
        )

    def remove_certificate(self, certificate: Certificate, known: Issuance | None) -> None:
        """Delete the order; Fastly refuses while the certificate is in use."""
        self._certificates.remove(certificate.domain_name, force=False)

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return counts of the whole service by region; see :meth:`Provider.metrics`."""
        fastly_id = self._find(service, known)
        if fastly_id is None:
            raise PermanentError(f"{self.name} has no service {service.service_id}")
        return statistics.metrics(self._api, fastly_id, query)

    def _find(self, service: Service, known: ProviderDetail | None) -> str | None:
        """Return the id of the Fastly service, even if it is not stored; None without one."""
        name = _name(service)
        if known is not None and known.provider_service_id is not None:
            details = self._api.details(known.provider_service_id)
            # Fastly still returns deleted services for a while.
            if details is not None and details["name"] == name and not details.get("deleted_at"):
                return known.provider_service_id
        return self._api.find_service(name)

    def _make(self, service: Service) -> str:
        """Create the Fastly service, and delete it again if another worker was faster."""
        made = self._api.create_service(_name(service), _COMMENT)
        found = self._api.find_service(_name(service)) or made
        if found is None:
            raise RetryableError(
                f"Fastly has a service {_name(service)}, but can't find it", retry_after=_AGAIN
            )
        if made is not None and made != found:
            # Another worker was faster, and the account allows two services with one name.
            self._api.delete_service(made)
        return found

    def _deployment(
        self, service: Service, known: ProviderDetail | None, fastly_id: str
    ) -> Deployment:
        before = known.certificates if known is not None else {}
        orders = {
            domain.domain: self._certificates.ensure(
                domain.domain, retry=before.get(domain.domain) == "failed"
            )
            for domain in _with_own_certificate(service.spec)
        }
        waiting = [order for order in orders.values() if order.status == "create_in_progress"]
        for order in waiting:
            LOG.info("%s: service %s: %s", self.name, service.service_id, order.wants)
        certificates = {domain: order.status for domain, order in orders.items()}
        certificates |= {
            domain.domain: "deployed"
            for domain in service.spec.domains
            if domain.certificate == "shared"
        }
        return Deployment(
            provider_service_id=fastly_id,
            access_urls={
                domain.domain: self._access_name(domain, orders.get(domain.domain))
                for domain in sorted(service.spec.domains, key=lambda domain: domain.domain)
            },
            in_progress=bool(waiting),
            poll_after=_POLL,
            certificates=certificates,
            message="; ".join(order.wants for order in waiting),
            records=[record for order in orders.values() for record in order.dns_records],
        )

    def _access_name(self, domain: Domain, order: Subscription | None) -> str:
        options = self.options
        if domain.certificate == "shared":
            if options.shared_access_name:
                return str(options.shared_access_name)
            return self._certificates.access_name(options.shared_tls_configuration)
        if order is None:
            return self._http_access_name(domain)
        configuration = order.configuration or options.tls_configuration
        if configuration is None:
            raise PermanentError(
                f"Fastly does not say which TLS configuration {domain.domain} has: set "
                "tls_configuration"
            )
        return self._certificates.access_name(configuration)

    def _http_access_name(self, domain: Domain) -> str:
        return str(self.options.http_access_name).replace("{domain}", domain.domain)


def _name(service: Service) -> str:
    """Return the name of the Fastly service of a service."""
    return f"poppy-{service.service_id}"


def _with_own_certificate(spec: ServiceSpec) -> Iterator[Domain]:
    return (domain for domain in spec.domains if domain.certificate in _OWN_CERTIFICATE)


def _dropped(service: Service, known: ProviderDetail | None) -> set[str]:
    """Return domains that have a certificate of their own but do not need it any more."""
    before = known.certificates if known is not None else {}
    kept = {domain.domain for domain in _with_own_certificate(service.spec)}
    shared = {d.domain for d in service.spec.domains if d.certificate == "shared"}
    return set(before) - kept - shared
