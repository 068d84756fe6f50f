# SPDX-License-Identifier: Apache-2.0
"""Render the model as the API's response documents.

``base`` is the prefix of links: ``<host>/v1.0``, followed by the project ID if so configured.
"""

import datetime
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from poppy.manager.analytics import Report
from poppy.manager.dry_run import Plan
from poppy.manager.operations import Page
from poppy.model import certificates
from poppy.model.dns_records import DNSRecord
from poppy.model.flavors import Flavor
from poppy.model.operations import Operation, Purge, State, Step
from poppy.model.provider_details import ProviderDetail
from poppy.model.services import Service
from poppy.model.specs import Domain
from poppy.storage.selection import ServicePage
from poppy.transport.pecan.routing import VERSION

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)

_FORMATS: dict[str, dict[str, str]] = {"application/json": {}}


def _hints(*methods: str) -> dict[str, Any]:
    return {"allow": list(methods), "formats": _FORMATS}


#: The home document; templates are relative to it (RFC 6570).
HOME: dict[str, Any] = {
    "resources": {
        "rel/services": {
            "href-template": "/services{?marker,limit}",
            "href-vars": {"marker": "param/marker", "limit": "param/limit"},
            "hints": _hints("GET", "POST"),
        },
        "rel/flavors": {
            "href-template": "/flavors/{flavor_id}",
            "href-vars": {"flavor_id": "param/flavor_id"},
            "hints": _hints("GET", "POST", "DELETE"),
        },
        "rel/health": {"href": "/health", "hints": _hints("GET")},
        "rel/ping": {"href": "/ping", "hints": _hints("GET")},
    }
}


def _link(href: str, rel: str) -> dict[str, str]:
    return {"href": href, "rel": rel}


def self_link(document: Mapping[str, Any]) -> str:
    """Return the URL of a rendered document."""
    href: str = next(link["href"] for link in document["links"] if link["rel"] == "self")
    return href


def versions(base: str) -> dict[str, Any]:
    """Render the version document."""
    links = [_link(f"{base}/", "self")]
    return {"versions": [{"id": VERSION, "status": "CURRENT", "links": links}]}


def online(answers: bool) -> dict[str, str]:
    """Render whether a component answers. Clients expect the strings ``true`` and ``false``."""
    return {"online": "true" if answers else "false"}


def health(report: Mapping[str, Mapping[str, bool]], base: str) -> dict[str, Any]:
    """Render the health of all components by kind and name.

    The document's key is ``providers``; the URLs have ``provider``.
    """
    document = {}
    for kind, parts in report.items():
        kind = "provider" if kind == "providers" else kind
        document["providers" if kind == "provider" else kind] = {
            name: {
                **online(answers),
                "links": _link(f"{base}/health/{kind}/{urllib.parse.quote(name)}", "self"),
            }
            for name, answers in parts.items()
        }
    return document


def _flavor_href(flavor_id: str, base: str) -> str:
    return f"{base}/flavors/{urllib.parse.quote(flavor_id, safe='')}"


def flavor(entry: Flavor, base: str) -> dict[str, Any]:
    """Render a flavor."""
    links = [_link(_flavor_href(entry.flavor_id, base), "self")]
    return {**entry.to_dict(), "links": links}


def service_href(service_id: str, base: str) -> str:
    """Return the URL of a service."""
    return f"{base}/services/{service_id}"


def services(
    page: ServicePage, limit: int, base: str, query: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Render a page of services, with a link to the next page if there is one.

    Args:
        query: the request's filters and order, to repeat in the link.
    """
    links = []
    if page.marker is not None:
        pairs = [("marker", page.marker), ("limit", str(limit)), *query]
        links.append(_link(f"{base}/services?{urllib.parse.urlencode(pairs)}", "next"))
    return {"services": [service(entry, base) for entry in page.services], "links": links}


def service(entry: Service, base: str) -> dict[str, Any]:
    """Render a service with its status, errors and links."""
    document: dict[str, Any] = {
        "id": entry.service_id,
        "project_id": entry.project_id,
        "name": entry.spec.name,
        "status": entry.status.value,
    }
    document.update(entry.spec.to_dict())  # "name" keeps its position
    document["domains"] = [_domain(domain, entry) for domain in entry.spec.domains]
    document["created_at"] = _moment(entry.created_at)
    document["updated_at"] = _moment(entry.updated_at)
    document["errors"] = [{"message": message} for message in entry.errors]
    document["links"] = [
        _link(service_href(entry.service_id, base), "self"),
        _link(_flavor_href(entry.spec.flavor_id, base), "flavor"),
        *(_link(url, "access_url") for url in _access_urls(entry)),
        *(_link(url, "log_delivery") for url in entry.log_urls),
    ]
    if entry.dns_records:
        document["dns_records"] = [_record(record) for record in entry.dns_records]
    if entry.drift:
        document["drift"] = [
            {"source": it.source, "message": it.message, "found_at": _moment(it.found_at)}
            for it in entry.drift
        ]
    return document


def plan(entry: Plan) -> dict[str, Any]:
    """Render the plan of a request with ``dry_run``."""
    return {
        "valid": True,
        "plan": {
            "service": entry.spec.to_dict(),
            "providers": [
                {"provider": name, "action": str(action)}
                for name, action in entry.providers.items()
            ],
            "dns": [{**it._asdict(), "action": str(it.action)} for it in entry.names],
            "certificates": [
                {"domain": it.domain, "certificate": it.kind, "action": str(it.action)}
                for it in entry.certificates
            ],
            "dns_records": [_record(record) for record in entry.records],
        },
    }


def operations(
    page: Sequence[Operation], service_id: str, limit: int, base: str
) -> dict[str, Any]:
    """Render a page of a service's operations, with a link to the next page if it is full."""
    links = []
    if len(page) >= limit:
        query = f"marker={page[-1].operation_id}&limit={limit}"
        links.append(_link(f"{service_href(service_id, base)}/operations?{query}", "next"))
    return {"operations": [operation(entry, base) for entry in page], "links": links}


def open_operations(
    page: Page, limit: int, base: str, filters: Mapping[str, str]
) -> dict[str, Any]:
    """Render a page of all projects' operations, with a link to the next if there may be more.

    Args:
        filters: the request's filters, to repeat in the link.
    """
    links = []
    if page.following is not None:
        created_at, operation_id = page.following
        marker = f"{(created_at - _EPOCH) // _MICROSECOND}/{operation_id}"
        query = urllib.parse.urlencode({"marker": marker, "limit": limit, **filters})
        links.append(_link(f"{base}/admin/operations?{query}", "next"))
    return {"operations": [operation(it, base) for it in page.operations], "links": links}


def from_microseconds(number: int) -> datetime.datetime:
    """Convert a marker's microseconds since the epoch, capped at the latest valid datetime."""
    last = (datetime.datetime.max.replace(tzinfo=datetime.UTC) - _EPOCH) // _MICROSECOND
    return _EPOCH + min(number, last) * _MICROSECOND


def operation(entry: Operation, base: str) -> dict[str, Any]:
    """Render an operation with its steps at each provider and in DNS."""
    service = service_href(entry.service_id, base)
    waits = entry.state in (State.WAITING, State.QUEUED)
    return {
        "id": entry.operation_id,
        "project_id": entry.project_id,
        "service_id": entry.service_id,
        "action": str(entry.kind),
        "purge": _purge(entry.purge) if entry.purge else None,
        **({"prewarm": {"urls": list(entry.prewarm)}} if entry.prewarm else {}),
        "state": str(entry.state),
        "reason": entry.error,
        "attempts": entry.attempt,
        "failures": entry.failures,
        "next_attempt_at": _moment(entry.next_attempt_at if waits else None),
        "created_at": _moment(entry.created_at),
        "updated_at": _moment(entry.updated_at),
        "request_id": entry.request_id,
        "steps": [_step(step) for step in entry.steps],
        "links": [
            _link(f"{service}/operations/{entry.operation_id}", "self"),
            _link(service, "service"),
        ],
    }


def _purge(purge: Purge) -> dict[str, Any]:
    return {
        "url": purge.url,
        "hard": purge.hard,
        "more_urls": list(purge.more),
        **purge.scope(),
    }


def _step(step: Step) -> dict[str, Any]:
    kind, _, provider = step.name.removeprefix("remove:").partition(":")
    return {
        "driver": kind,
        "provider": provider or None,
        "action": "remove" if step.name.startswith("remove:") else "ensure",
        "state": str(step.state),
        "message": step.message,
    }


def _moment(moment: datetime.datetime | None) -> str | None:
    """Format a time as RFC 3339, in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def analytics(report: Report) -> dict[str, Any]:
    """Render the analytics of a domain, by zone."""
    return {
        "domain": report.query.domain,
        str(report.query.metric): {
            zone: [
                {"timestamp": f"{point.timestamp:%Y-%m-%dT%H:%M:%S}", "count": point.value}
                for point in points
            ]
            for zone, points in report.zones.items()
        },
        "provider": report.provider,
        "flavor": report.flavor_id,
    }


def _record(record: DNSRecord) -> dict[str, Any]:
    return {**record.to_dict(), "checked_at": _moment(record.checked_at)}


def _access_urls(entry: Service) -> list[str]:
    """Return the distinct operator names."""
    return list(
        dict.fromkeys(
            url.operator_url
            for detail in entry.provider_details.values()
            for url in detail.access_urls
            if url.operator_url
        )
    )


def _domain(domain: Domain, entry: Service) -> dict[str, Any]:
    document: dict[str, Any] = domain.to_dict()
    if domain.protocol == "https":
        document["certificate_status"] = _certificate_status(domain, entry)
    return document


def _certificate_status(domain: Domain, entry: Service) -> str:
    """Return the worst status of all providers; a shared certificate is always deployed."""
    if domain.certificate == "shared":
        return "deployed"
    return certificates.worst(
        detail.certificates[domain.domain]
        for detail in entry.provider_details.values()
        if domain.domain in detail.certificates
    )


def custom_certificate(found: certificates.Uploaded) -> dict[str, Any]:
    """Render a certificate that a tenant has brought."""
    return {
        "domain": found.domain,
        "names": list(found.names),
        "expires_at": _moment(found.expires_at),
        "fingerprint": found.fingerprint,
    }


def certificate(order: Service) -> dict[str, Any]:
    """Render a certificate order with details from its providers."""
    (domain,) = order.spec.domains
    return {
        "flavor_id": order.spec.flavor_id,
        "domain_name": domain.domain,
        "cert_type": domain.certificate,
        "cert_details": {
            name: {"extra_info": _extra_info(domain.domain, detail)}
            for name, detail in order.provider_details.items()
        },
        "status": certificates.status_of(order.provider_details),
        "project_id": certificates.owner(order.project_id),
    }


def _extra_info(domain: str, detail: ProviderDetail) -> dict[str, Any]:
    info = {**detail.extra, "status": detail.certificates.get(domain, "create_in_progress")}
    return {**info, "error": detail.error_message} if detail.error_message else info
