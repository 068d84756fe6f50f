# SPDX-License-Identifier: Apache-2.0
"""The contract of CDN provider drivers."""

import abc
import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from oslo_config import cfg

from poppy.common import inspection, limits
from poppy.common.driver import Driver
from poppy.common.errors import PermanentError
from poppy.common.http import Quota
from poppy.model import names
from poppy.model.capabilities import Capability as Capability
from poppy.model.certificates import Certificate, Uploaded
from poppy.model.edge import HasEdge, TextRecords
from poppy.model.operations import Purge
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import ServiceSpec
from poppy.provider import edges
from poppy.provider.deployment import Deployment as Deployment
from poppy.provider.deployment import Sighting as Sighting
from poppy.provider.deployment import inspected


@dataclass(frozen=True, slots=True)
class Issuance:
    """The state of a certificate at a provider.

    Attributes:
        status: ``create_in_progress``, ``deployed``, ``failed`` or ``cancelled``.
        details: a JSON document that the driver gets back with the next call and that the tenant
            may see (how to validate the domain, say). It must not contain secrets.
        in_progress: as in :class:`Deployment`, with ``poll_after``.
    """

    status: str
    details: Mapping[str, object] = field(default_factory=dict)
    in_progress: bool = False
    poll_after: float = 60.0


class Metric(enum.StrEnum):
    """The metrics of a provider's statistics.

    A provider may lack some. ``CACHE_HITS`` are the requests that its cache has answered.
    """

    REQUEST_COUNT = "requestCount"
    BANDWIDTH_OUT = "bandwidthOut"
    RESPONSES_1XX = "httpResponseCode_1XX"
    RESPONSES_2XX = "httpResponseCode_2XX"
    RESPONSES_3XX = "httpResponseCode_3XX"
    RESPONSES_4XX = "httpResponseCode_4XX"
    RESPONSES_5XX = "httpResponseCode_5XX"
    CACHE_HITS = "cacheHits"


class Query(NamedTuple):
    """A query of a provider's statistics.

    Attributes:
        start: the start of the range, inclusive, in UTC.
        end: the end of the range, exclusive, in UTC.
        by_country: whether zones are the clients' countries, by their ISO 3166-1 codes of two
            letters, with ``ZZ`` for unknown ones.
    """

    domain: str
    metric: Metric
    start: datetime.datetime
    end: datetime.datetime
    by_country: bool = False


class Point(NamedTuple):
    """A count of requests, responses or bytes in the interval that begins at ``timestamp``."""

    timestamp: datetime.datetime
    value: int


class Provider(Driver, abc.ABC):
    """The base class of CDN providers, and the driver author's manual.

    A driver creates the provider's object for a service document and keeps it up to date. Poppy
    calls it from workers: from many threads, from any number of processes, and at least once. A
    call may be repeated at any point, because its reply was lost or its worker was killed. So the
    methods are *idempotent*: they read the provider's state and change only what differs.

    Life of a service at a provider::

        ensure(service, known=None)    →  an object exists that serves the document
        ensure(service, known)         →  ... and now the changed document
        purge(service, known, purge)   →  its cached content is gone (or stale)
        remove(service, known)         →  no trace of it is left

    * ``known`` is the provider detail stored after the last success. It is None, or has no ID, if
      there was none. Because a reply may be lost, look for the object by ``service.service_id``
      before creating one when the ID is unknown. After any number of calls exactly one object
      exists for a service.
    * A worker can stall between reading and writing, while another one changes the object. If the
      provider supports conditional writes (``If-Match``, versions), use them, and raise
      RetryableError when the condition fails.
    * Raise :class:`~poppy.common.errors.RetryableError` for temporary failures (rate limit,
      outage, timeout) and :class:`~poppy.common.errors.PermanentError` for failures that a retry
      can't fix. Any other exception counts as a bug in the driver; it is logged and retried.
    * Every call to the provider has a timeout. A driver never waits: it returns ``in_progress``,
      raises :class:`~poppy.common.errors.InProgressError` (where there is no return value), or
      raises an error with ``retry_after``. Poppy then calls it again.
    * A service never affects another one. A refused document is refused as a whole; the deployed
      version stays in service.
    * The edge passes no header field of :data:`poppy.model.headers.UNTRUSTED` from a client to
      an origin, unless the operator trusts the client as a proxy. No cache key includes them.
    * Declare the provider's capabilities in ``SUPPORTS`` and ``OPTIONAL``. Requests that need
      others never reach the driver, nor do those that :meth:`check` refuses.
    * Return the operator's own names in :attr:`reserved_names`, so that no tenant can use them.
    * Declare options in ``OPTS``, and secrets with ``secret=True``, which keeps them out of logs.

    If the provider has one object for each service, start from
    :class:`poppy.provider.skeleton.ObjectProvider`. Register the driver as an entry point in the
    namespace ``poppy.provider``, and test it with
    ``poppy.testing.provider.ProviderContract``.
    """

    KIND: ClassVar[str] = "provider"
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = (*limits.OPTS, *inspection.OPTS, *edges.OPTS)
    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset()
    #: Capabilities that options enable: the names of the options, of which one must have a value.
    OPTIONAL: ClassVar[Mapping[Capability, Sequence[str]]] = {}

    @property
    def supports(self) -> frozenset[Capability]:
        """The capabilities in ``SUPPORTS``, and those in ``OPTIONAL`` that options enable."""
        return self.SUPPORTS.union(
            capability
            for capability, options in self.OPTIONAL.items()
            if any(self.options[option] for option in options)
        )

    @property
    def reserved_names(self) -> Sequence[str]:
        """The operator's own names at the edge, which tenants can't use.

        Each reserves itself and all names below it, as a domain and as an origin. A driver with
        options for the name of an edge, or for a zone of such names, returns their values.
        """
        return ()

    def attach(self, storage: HasEdge) -> None:  # noqa: B027 - most drivers need no store
        """Receive the store, for a driver whose edge is controlled through it.

        Called once, before any other method.

        Raises:
            ConfigError: the driver does not support the store.
        """

    def attach_dns(self, dns: TextRecords) -> None:  # noqa: B027 - most drivers need no DNS
        """Receive the DNS driver, for a driver that proves the control over operator names.

        Called once, after :meth:`attach`.

        Raises:
            ConfigError: the DNS driver lacks what the options need.
        """

    def check(self, spec: ServiceSpec) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse a document that the provider can't serve for reasons beyond capabilities.

        Called before Poppy accepts a service or a certificate order. The document needs nothing
        beyond :attr:`supports`. Inspect the document only: make no call to the provider, don't
        wait, and take time that is at most linear in the document's length. Refuse here every
        document that :meth:`ensure` would refuse by its content alone.

        Raises:
            PermanentError: the message names the part of the document and the reason.
        """

    @abc.abstractmethod
    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Make the provider serve the document of ``service``.

        Raises:
            RetryableError: a temporary failure; the deployed version stays in service.
            PermanentError: the provider refuses it; the deployed version stays in service.
        """

    def inspect(self, service: Service, known: ProviderDetail | None) -> Sighting:
        """Compare what the provider has with what :meth:`ensure` would deploy; change nothing.

        This runs :meth:`ensure` up to its first change, so a driver need not implement it. But
        before a change, the driver calls :func:`poppy.common.inspection.differs` with words for
        the tenant. :class:`poppy.common.http.Client` and :class:`poppy.vendors.aws.Service` call
        it before each request that may change something; a driver with another client must do
        the same.

        Raises:
            RetryableError: a temporary failure.
            Unauthorized: the provider refuses the credentials.
        """
        return inspected(lambda: self.ensure(service, known), known)

    @abc.abstractmethod
    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Remove the service from the provider; do nothing if there is none.

        Raises:
            InProgressError: removal has begun; call again to finish it.
            RetryableError: a temporary failure.
            PermanentError: the provider refuses; an operator must intervene.
        """

    @abc.abstractmethod
    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Remove the service's cached content (``purge.hard``) or have it revalidated.

        A purge has one path, covers everything, or has a scope that the driver declares: several
        paths (``PURGE_MANY``; without it, calls with one path each replace one with several),
        tags, a prefix or a host. The driver splits it by the limits of the provider.

        A provider that charges for purges can recognize a repeated call by ``purge.reference``.

        Raises:
            InProgressError: the purge has begun; call again with the same reference to finish it.
            RetryableError: a temporary failure.
            PermanentError: the provider refuses, or has no such service.
        """

    def prewarm(
        self,
        service: Service,
        known: ProviderDetail | None,
        paths: Sequence[str],
        reference: str,
    ) -> str:
        """Let the edge fetch paths of each domain, so that it has them when clients ask.

        For drivers that declare ``PREWARM``. A path that can't be fetched does not fail others.

        Args:
            paths: up to 100 paths, perhaps with queries.
            reference: the same whenever the call is repeated, as that of a purge.

        Returns:
            What could not be fetched, in words; an empty text if everything was.

        Raises:
            InProgressError: it has begun; call again with the same reference to finish it.
            RetryableError: a temporary failure.
            PermanentError: the provider refuses, or has no such service.
        """
        raise PermanentError(f"{self.name} has no {Capability.PREWARM}")

    def due(self, limit: int) -> Sequence[tuple[str, str]]:
        """Return project and ID of deployed services for which ensure is due again.

        For a driver that has to do something at a certain time, such as renewing certificates.
        Workers then queue an update of each service.

        Raises:
            Unavailable: the store does not answer.
        """
        return ()

    def maintain(self) -> None:  # noqa: B027 - most drivers have no such work
        """Do work that is due and belongs to no service, without waiting.

        Workers call it from time to time, several of them at once.

        Raises:
            Unavailable: the store does not answer.
        """

    @abc.abstractmethod
    def health(self) -> bool:
        """Return whether the provider's API answers now.

        Never raises, and takes a few seconds at most. The result is for operators and moves no
        traffic: an edge keeps serving while its API is down.
        """

    def serves(self) -> bool | None:
        """Return whether the provider's edge serves now; None if the driver can't tell.

        For drivers that can query the edge itself, instead of an API that may be down while the
        edge works. Steering moves clients away from a provider that does not serve. The operator's
        ``edge_check_url`` takes precedence. Never raises, and takes a few seconds at most.
        """
        return None

    @property
    def quota(self) -> Mapping[str, Quota]:
        """The provider's API limits by name, as its last responses reported them."""
        return {}

    def ensure_certificate(self, certificate: Certificate, known: Issuance | None) -> Issuance:
        """Order a certificate on its own, before any service uses its domain.

        For drivers that declare ``SAN_CERTIFICATE`` or ``SNI_CERTIFICATE``. (:meth:`ensure`
        handles the certificates of a service's domains.)

        Args:
            known: the result of the last call; None if there is none.

        Raises:
            RetryableError: a temporary failure.
            PermanentError: the provider refuses it.
        """
        raise PermanentError(f"{self.name} has no {certificate.cert_type} certificates")

    def remove_certificate(self, certificate: Certificate, known: Issuance | None) -> None:
        """Remove such a certificate; do nothing if there is none. Raises like :meth:`remove`."""
        raise PermanentError(f"{self.name} has no {certificate.cert_type} certificates")

    def keep_certificate(self, service: Service, domain: str, chain: str, key: str) -> None:
        """Keep a tenant's certificate; the next :meth:`ensure` deploys it.

        For drivers that declare ``CUSTOM_CERTIFICATE``. Called by API servers too.

        Args:
            domain: of the service, with the certificate ``custom``.
            chain: from the tenant, in PEM.
            key: from the tenant: the private key in PEM.

        Raises:
            PermanentError: the certificate is refused; the message must not quote the key.
            Unavailable: the store does not answer.
        """
        raise PermanentError(f"{self.name} has no custom certificates")

    def kept_certificate(self, service: Service, domain: str) -> Uploaded | None:
        """Return the certificate of :meth:`keep_certificate`; None if there is none."""
        return None

    def drop_certificate(self, service: Service, domain: str) -> None:  # noqa: B027
        """Delete the certificate of :meth:`keep_certificate`; do nothing if there is none."""

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """Return counts in order of time, by zone (``Global`` if there is only one).

        For drivers that declare ``ANALYTICS``. Queries by country are for those that also declare
        ``ANALYTICS_BY_COUNTRY``.

        Raises:
            RetryableError: a temporary failure.
            PermanentError: the provider refuses, or has no such service or metric.
        """
        raise PermanentError(f"{self.name} has no analytics")

    def no_such(self, service: Service) -> PermanentError:
        """Return the error for a service that is not at the provider."""
        return PermanentError(f"{self.name} has no service {service.service_id}")


def check_access_name(domain: str, name: str) -> None:
    """Refuse a domain if its name at the provider can't be a CNAME target.

    For :meth:`Provider.check` of drivers that derive that name from the domain.

    Raises:
        PermanentError: the message names the domain and the reason.
    """
    reason = names.impossible(name)
    if reason:
        raise PermanentError(f"Domain {domain} can't be served as {name}: {reason}")
