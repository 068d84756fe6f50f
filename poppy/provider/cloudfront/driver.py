# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront``: Amazon CloudFront.

``doc/source/drivers/cloudfront.rst`` describes how each field of a service is mapped.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from oslo_config import cfg

from poppy.common import inspection, vault
from poppy.common.errors import InProgressError, PermanentError
from poppy.model import certificates as model
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.secrets import Secret, purpose
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import log_store
from poppy.provider.base import Capability, Deployment, Issuance, Point, Query
from poppy.provider.cloudfront import distribution, logging
from poppy.provider.cloudfront.aliases import TAKEN, Aliases, Conflict
from poppy.provider.cloudfront.certificates import (
    AWAITED,
    DOMAIN_TAG,
    SERVICE_TAG,
    Certificate,
    Certificates,
    Owner,
    check_names,
)
from poppy.provider.cloudfront.deployments import VALIDATION, deployment, failure, status_of
from poppy.provider.cloudfront.distribution import Settings, Viewer
from poppy.provider.cloudfront.distributions import Distribution, Distributions
from poppy.provider.cloudfront.functions import SHARED, Functions
from poppy.provider.cloudfront.invalidations import batches
from poppy.provider.cloudfront.merging import Config, items
from poppy.provider.cloudfront.options import OPTS
from poppy.provider.cloudfront.statistics import counted
from poppy.provider.cloudfront.uploads import Uploads, uploader
from poppy.provider.skeleton import ObjectProvider
from poppy.vendors import aws


class _Plan(NamedTuple):
    """The document, compiled, with what its distribution refers to."""

    document: distribution.Plan
    certificate: Certificate
    function_arns: Sequence[str | None]


class CloudFrontProvider(ObjectProvider[_Plan, Distribution]):
    """Run each service as one distribution, with one certificate for all of its domains.

    It serves its own name at once, and the domains once their certificate is issued. While a
    changed set of domains waits for a certificate, the previous domains stay.

    Needs the extra ``poppy-cdn[cloudfront]``. What CloudFront has no setting for is done by a
    function: of the service's own, or one that all services share that need no more. All of it is
    found by the service's id, so that any step can be repeated: by the caller reference of the
    distribution, the names of functions, and a tag of the certificates.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = OPTS
    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFERRER,
            Capability.CLIENT_IP,
            Capability.GEOGRAPHY,
            Capability.PURGE_MANY,
            Capability.PURGE_PREFIX,
            Capability.ORIGIN_SSL,
            Capability.SAN_CERTIFICATE,
            Capability.SNI_CERTIFICATE,
            Capability.CUSTOM_CERTIFICATE,
            Capability.ANALYTICS,
            Capability.HTTPS_REDIRECT,
            Capability.HTTP3,
            Capability.MIN_TLS,
            Capability.HSTS,
            Capability.GZIP,
            Capability.REDIRECTS,
            Capability.REQUEST_HEADERS,
            Capability.RESPONSE_HEADERS,
            Capability.CORS,
            Capability.CACHE_MODE,
            Capability.BROWSER_TTL,
            Capability.CACHE_KEY_QUERY,
            Capability.CACHE_KEY_HEADERS,
            Capability.CACHE_KEY_COOKIES,
            Capability.STATUS_TTL,
            Capability.ERROR_PAGES,
            Capability.SIGNED_URLS,
            Capability.WAF,
            Capability.ORIGIN_PATH,
            Capability.ORIGIN_TIMEOUTS,
            Capability.ORIGIN_VERIFY_NAME,
            Capability.ORIGIN_BACKUP,
            Capability.ORIGIN_SHIELD,
            Capability.ORIGIN_SECRET_HEADER,
        }
    )
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = {
        Capability.SHARED_CERTIFICATE: ("certificate_arn",),
        Capability.LOG_DELIVERY: ("log_bucket",),
        Capability.PURGE_TAG: ("cache_tag_header",),
    }

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        """Read the options.

        Raises:
            ConfigError: the options contradict each other.
        """
        super().__init__(conf, name)
        options = self.options
        self._cloudfront = aws.Service(name, "cloudfront", options)
        self._cloudwatch = aws.Service(name, "cloudwatch", options)
        self._distributions = Distributions(self._cloudfront, options.poll_after)
        self._functions = Functions(self._cloudfront)
        self._aliases = Aliases(self._cloudfront)
        self._acm = aws.Service(name, "acm", options)
        self._certificates = Certificates(
            self._acm, aws.Service(name, "resourcegroupstaggingapi", options)
        )
        self._uploads = Uploads(self._acm)
        self._store: log_store.LogStore | None = None
        self._logs: logging.LogDelivery | None = None
        if options.log_bucket:
            log_store.check_bucket(options.log_bucket, self.group)
            self._store = logging.store(options.log_bucket)
            self._logs = logging.LogDelivery(aws.Service(name, "logs", options))
        self._settings = Settings(
            options.price_class,
            options.cookies == "strip",
            options.minimum_protocol_version,
            options.origin_response_function,
            options.cache_tag_header,
        )

    def check(self, spec: ServiceSpec) -> None:
        """Compile the document and check the names of its certificate; see base."""
        distribution.plan(spec, shield_region=self.options.shield_region)
        if self._settings.strip_cookies:
            for entry in spec.caching:
                if entry.key and entry.key.cookies:
                    raise PermanentError(
                        f"caching '{entry.name}': the operator's setting strips all cookies"
                    )
        if any(domain.certificate not in ("shared", "custom") for domain in spec.domains):
            check_names(spec.domain_names)

    def prepare(self, service: Service) -> _Plan:
        """Compile the document, request its certificate and publish its function."""
        document = distribution.plan(
            service.spec, lambda secret: self._open(service, secret), self.options.shield_region
        )
        certificate = self._certificate(service)
        owner = SHARED if document.is_shared else service.service_id
        arns = [self._functions.ensure(owner, code) if code else None for code in document.codes]
        return _Plan(document, certificate, arns)

    def _open(self, service: Service, secret: Secret) -> str:
        """Decrypt a secret of a service's document."""
        keys = vault.Vault(self.conf[vault.GROUP].encryption_keys, vault.GROUP)
        return keys.open(secret.sealed, purpose(service.service_id)).decode()

    def stored(self, service: Service, provider_service_id: str) -> Distribution | None:
        """Return the distribution with an id."""
        return self._distributions.get(provider_service_id)

    def search(self, service: Service) -> Distribution | None:
        """Search all distributions for that of the service."""
        return self._distributions.search(service.service_id)

    def obtain(self, service: Service, known: ProviderDetail | None, plan: _Plan) -> Distribution:
        """Create the distribution without a search: CloudFront names the one that exists."""
        found = self._stored(service, known)
        if found is None:
            inspection.differs(f"{self.name} does not have the service")
            found = self.create(service, plan)
        return found

    def create(self, service: Service, plan: _Plan) -> Distribution:
        """Create the distribution, or return the existing one."""
        config = self._config(service, plan, Viewer())
        try:
            return self._distributions.create(service.service_id, config)
        except aws.Refused as exc:
            if exc.code != TAKEN:
                raise
        config = self._config(service, plan, Viewer(), service.spec.domain_names)
        return self._distributions.create(service.service_id, config)

    def converge(
        self, service: Service, known: ProviderDetail | None, plan: _Plan, found: Distribution
    ) -> Deployment:
        """Update the distribution, then remove what it does not use any more.

        It serves its own name at once, and the domains once their certificate is issued. While
        a changed set of domains waits for a certificate, the previous domains stay. Domains of
        other distributions are moved once their owner has published a record.
        """
        certificate = plan.certificate
        found, conflicts = self._update(service, plan, found)
        place = log_store.place(self._store, service, self.name)
        if self._logs:
            self._logs.ensure(service.service_id, found.arn, place)
        used = {certificate.arn, found.viewer.certificate_arn or ""}
        # What is still in use is left for a later call, at the latest for the removal.
        self._functions.remove_others(service.service_id, plan.document.codes)
        self._certificates.remove_others(_owners(service), used)
        if not (certificate.is_issued or certificate.is_pending or certificate.is_awaited):
            raise failure(certificate)
        if certificate.arn == self.options.certificate_arn:
            # The operator's records are none of the tenant's business.
            certificate = certificate._replace(records={})
        made = deployment(service.spec, found, certificate, conflicts, self.options.poll_after)
        return replace(made, log_url=place.url) if place else made

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """End the delivery of logs, which Amazon requires first; see :meth:`Provider.remove`."""
        if self._logs:
            self._logs.remove(service.service_id)
        super().remove(service, known)

    def delete(self, service: Service, found: Distribution) -> None:
        """Disable the distribution, then delete it."""
        self._distributions.delete(found)

    def clean_up(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the functions and certificates of the service."""
        if not self._functions.remove_others(service.service_id, ()):
            raise InProgressError("A function is still in use", self.options.poll_after)
        self._certificates.remove(*_owners(service))

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Create invalidations, each of which takes about a minute; see :meth:`Provider.purge`.

        Amazon charges for invalidations. If one with the same caller reference and paths exists,
        it returns that one (InvalidationBatch in the API reference). Wildcards in progress are
        limited, so each invalidation but the last has to be complete before the next one.
        """
        found = self.existing(service, known)
        reference = purge.reference or str(uuid.uuid4())
        is_complete = True
        for number, paths in enumerate(batches(purge)):
            if not is_complete:
                raise InProgressError("an invalidation is in progress", self.options.poll_after)
            answer = self._cloudfront.call(
                "create_invalidation",
                DistributionId=found.distribution_id,
                InvalidationBatch={
                    "CallerReference": f"{reference}.{number}" if number else reference,
                    "Paths": items(paths),
                },
            )
            is_complete = answer["Invalidation"]["Status"] == "Completed"

    def health(self) -> bool:
        """Return whether CloudFront answers and accepts the credentials."""
        return self._cloudfront.answers("list_distributions", MaxItems="1")

    def ensure_certificate(
        self, certificate: model.Certificate, known: Issuance | None
    ) -> Issuance:
        """Validate one domain in advance; see :meth:`Provider.ensure_certificate`.

        ACM always requires the same record for a domain in an account. So the certificate of a
        later service with the domain is issued without further action.
        """
        name = certificate.domain_name
        found = self._certificates.ensure(Owner(DOMAIN_TAG, name), {name})
        records = [{"type": "CNAME", "name": n, "value": v} for n, v in found.records.items()]
        return Issuance(
            status=status_of(found),
            details={"certificate_arn": found.arn, "validation": records, "error": found.reason},
            in_progress=found.is_pending,
            poll_after=VALIDATION,
        )

    def remove_certificate(self, certificate: model.Certificate, known: Issuance | None) -> None:
        """Delete the certificate; see :meth:`Provider.remove_certificate`."""
        self._certificates.remove(Owner(DOMAIN_TAG, certificate.domain_name))

    def keep_certificate(self, service: Service, domain: str, chain: str, key: str) -> None:
        """Import a tenant's certificate; see :meth:`Provider.keep_certificate`."""
        self._uploads.keep(service.service_id, service.spec.domain_names, chain, key)

    def kept_certificate(self, service: Service, domain: str) -> model.Uploaded | None:
        """Return the tenant's certificate; see :meth:`Provider.kept_certificate`."""
        arn = self._uploads.newest(service.service_id, service.spec.domain_names)
        return None if arn is None else self._uploads.described(arn, domain)

    def drop_certificate(self, service: Service, domain: str) -> None:
        """Delete the tenant's certificate, once CloudFront does not use it any more."""
        self._uploads.drop(service.service_id, service.spec.domain_names)

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return CloudWatch's metrics of the distribution; see :meth:`Provider.metrics`."""
        if len(service.spec.domains) > 1:
            raise PermanentError("CloudFront has no separate counts for the domains of a service")
        found = self.existing(service, known)
        return {"Global": counted(self._cloudwatch, found.distribution_id, query)}

    def _update(
        self, service: Service, plan: _Plan, found: Distribution
    ) -> tuple[Distribution, Mapping[str, Conflict]]:
        """Update the distribution, and move domains of other distributions to it.

        Returns:
            The distribution, and the domains that Amazon does not move yet.
        """
        names = service.spec.domain_names

        def update(found: Distribution, elsewhere: Collection[str]) -> Distribution:
            config = self._config(service, plan, found.viewer, elsewhere)
            return self._distributions.update(service.service_id, found, config)

        try:
            return update(found, ()), {}
        except aws.Refused as exc:
            if exc.code != TAKEN:
                raise
        # Amazon does not name the domain, and tells more only if the certificate is attached.
        found = update(found, names)
        known_id = found.distribution_id
        holders = {
            name: holder
            for name in names - set(found.viewer.aliases)
            if (holder := self._aliases.holder(known_id, name))
        }
        found = update(found, holders)
        reasons = {name: self._aliases.move(known_id, name) for name in holders}
        conflicts = {n: Conflict(holders[n], reason) for n, reason in reasons.items() if reason}
        if len(conflicts) < len(holders):
            found = update(self._distributions.get(known_id) or found, conflicts)
        return found, conflicts

    def _config(
        self, service: Service, plan: _Plan, now: Viewer, elsewhere: Collection[str] = ()
    ) -> Config:
        """Return the configuration, with the aliases that the certificates allow.

        Args:
            now: the current aliases and certificate.
            elsewhere: domains that may belong to other distributions, to leave out.
        """
        names = service.spec.domain_names
        kept = tuple(alias for alias in now.aliases if alias in names)
        if kept and plan.certificate.is_awaited and self._is_dropped(now):
            kept = ()
        viewer = Viewer(kept, now.certificate_arn if kept else None)
        if plan.certificate.is_issued:
            own = sorted(name for name in names if name in kept or name not in elsewhere)
            viewer = Viewer(tuple(own), plan.certificate.arn)
        return distribution.config(plan.document, viewer, plan.function_arns, self._settings)

    def _is_dropped(self, viewer: Viewer) -> bool:
        arn = viewer.certificate_arn
        return arn is not None and self._uploads.is_dropped(arn)

    def _certificate(self, service: Service) -> Certificate:
        """Return the operator's certificate if it covers all domains, otherwise the service's.

        CloudFront requires a certificate for every domain, even for http.
        """
        names = service.spec.domain_names
        if any(domain.certificate == "custom" for domain in service.spec.domains):
            arn = self._uploads.newest(service.service_id, names)
            return AWAITED if arn is None else self._certificates.get(arn) or AWAITED
        if self.options.certificate_arn:
            found = self._certificates.get(self.options.certificate_arn)
            if found is not None and found.is_issued and all(map(found.covers, names)):
                return found
        for domain in service.spec.domains:
            if domain.certificate == "shared":
                raise PermanentError(
                    f"{self.name}: certificate_arn is not issued or does not cover {domain.domain}"
                )
        return self._certificates.ensure(Owner(SERVICE_TAG, service.service_id), names)


def _owners(service: Service) -> tuple[Owner, Owner]:
    """Return the owners of the certificates of a service: requested ones, and the tenant's."""
    return Owner(SERVICE_TAG, service.service_id), uploader(service.service_id)
