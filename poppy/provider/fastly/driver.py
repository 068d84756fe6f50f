# SPDX-License-Identifier: Apache-2.0
"""The provider ``fastly``.

``doc/source/drivers/fastly.rst`` describes how each field of a service is mapped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from oslo_config import cfg
from oslo_log import log

from poppy.common import vault
from poppy.common.errors import PermanentError, RetryableError
from poppy.common.http import Quota
from poppy.model.certificates import Certificate, Uploaded
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.secrets import purpose
from poppy.model.services import Service
from poppy.model.specs import Domain, ServiceSpec
from poppy.provider import edges, log_store
from poppy.provider.base import (
    Capability,
    Deployment,
    Issuance,
    Point,
    Query,
    check_access_name,
)
from poppy.provider.fastly import cache_keys, keys, statistics
from poppy.provider.fastly.api import API
from poppy.provider.fastly.configuration import Objects, Settings, check_limits, wanted
from poppy.provider.fastly.custom import Uploads
from poppy.provider.fastly.dictionaries import dictionary
from poppy.provider.fastly.options import OPTS
from poppy.provider.fastly.tls import Certificates, Subscription
from poppy.provider.fastly.versions import Versions
from poppy.provider.skeleton import (
    ObjectProvider,
    Orders,
    dropped_certificates,
    own_certificates,
)

LOG = log.getLogger(__name__)

_HEALTH_TIMEOUT = 3.0  # Seconds.
_POLL = 60.0  # Seconds; issuing takes minutes after the domain's owner has created the record.
_AGAIN = 5.0  # Seconds.
_MOST = 5  # Maximum objects of one service after races.
_COMMENT = "managed by Poppy, which reverts manual changes"


class FastlyProvider(ObjectProvider[Objects, str]):
    """Run each service as one Fastly service, named after the service's id."""

    OPTS: ClassVar[Sequence[cfg.Opt]] = OPTS

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFERRER,
            Capability.CLIENT_IP,
            Capability.GEOGRAPHY,
            Capability.SOFT_PURGE,
            Capability.PURGE_MANY,
            Capability.PURGE_TAG,
            Capability.PURGE_PREFIX,
            Capability.PURGE_HOST,
            Capability.ORIGIN_SSL,
            Capability.IPV6_ORIGIN,
            Capability.SAN_CERTIFICATE,
            Capability.SNI_CERTIFICATE,
            Capability.CUSTOM_CERTIFICATE,
            Capability.ANALYTICS,
            Capability.HTTPS_REDIRECT,
            Capability.HSTS,
            Capability.HTTP3,
            Capability.GZIP,
            Capability.BROTLI,
            Capability.REDIRECTS,
            Capability.REQUEST_HEADERS,
            Capability.RESPONSE_HEADERS,
            Capability.CORS,
            Capability.ERROR_PAGES,
            Capability.CACHE_MODE,
            Capability.BROWSER_TTL,
            Capability.STALE_WHILE_REVALIDATE,
            Capability.STALE_IF_ERROR,
            Capability.STATUS_TTL,
            Capability.CACHE_KEY_QUERY,
            Capability.CACHE_KEY_HEADERS,
            Capability.CACHE_KEY_COOKIES,
            Capability.SIGNED_URLS,
            Capability.ORIGIN_PATH,
            Capability.ORIGIN_TIMEOUTS,
            Capability.ORIGIN_VERIFY_NAME,
            Capability.ORIGIN_SECRET_HEADER,
        }
    )
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = {
        Capability.SHARED_CERTIFICATE: ("shared_access_name", "shared_tls_configuration"),
        Capability.LOG_DELIVERY: ("log_bucket",),
    }

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: there is no token, or the store of logs is not complete.
        """
        super().__init__(conf, name)
        self.require("token")
        options = self.options
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
        self._logs = log_store.configured(options, self.group)
        self._api = API(name, options.api_url, options.token, options.timeout)
        timeout = min(options.timeout, _HEALTH_TIMEOUT)
        self._quick_api = API(name, options.api_url, options.token, timeout)
        self._versions = Versions(self._api)
        self._certificates = Certificates(
            self._api, options.tls_configuration, options.certificate_authority
        )
        self._uploads = Uploads(self._api, options.tls_configuration)

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
        return edges.fixed_names(self.options.http_access_name, self.options.shared_access_name)

    def prepare(self, service: Service) -> Objects:
        """Compile the document."""
        return wanted(service.spec, self._settings, self._place(service))

    def stored(self, service: Service, provider_service_id: str) -> str | None:
        """Return the id of the Fastly service unless it is deleted or another one."""
        details = self._api.details(provider_service_id)
        # Fastly still returns deleted services for a while.
        if details is None or details["name"] != _name(service) or details.get("deleted_at"):
            return None
        return provider_service_id

    def search(self, service: Service) -> str | None:
        """Return the id of the Fastly service with the service's name."""
        return self._api.find_service(_name(service))

    def create(self, service: Service, plan: Objects) -> str:
        """Create the Fastly service, and delete it again if another worker was faster."""
        made = self._api.create_service(_name(service), _COMMENT)
        found = self.search(service) or made
        if found is None:
            raise RetryableError(
                f"Fastly has a service {_name(service)}, but can't find it", retry_after=_AGAIN
            )
        if made is not None and made != found:
            # Another worker was faster, and the account allows two services with one name.
            self._api.delete_service(made)
        return found

    def converge(
        self, service: Service, known: ProviderDetail | None, plan: Objects, found: str
    ) -> Deployment:
        """Activate a version that serves the document, then order its certificates."""
        self._versions.converge(found, plan, self._items(service))
        for domain in sorted(dropped_certificates(service, known)):
            self._certificates.remove(domain, force=True)
        try:
            deployment = self._deployment(service, known, found)
        except PermanentError as exc:
            # Fastly accepts orders only for active domains. If another worker has changed the
            # active version, the refusal may be temporary.
            if self._versions.serves(found, plan):
                raise
            raise RetryableError(
                f"Fastly's service {found} was changed concurrently", _AGAIN
            ) from exc
        place = self._place(service)
        return replace(deployment, log_url=place.url) if place else deployment

    def _items(self, service: Service) -> Mapping[str, str]:
        """Return the secrets of a service by their keys in its dictionary."""
        secrets = dictionary(service.spec).secrets
        if not secrets:
            return {}
        opener = vault.Vault(self.conf[vault.GROUP].encryption_keys, vault.GROUP)
        what = purpose(service.service_id)
        return {key: opener.open(it.sealed, what).decode() for key, it in secrets.items()}

    def _place(self, service: Service) -> log_store.Location | None:
        return log_store.place(self._logs, service, self.name)

    def delete(self, service: Service, found: str) -> None:
        """Delete the Fastly service, and others of the same name that a race has left."""
        left: str | None = found
        for _ in range(_MOST):
            if left is None:
                return
            self._versions.stop(left)
            self._api.delete_service(left)
            left = self.search(service)
        raise RetryableError(f"Fastly still has a service {_name(service)}", retry_after=_AGAIN)

    def clean_up(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the certificates."""
        dropped = dropped_certificates(service, known)
        names = {*own_certificates(service.spec), *_custom(service.spec), *dropped}
        for domain in sorted(names):
            self._certificates.remove(domain, force=True)
        if names:
            self._uploads.remove(service.service_id, names)

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Evict objects or make them stale by surrogate key; see :meth:`Provider.purge`."""
        covered = keys.covered(purge, filtered=cache_keys.is_filtered(service.spec.caching))
        fastly_id = self.existing(service, known)
        if keys.EVERYTHING in covered and purge.hard:
            self._api.purge_all(fastly_id)
        else:
            self._api.purge_keys(fastly_id, covered, soft=not purge.hard)

    def health(self) -> bool:
        """Return whether Fastly answers and accepts the token."""
        return self._quick_api.answers()

    def ensure_certificate(self, certificate: Certificate, known: Issuance | None) -> Issuance:
        """Order the certificate; Fastly requires that its domain is on an active service."""
        retry = known is not None and known.status == "failed"
        found = self._certificates.ensure(certificate.domain_name, retry=retry)
        return Issuance(
            status=found.status,
            details={"validation": [record._asdict() for record in found.challenges]},
            in_progress=found.status == "create_in_progress",
            poll_after=_POLL,
        )

    def remove_certificate(self, certificate: Certificate, known: Issuance | None) -> None:
        """Delete the order; Fastly refuses while the certificate is in use."""
        self._certificates.remove(certificate.domain_name, force=False)

    def keep_certificate(self, service: Service, domain: str, chain: str, key: str) -> None:
        """Upload a tenant's certificate; see :meth:`Provider.keep_certificate`."""
        self._uploads.keep(service.service_id, domain, chain, key)

    def kept_certificate(self, service: Service, domain: str) -> Uploaded | None:
        """Return the tenant's certificate; see :meth:`Provider.kept_certificate`."""
        held = self._uploads.newest(service.service_id, domain)
        return None if held is None else held.described(domain)

    def drop_certificate(self, service: Service, domain: str) -> None:
        """Delete the tenant's certificate at once; see :meth:`Provider.drop_certificate`."""
        self._uploads.drop(service.service_id, domain)

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return counts of the whole service by region; see :meth:`Provider.metrics`."""
        return statistics.metrics(self._api, self.existing(service, known), query)

    def _deployment(
        self, service: Service, known: ProviderDetail | None, fastly_id: str
    ) -> Deployment:
        before = known.certificates if known is not None else {}
        orders = {
            domain: self._certificates.ensure(domain, retry=before.get(domain) == "failed")
            for domain in own_certificates(service.spec)
        }
        brought = self._brought(service, known, orders)
        lacking = sorted(_custom(service.spec) - brought)
        state = Orders.of(service.spec, orders)
        for wants in state.waiting:
            LOG.info("%s: service %s: %s", self.name, service.service_id, wants)
        return Deployment(
            provider_service_id=fastly_id,
            access_urls={
                domain.domain: self._access_name(domain, orders.get(domain.domain))
                for domain in sorted(service.spec.domains, key=lambda domain: domain.domain)
            },
            in_progress=bool(state.waiting),
            poll_after=_POLL,
            certificates={
                **state.statuses,
                **dict.fromkeys(sorted(brought), "deployed"),
                **dict.fromkeys(lacking, "create_in_progress"),
            },
            certificate_messages=dict.fromkeys(
                lacking, "upload a certificate and its key for the domain"
            ),
            message="; ".join(state.waiting),
            records=state.records,
        )

    def _brought(
        self, service: Service, known: ProviderDetail | None, orders: Mapping[str, Subscription]
    ) -> set[str]:
        """Deploy the tenant's certificates, and return the domains that have one.

        A certificate stays until the order that replaces it is issued, and an order until the
        tenant has brought the certificate that replaces it.
        """
        custom = _custom(service.spec)
        pending = {name for name, order in orders.items() if order.status != "deployed"}
        had = set(known.certificates) if known is not None else set()
        others = had - custom - pending
        found = set(self._uploads.converge(service.service_id, custom | pending, others)) & custom
        for domain in sorted(found):
            self._certificates.remove(domain, force=True)
        return found

    def _access_name(self, domain: Domain, order: Subscription | None) -> str:
        options = self.options
        if domain.certificate == "shared":
            if options.shared_access_name:
                return str(options.shared_access_name)
            return self._certificates.access_name(options.shared_tls_configuration)
        if domain.certificate == "custom":
            return self._certificates.access_name(self._uploads.configuration())
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


def _custom(spec: ServiceSpec) -> set[str]:
    """Return the domains with certificates that the tenant brings."""
    return {it.domain for it in spec.domains if it.certificate == "custom"}


def _name(service: Service) -> str:
    """Return the name of the Fastly service of a service."""
    return f"poppy-{service.service_id}"
