# SPDX-License-Identifier: Apache-2.0
"""The provider ``cloudfront``: Amazon CloudFront.

``doc/source/drivers/cloudfront.rst`` describes how each field of a service is mapped.
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from oslo_config import cfg

from poppy.common.errors import InProgressError, PermanentError
from poppy.model import certificates as model
from poppy.model.dns_records import DNSRecord, Purpose, RecordType
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import log_store
from poppy.provider.base import Capability, Deployment, Issuance, Point, Provider, Query
from poppy.provider.cloudfront import distribution, logging
from poppy.provider.cloudfront.aliases import TAKEN, Aliases, Conflict, to_do
from poppy.provider.cloudfront.aliases import records as moving
from poppy.provider.cloudfront.certificates import (
    DOMAIN_TAG,
    SERVICE_TAG,
    Certificate,
    Certificates,
    Owner,
    check_names,
)
from poppy.provider.cloudfront.distribution import Settings, Viewer
from poppy.provider.cloudfront.distributions import Distribution, Distributions
from poppy.provider.cloudfront.functions import SHARED, Functions
from poppy.provider.cloudfront.merging import Config, items
from poppy.provider.cloudfront.statistics import counted
from poppy.vendors import aws

#: Seconds between checks for a tenant's certificate validation records.
_VALIDATION = 60.0


class CloudFrontProvider(Provider):
    """Run each service as one distribution, with one certificate for all of its domains.

    Needs the extra ``poppy-cdn[cloudfront]``. What CloudFront has no setting for is done by a
    function: of the service's own, or one that all services share that need no more. All of it is
    found by the service's id, so that any step can be repeated: by the caller reference of the
    distribution, the names of functions, and a tag of the certificates.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *aws.OPTS,
        cfg.StrOpt(
            "certificate_arn",
            help="ARN of the operator's own certificate in ACM (us-east-1). It is used for "
            "services if it covers all of their domains, such as shared domains. Unset: no shared "
            "certificates.",
        ),
        cfg.StrOpt(
            "price_class",
            default="PriceClass_All",
            choices=["PriceClass_All", "PriceClass_200", "PriceClass_100"],
            help="Price class, which selects CloudFront's edge locations; fewer cost less.",
        ),
        cfg.StrOpt(
            "minimum_protocol_version",
            default="TLSv1.2_2021",
            help="CloudFront security policy, which sets the minimum TLS version of viewers.",
        ),
        cfg.StrOpt(
            "cookies",
            default="pass",
            choices=[
                ("pass", "forward cookies to origins, and cache responses by cookie"),
                ("strip", "forward no cookies to origins"),
            ],
            help="How to handle cookies in requests.",
        ),
        cfg.FloatOpt(
            "poll_after",
            default=30.0,
            min=0.0,
            help="Seconds between polls for a change to reach every edge, which takes some "
            "minutes.",
        ),
        log_store.BUCKET,
    )

    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFERRER,
            Capability.CLIENT_IP,
            Capability.GEOGRAPHY,
            Capability.ORIGIN_SSL,
            Capability.SAN_CERTIFICATE,
            Capability.SNI_CERTIFICATE,
            Capability.ANALYTICS,
        }
    )

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
        self._certificates = Certificates(
            aws.Service(name, "acm", options),
            aws.Service(name, "resourcegroupstaggingapi", options),
        )
        self._store: log_store.LogStore | None = None
        self._logs: logging.LogDelivery | None = None
        if options.log_bucket:
            log_store.check_bucket(options.log_bucket, f"drivers:provider:{name}")
            self._store = logging.store(options.log_bucket)
            self._logs = logging.LogDelivery(aws.Service(name, "logs", options))
        self._settings = Settings(
            options.price_class, options.cookies == "strip", options.minimum_protocol_version
        )

    @property
    def supports(self) -> frozenset[Capability]:
        """The capabilities, with those that need options: shared certificates and logs."""
        options = self.options
        optional = {
            Capability.SHARED_CERTIFICATE: options.certificate_arn,
            Capability.LOG_DELIVERY: options.log_bucket,
        }
        return self.SUPPORTS | {kind for kind, option in optional.items() if option}

    def check(self, spec: ServiceSpec) -> None:
        """Compile the document and check the names of its certificate; see base."""
        distribution.plan(spec)
        if any(domain.certificate != "shared" for domain in spec.domains):
            check_names(spec.domain_names)

    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Create or change the distribution; see :meth:`Provider.ensure`.

        It serves its own name at once, and the domains once their certificate is issued. While
        a changed set of domains waits for a certificate, the previous domains stay. Domains of
        other distributions are moved once their owner has published a record.
        """
        plan = distribution.plan(service.spec)
        certificate = self._certificate(service)
        service_id = service.service_id
        owner = SHARED if plan.access.is_shared else service_id
        function_arn = self._functions.ensure(owner, plan.code)
        names = service.spec.domain_names

        def make(now: Viewer, elsewhere: Collection[str]) -> Config:
            kept = tuple(alias for alias in now.aliases if alias in names)
            viewer = Viewer(kept, now.certificate_arn if kept else None)
            if certificate.is_issued:
                own = sorted(name for name in names if name in kept or name not in elsewhere)
                viewer = Viewer(tuple(own), certificate.arn)
            return distribution.config(plan, viewer, function_arn, self._settings)

        known_id = known.provider_service_id if known else None
        found, conflicts = self._converge(service_id, known_id, names, make)
        place = log_store.place(self._store, service, self.name)
        if self._logs:
            self._logs.ensure(service_id, found.arn, place)
        self._tidy(service, plan.code, {certificate.arn, found.viewer.certificate_arn or ""})
        if not (certificate.is_issued or certificate.is_pending):
            raise _failed(certificate)
        deployment = self._deployment(service.spec, found, certificate, conflicts)
        return replace(deployment, log_url=place.url) if place else deployment

    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Delete the distribution, its function and certificates; see :meth:`Provider.remove`."""
        known_id = known.provider_service_id if known else None
        if self._logs:
            self._logs.remove(service.service_id)
        self._distributions.remove(service.service_id, known_id)
        if not self._functions.remove_others(service.service_id, ""):
            raise InProgressError("A function is still in use", self.options.poll_after)
        self._certificates.remove(Owner(SERVICE_TAG, service.service_id))

    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Create an invalidation, which takes about a minute; see :meth:`Provider.purge`.

        Amazon charges for invalidations. If one with the same caller reference and paths exists,
        it returns that one (InvalidationBatch in the API reference).
        """
        found = self._find(service, known)
        self._cloudfront.call(
            "create_invalidation",
            DistributionId=found.distribution_id,
            InvalidationBatch={
                "CallerReference": purge.reference or str(uuid.uuid4()),
                "Paths": items(invalidated(purge.url)),
            },
        )

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
            status=_status(found),
            details={"certificate_arn": found.arn, "validation": records, "error": found.reason},
            in_progress=found.is_pending,
            poll_after=_VALIDATION,
        )

    def remove_certificate(self, certificate: model.Certificate, known: Issuance | None) -> None:
        """Delete the certificate; see :meth:`Provider.remove_certificate`."""
        self._certificates.remove(Owner(DOMAIN_TAG, certificate.domain_name))

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return CloudWatch's metrics of the distribution; see :meth:`Provider.metrics`."""
        if len(service.spec.domains) > 1:
            raise PermanentError("CloudFront has no separate counts for the domains of a service")
        found = self._find(service, known)
        return {"Global": counted(self._cloudwatch, found.distribution_id, query)}

    def _converge(
        self,
        service_id: str,
        known_id: str | None,
        names: Collection[str],
        make: Callable[[Viewer, Collection[str]], Config],
    ) -> tuple[Distribution, Mapping[str, Conflict]]:
        """Create or change the distribution, and move domains of other distributions to it.

        Args:
            make: returns the configuration without those domains.

        Returns:
            The distribution, and the domains that Amazon does not move yet.
        """
        ensure = self._distributions.ensure
        try:
            return ensure(service_id, known_id, lambda now: make(now, ())), {}
        except aws.Refused as exc:
            if exc.code != TAKEN:
                raise
        # Amazon does not name the domain, and tells more only if the certificate is attached.
        found = ensure(service_id, known_id, lambda now: make(now, names))
        known_id = found.distribution_id
        holders = {
            name: holder
            for name in names
            if name not in found.viewer.aliases
            and (holder := self._aliases.holder(known_id, name))
        }
        found = ensure(service_id, known_id, lambda now: make(now, holders))
        reasons = {name: self._aliases.move(known_id, name) for name in holders}
        conflicts = {n: Conflict(holders[n], reason) for n, reason in reasons.items() if reason}
        if len(conflicts) < len(holders):
            found = ensure(service_id, known_id, lambda now: make(now, conflicts))
        return found, conflicts

    def _find(self, service: Service, known: ProviderDetail | None) -> Distribution:
        known_id = known.provider_service_id if known else None
        found = self._distributions.find(service.service_id, known_id)
        if found is None:
            raise PermanentError(f"{self.name} has no service {service.service_id}")
        return found

    def _certificate(self, service: Service) -> Certificate:
        """Return the operator's certificate if it covers all domains, otherwise the service's.

        CloudFront requires a certificate for every domain, even for http.
        """
        names = service.spec.domain_names
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

    def _tidy(self, service: Service, code: str, certificates: set[str]) -> None:
        """Remove functions and certificates that the distribution does not use any more.

        Those that are still in use are left for a later call, at the latest for the removal.
        """
        self._functions.remove_others(service.service_id, code)
        owner = Owner(SERVICE_TAG, service.service_id)
        self._certificates.remove_others(owner, certificates)

    def _deployment(
        self,
        spec: ServiceSpec,
        found: Distribution,
        certificate: Certificate,
        conflicts: Mapping[str, Conflict],
    ) -> Deployment:
        status = _status(certificate)
        is_waiting = certificate.is_pending or bool(conflicts)
        message = _to_do(certificate) if certificate.is_pending else ""
        records = () if certificate.arn == self.options.certificate_arn else _records(certificate)
        return Deployment(
            provider_service_id=found.distribution_id,
            access_urls=dict.fromkeys(sorted(spec.domain_names), found.domain_name),
            in_progress=is_waiting or not found.is_deployed,
            poll_after=_VALIDATION if is_waiting else self.options.poll_after,
            certificates={entry.domain: status for entry in spec.domains if entry.certificate},
            message=message or to_do(conflicts, found.domain_name),
            records=(*records, *moving(conflicts, found.domain_name)),
        )


def invalidated(url: str | None) -> list[str]:
    """Return the paths of an invalidation, in which only a trailing ``*`` is a wildcard."""
    if url is None:
        return ["/*"]
    before, star, _ = url.partition("*")
    if star:
        return [f"{before}*"]
    return [url] if "?" in url else [url, f"{url}?*"]


def _status(certificate: Certificate) -> str:
    if certificate.is_issued:
        return "deployed"
    return "create_in_progress" if certificate.is_pending else "failed"


def _records(certificate: Certificate) -> tuple[DNSRecord, ...]:
    """Return the validation records, named ``_<token>.<domain>``. ACM needs them for renewals."""
    return tuple(
        DNSRecord(name.partition(".")[2], Purpose.CERTIFICATE, RecordType.CNAME, name, value)
        for name, value in sorted(certificate.records.items())
    )


def _to_do(certificate: Certificate) -> str:
    """Return what the tenant must do for a certificate."""
    records = "; ".join(f"{n} CNAME {v}" for n, v in sorted(certificate.records.items()))
    if not records:
        return "Amazon is preparing the certificate"
    return f"Waiting for these DNS records, which must stay: {records}"


def _failed(certificate: Certificate) -> PermanentError:
    names = ", ".join(sorted(certificate.names))
    reason = certificate.reason or certificate.status
    return PermanentError(f"The certificate for {names} failed: {reason}")
