# SPDX-License-Identifier: Apache-2.0
"""Fastly's API, as far as the driver needs it: one method for each call.

The reference is https://www.fastly.com/documentation/reference/api/. What is about a service and
its versions takes forms and answers in JSON; what is about TLS speaks JSON:API (jsonapi.org).
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests

from poppy.common.errors import RetryableError
from poppy.common.http import Client, Quota

Document = dict[str, Any]

_JSON_API = "application/vnd.api+json"
_PAGE = 100
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_THERE = frozenset({HTTPStatus.CONFLICT})


class API:
    """The calls. Each raises RetryableError or PermanentError, as :meth:`Client.request` does.

    Args:
        name: of the driver, for messages.
        url: of the API.
        token: with the scope ``global``.
        timeout: seconds to connect, and to wait for more of an answer.
    """

    def __init__(self, name: str, url: str, token: str, timeout: float) -> None:
        self._client = Client(
            name,
            url,
            headers={"Fastly-Key": token},
            timeout=(min(timeout, 5.0), timeout),
            explain=_explain,
        )

    @property
    def quota(self) -> Mapping[str, Quota]:
        """What is left of the limit on changes."""
        return self._client.quota

    def answers(self) -> bool:
        """Whether Fastly answers and takes the token."""
        return self._client.answers("/tokens/self")

    def find_service(self, name: str) -> str | None:
        """The id of the service with exactly this name."""
        params = {"name": name}
        response = self._client.request("GET", "/service/search", accept=_GONE, params=params)
        if response.status_code in _GONE:
            return None
        found = _json(response)
        there = found.get("name") == name and not found.get("deleted_at")
        return str(found["id"]) if there else None

    def create_service(self, name: str, comment: str) -> str | None:
        """Make a service with one empty version; its id, or None if the name is taken."""
        fields = {"name": name, "type": "vcl", "comment": comment}
        response = self._client.request("POST", "/service", accept=_THERE, data=fields)
        return None if response.status_code in _THERE else str(_json(response)["id"])

    def delete_service(self, service: str) -> None:
        """Delete a service without an active version; fine if there is none."""
        self._client.request("DELETE", f"/service/{_part(service)}", accept=_GONE)

    def details(self, service: str, version: int | None = None) -> Document | None:
        """A service with its list of versions, its active version and one more, with all objects.

        Args:
            version: which is in ``version``; by default it is not looked at.
        """
        path = f"/service/{_part(service)}/details"
        params = {} if version is None else {"version": version}
        response = self._client.request("GET", path, accept=_GONE, params=params)
        return None if response.status_code in _GONE else _json(response)

    def clone(self, service: str, version: int) -> int:
        """Make an editable copy of a version; its number."""
        path = f"{_version(service, version)}/clone"
        return int(_json(self._client.request("PUT", path))["number"])

    def comment(self, service: str, version: int, text: str) -> None:
        """Change what a version says about itself."""
        self._client.request("PUT", _version(service, version), data={"comment": text})

    def is_locked(self, service: str, version: int) -> bool:
        """Whether a version can't be changed any more."""
        response = self._client.request("GET", _version(service, version), accept=_GONE)
        return response.status_code in _GONE or bool(_json(response)["locked"])

    def create(self, service: str, version: int, kind: str, fields: Mapping[str, str]) -> None:
        """Add an object to a version; fine if there is one of that name."""
        path = f"{_version(service, version)}/{kind}"
        self._client.request("POST", path, accept=_THERE, data=dict(fields))

    def update(
        self, service: str, version: int, kind: str, name: str, fields: Mapping[str, str]
    ) -> None:
        """Change an object of a version; fine if there is none."""
        path = f"{_version(service, version)}/{kind}/{_part(name)}"
        self._client.request("PUT", path, accept=_GONE, data=dict(fields))

    def delete(self, service: str, version: int, kind: str, name: str) -> None:
        """Remove an object from a version; fine if there is none."""
        path = f"{_version(service, version)}/{kind}/{_part(name)}"
        self._client.request("DELETE", path, accept=_GONE)

    def validate(self, service: str, version: int) -> str | None:
        """What Fastly finds wrong with a version; None if nothing."""
        found = _json(self._client.request("GET", f"{_version(service, version)}/validate"))
        if found.get("status") == "ok":
            return None
        reasons = [str(found.get("msg") or "")]
        reasons += [str(error) for error in found.get("errors") or ()]
        return (
            "; ".join(reason for reason in dict.fromkeys(reasons) if reason) or "no reason given"
        )

    def activate(self, service: str, version: int) -> None:
        """Have a version serve, instead of the one that did."""
        self._client.request("PUT", f"{_version(service, version)}/activate")

    def deactivate(self, service: str, version: int) -> None:
        """Have the service serve nothing."""
        self._client.request("PUT", f"{_version(service, version)}/deactivate", accept=_GONE)

    def purge_all(self, service: str) -> None:
        """Evict everything of a service; Fastly has no soft variant of this."""
        self._client.request("POST", f"/service/{_part(service)}/purge_all")

    def purge_key(self, service: str, key: str, *, soft: bool) -> None:
        """Evict, or make stale, whatever has this surrogate key."""
        headers = {"Fastly-Soft-Purge": "1"} if soft else {}
        path = f"/service/{_part(service)}/purge/{_part(key)}"
        self._client.request("POST", path, headers=headers)

    def regions(self) -> list[str]:
        """The names of the regions that statistics are kept by."""
        return list(_json(self._client.request("GET", "/stats/regions"))["data"])

    def statistics(self, service: str, params: Mapping[str, str]) -> list[Document]:
        """Counts by interval, in order of time."""
        path = f"/stats/service/{_part(service)}"
        return list(_json(self._client.request("GET", path, params=dict(params)))["data"])

    def subscriptions(self, domain: str) -> Document:
        """The TLS subscriptions with a domain, and their authorizations (JSON:API)."""
        params = {
            "filter[tls_domains.id]": domain,
            "include": "tls_authorizations",
            "page[size]": str(_PAGE),
        }
        return self._json_api("GET", "/tls/subscriptions", params=params)

    def subscribe(self, domain: str, configuration: str | None, authority: str | None) -> Document:
        """Order a certificate for a domain of an active service (JSON:API)."""
        relationships: Document = {"tls_domains": {"data": [{"type": "tls_domain", "id": domain}]}}
        if configuration is not None:
            data = {"type": "tls_configuration", "id": configuration}
            relationships["tls_configuration"] = {"data": data}
        attributes = {} if authority is None else {"certificate_authority": authority}
        order = {"type": "tls_subscription", "attributes": attributes}
        body = {"data": {**order, "relationships": relationships}}
        return self._json_api("POST", "/tls/subscriptions", json=body)

    def retry_subscription(self, subscription: str) -> None:
        """Have Fastly try once more to get a certificate."""
        attributes = {"state": "retry"}
        body = {"data": {"type": "tls_subscription", "attributes": attributes}}
        self._json_api("PATCH", f"/tls/subscriptions/{_part(subscription)}", json=body)

    def unsubscribe(self, subscription: str, *, force: bool) -> None:
        """Give up a certificate; fine if there is none.

        Args:
            force: also while it is in use, which ends TLS for its domains.
        """
        path = f"/tls/subscriptions/{_part(subscription)}"
        params = {"force": "true"} if force else {}
        headers = {"Accept": _JSON_API}
        self._client.request("DELETE", path, accept=_GONE, params=params, headers=headers)

    def tls_configuration(self, configuration: str) -> Document:
        """A TLS configuration and its DNS records (JSON:API)."""
        path = f"/tls/configurations/{_part(configuration)}"
        return self._json_api("GET", path, params={"include": "dns_records"})

    def _json_api(self, method: str, path: str, **options: Any) -> Document:
        headers = {"Accept": _JSON_API}
        if "json" in options:
            headers["Content-Type"] = _JSON_API
        return _json(self._client.request(method, path, headers=headers, **options))


def _json(response: requests.Response) -> Document:
    try:
        document = response.json()
    except ValueError as exc:
        raise RetryableError("Fastly answered with no JSON") from exc
    if not isinstance(document, dict):
        raise RetryableError("Fastly answered with no JSON object")
    return document


def _explain(response: requests.Response) -> str:
    """Fastly's own words, from either kind of error document."""
    try:
        document = response.json()
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors")
    if isinstance(errors, list):
        return "; ".join(
            _words((error.get("title"), error.get("detail")))
            for error in errors
            if isinstance(error, dict)
        )
    return _words((document.get("msg"), document.get("detail")))


def _words(parts: Iterable[object]) -> str:
    return ": ".join(str(part) for part in parts if part)


def _version(service: str, version: int) -> str:
    return f"/service/{_part(service)}/version/{int(version)}"


def _part(text: str) -> str:
    """One segment of a path, whatever is in it."""
    return quote(text, safe="")
