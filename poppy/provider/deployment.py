# SPDX-License-Identifier: Apache-2.0
"""The state of a service at a provider, as drivers return it, and how it is inspected."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from poppy.common import inspection
from poppy.common.errors import PermanentError, Unauthorized
from poppy.common.inspection import Sighting as Sighting
from poppy.model.dns_records import DNSRecord
from poppy.model.provider_details import ProviderDetail


@dataclass(frozen=True, slots=True)
class Deployment:
    """The state of a service at a provider.

    Attributes:
        provider_service_id: the provider's ID of its object.
        access_urls: access URL by domain: the name at the provider that serves it.
        in_progress: whether the provider is still deploying. If so, :meth:`.Provider.ensure` is
            called again later; that call must be cheap.
        poll_after: with ``in_progress``, seconds until that call.
        certificates: certificate status by domain.
        certificate_messages: why the certificate of a domain can't be issued or renewed, by
            domain; shown to the tenant.
        message: with ``in_progress``, what the provider waits for, shown to the tenant; empty if
            it just takes time.
        records: the DNS records that the tenant must create for the provider (to validate a
            certificate or the ownership of a domain), whether they are there or not. Poppy sets
            their ``provider``.
        log_url: the URL below which the provider delivers the access logs; empty if it does not.
    """

    provider_service_id: str
    access_urls: Mapping[str, str]
    in_progress: bool = False
    poll_after: float = 10.0
    certificates: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    records: Sequence[DNSRecord] = ()
    log_url: str = ""
    certificate_messages: Mapping[str, str] = field(default_factory=dict)


def inspected(ensure: Callable[[], Deployment], known: ProviderDetail | None) -> Sighting:
    """Run a driver's ``ensure`` up to its first change; see :meth:`.Provider.inspect`."""
    try:
        with inspection.read_only():
            found = ensure()
    except inspection.Differs as exc:
        return Sighting((str(exc),))
    except Unauthorized:
        raise
    except PermanentError as exc:
        # A repair would fail, too, and the service would show as failed.
        return Sighting((str(exc),), repairable=False)
    return Sighting(tuple(_moved(known, found)))


def _moved(known: ProviderDetail | None, found: Deployment) -> Iterator[str]:
    """Yield how a deployment differs from its stored names."""
    urls = (
        {it.domain: it.provider_url for it in known.access_urls if not it.moved} if known else {}
    )
    for domain, url in sorted(found.access_urls.items()):
        if urls.get(domain, url) != url:
            yield f"{domain} is served as {url}, and not as {urls[domain]}"
