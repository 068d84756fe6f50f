# SPDX-License-Identifier: Apache-2.0
"""The contract of CDN provider drivers."""

import abc
import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from oslo_config import cfg

from poppy.common import limits
from poppy.common.driver import Driver
from poppy.common.errors import PermanentError
from poppy.common.http import Quota
from poppy.model import names
from poppy.model.certificates import Certificate
from poppy.model.operations import Purge
from poppy.model.services import ProviderDetail, Service, ServiceSpec
from poppy.provider import edge


class Capability(enum.StrEnum):
    """What a provider may or may not be able to do.

    A service that needs more than each provider of its flavor declares is refused when it is
    posted, with a message that names the capability.
    """

    REFERRER = "referrer restrictions"
    CLIENT_IP = "client IP restrictions"
    GEOGRAPHY = "geography restrictions"
    SOFT_PURGE = "soft purge"
    ORIGIN_SSL = "TLS to the origin"
    IPV6_ORIGIN = "IPv6 origins"
    SHARED_CERTIFICATE = "shared certificates"
    SAN_CERTIFICATE = "san certificates"
    SNI_CERTIFICATE = "sni certificates"
    CUSTOM_CERTIFICATE = "custom certificates"
    LOG_DELIVERY = "log delivery"
    ANALYTICS = "analytics"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a provider has made of a service.

    Attributes:
        provider_service_id: the provider's name for its object.
        access_urls: by domain, the name at the provider that serves it.
        in_progress: True while the provider is still at it; the driver's
            :meth:`Provider.ensure` is called again later, which must be cheap then.
        poll_after: with ``in_progress``, seconds until it makes sense to ask again.
        certificates: certificate status by domain.
        message: with ``in_progress``, what it waits for, for the tenant; empty if it just takes
            time.
    """

    provider_service_id: str
    access_urls: Mapping[str, str]
    in_progress: bool = False
    poll_after: float = 10.0
    certificates: Mapping[str, str] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, slots=True)
class Issuance:
    """How far a provider got with a certificate.

    Attributes:
        status: ``create_in_progress``, ``deployed``, ``failed`` or ``cancelled``.
        details: what the driver wants to see again, and may show to the tenant (how to validate
            the domain, say); a JSON document, without secrets.
        in_progress: as in :class:`Deployment`, with ``poll_after``.
    """

    status: str
    details: Mapping[str, object] = field(default_factory=dict)
    in_progress: bool = False
    poll_after: float = 60.0


class Metric(enum.StrEnum):
    """What can be counted."""

    REQUEST_COUNT = "requestCount"
    BANDWIDTH_OUT = "bandwidthOut"
    RESPONSES_1XX = "httpResponseCode_1XX"
    RESPONSES_2XX = "httpResponseCode_2XX"
    RESPONSES_3XX = "httpResponseCode_3XX"
    RESPONSES_4XX = "httpResponseCode_4XX"
    RESPONSES_5XX = "httpResponseCode_5XX"


class Query(NamedTuple):
    """What is asked of a provider's statistics.

    Attributes:
        start: the first moment, in UTC.
        end: the moment behind the last.
    """

    domain: str
    metric: Metric
    start: datetime.datetime
    end: datetime.datetime


class Point(NamedTuple):
    """A count: requests, responses, or bytes, within the interval that begins at ``timestamp``."""

    timestamp: datetime.datetime
    value: int


class Provider(Driver, abc.ABC):
    """A CDN provider. This is the driver author's manual.

    A driver turns a service document into the provider's own object and keeps it so. Poppy
    calls it from workers: many threads at once, any number of processes, and at least once. A
    call may be repeated because its reply was lost or its worker killed, at any point. So the
    verbs are *idempotent*: they look at what exists and make it what it should be.

    Life of a service at a provider::

        ensure(service, known=None)    →  an object exists that serves the document
        ensure(service, known)         →  ... and now the changed document
        purge(service, known, purge)   →  its cached content is gone (or stale)
        remove(service, known)         →  no trace of it is left

    * ``known`` is what Poppy stored after the last success, and None or without an id when
      there was none. A reply may have been lost, so when the id is not known, look for the
      object by ``service.service_id`` before making one. After any number of calls there is
      exactly one object for a service.
    * A worker can be held up between a look and a change, and be overtaken meanwhile. Where the
      provider can make a change on the condition that nothing has changed since the look
      (``If-Match``, versions), use that, and raise RetryableError when it has.
    * A driver raises :class:`~poppy.common.errors.RetryableError` for what may pass (rate
      limit, outage, timeout) and :class:`~poppy.common.errors.PermanentError` for what will
      not. Anything else counts as a bug in the driver; it is logged and retried.
    * Every call to the provider has a timeout. Waiting is not the driver's business: report
      ``in_progress``, raise :class:`~poppy.common.errors.InProgressError` (where there is
      nothing to report), or raise with ``retry_after``, and you are called again.
    * A service never affects another one: what is refused is refused as a whole, and what
      serves goes on serving.
    * The edge passes no header field of :data:`poppy.provider.headers.UNTRUSTED` from a client to
      an origin, unless the operator trusts the client as a proxy: no cache key holds them.
    * Declare in ``SUPPORTS`` what the provider can do; requests for more never reach you, nor
      do those that :meth:`check` refuses.
    * Give the names that are the operator's own in :attr:`reserved_names`: no tenant gets them.
    * Options are declared in ``OPTS``; secrets with ``secret=True``; they are never logged.

    Make it known by an entry point in the namespace ``poppy.provider``, and run
    ``poppy.testing.provider.ProviderContract`` over it.
    """

    KIND: ClassVar[str] = "provider"
    KIND_OPTS: ClassVar[Sequence[cfg.Opt]] = (*limits.OPTS, *edge.OPTS)
    SUPPORTS: ClassVar[frozenset[Capability]] = frozenset()

    @property
    def supports(self) -> frozenset[Capability]:
        """``SUPPORTS``, unless the driver's options add to it or take from it."""
        return self.SUPPORTS

    @property
    def reserved_names(self) -> Sequence[str]:
        """The names of the edge that are the operator's own: tenants may not use them.

        Each stands for itself and all names below it, as a domain and as an origin. A driver
        whose options name an edge, or a zone of names at it, gives these options' values.
        """
        return ()

    def check(self, spec: ServiceSpec) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse a document that no capability tells the provider can't do.

        Called before a service or a certificate's order is accepted, with one that asks for
        nothing beyond :attr:`supports`. It looks at the document only: no call to the provider,
        no waiting, and no more work than grows with the document's length. Whatever
        :meth:`ensure` would refuse because of the document alone has to be refused here.

        Raises:
            PermanentError: names the part of the document, and why.
        """

    @abc.abstractmethod
    def ensure(self, service: Service, known: ProviderDetail | None) -> Deployment:
        """Make the provider serve ``service`` as its document says.

        Raises:
            RetryableError: may work later; what served before goes on serving.
            PermanentError: the provider refuses it; what served before goes on serving.
        """

    @abc.abstractmethod
    def remove(self, service: Service, known: ProviderDetail | None) -> None:
        """Leave nothing of the service at the provider; fine if there is nothing.

        Raises:
            InProgressError: it has begun, and is to be called again to see to the rest.
            RetryableError: may work later.
            PermanentError: the provider refuses; an operator has to look.
        """

    @abc.abstractmethod
    def purge(self, service: Service, known: ProviderDetail | None, purge: Purge) -> None:
        """Make cached content of the service go (``purge.hard``) or be revalidated.

        Raises:
            RetryableError: may work later.
            PermanentError: the provider refuses, or has no such service.
        """

    @abc.abstractmethod
    def health(self) -> bool:
        """Whether the provider's API answers now; never raises; bounded by a few seconds.

        It is for operators, and moves no traffic: an edge serves on while its API is away.
        """

    def serves(self) -> bool | None:
        """Whether the provider's edge serves now; None where the driver can't tell.

        For drivers whose edge can be asked itself, not by way of an API that may be down while
        the edge is not. Clients are led away from a provider that does not serve. An operator's
        ``edge_check_url`` counts instead of it. Never raises; bounded by a few seconds.
        """
        return None

    @property
    def quota(self) -> Mapping[str, Quota]:
        """What the provider's last answers said of its limits, by the limit's name."""
        return {}

    def ensure_certificate(self, certificate: Certificate, known: Issuance | None) -> Issuance:
        """Have a certificate that was ordered by itself, before any service uses its domain.

        For drivers that declare ``SAN_CERTIFICATE`` or ``SNI_CERTIFICATE``. (Certificates of a
        service's own domains are the business of :meth:`ensure`.)

        Args:
            known: what the last call gave, if Poppy knows.

        Raises:
            RetryableError: may work later.
            PermanentError: the provider refuses it.
        """
        raise PermanentError(f"{self.name} has no {certificate.cert_type} certificates")

    def remove_certificate(self, certificate: Certificate, known: Issuance | None) -> None:
        """Give up such a certificate; fine if there is none. Raises as :meth:`remove`."""
        raise PermanentError(f"{self.name} has no {certificate.cert_type} certificates")

    def metrics(
        self, service: Service, known: ProviderDetail | None, query: Query
    ) -> Mapping[str, Sequence[Point]]:
        """What was counted, in order of time, by zone (``Global`` where there is only one).

        For drivers that declare ``ANALYTICS``.

        Raises:
            RetryableError: may work later.
            PermanentError: the provider refuses, or has no such service.
        """
        raise PermanentError(f"{self.name} has no analytics")


def check_access_name(domain: str, name: str) -> None:
    """Refuse a domain whose name at the provider can't be the target of a CNAME.

    For drivers' :meth:`Provider.check`, where the name follows from the domain.

    Raises:
        PermanentError: names the domain, and why.
    """
    reason = names.impossible(name)
    if reason:
        raise PermanentError(f"Domain {domain} can't be served as {name}: {reason}")
