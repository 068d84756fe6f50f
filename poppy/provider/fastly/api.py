# SPDX-License-Identifier: Apache-2.0
"""Client of Fastly's API; one method per call.

The reference is https://www.fastly.com/documentation/reference/api/. Calls for services and
versions take forms and return JSON. TLS calls use JSON:API (jsonapi.org).
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests

from poppy.common.errors import RetryableError
from poppy.common.http import GONE, QUOTA_FIELDS, Client, Quota, QuotaFields, quotas

Document = dict[str, Any]

#: https://www.fastly.com/documentation/reference/api/#rate-limiting
WRITES = QuotaFields(
    "writes", "Fastly-RateLimit-Limit", "Fastly-RateLimit-Remaining", "Fastly-RateLimit-Reset"
)
_JSON_API = "application/vnd.api+json"
_PAGE = 100
_PAGES = 100
_THERE = frozenset({HTTPStatus.CONFLICT})


class API:
    """The API's calls. They raise the same errors as :meth:`Client.request`.

    Args:
        name: the driver's name, for messages.
        url: the URL of the API.
        token: a token with the scope ``global``.
        timeout: seconds to connect, and between two reads of the response.
    """

    def __init__(self, name: str, url: str, token: str, timeout: float) -> None:
        self._client = Client(
            name,
            url,
            headers={"Fastly-Key": token},
            timeout=(min(timeout, 5.0), timeout),
            explain=_explain,
            quotas=read_quotas,
        )

    @property
    def quota(self) -> Mapping[str, Quota]:
        """The remaining limit on changes."""
        return self._client.quota

    def answers(self) -> bool:
        """Return whether Fastly answers and accepts the token."""
        return self._client.answers("/tokens/self")

    def find_service(self, name: str) -> str | None:
        """Return the id of the service with exactly this name; None without one."""
        params = {"name": name}
        found = self._client.find("/service/search", params=params) or {}
        there = found.get("name") == name and not found.get("deleted_at")
        return str(found["id"]) if there else None

    def create_service(self, name: str, comment: str) -> str | None:
        """Create a service with one empty version. Return its id; None if the name is taken."""
        fields = {"name": name, "type": "vcl", "comment": comment}
        response = self._client.request("POST", "/service", accept=_THERE, data=fields)
        if response.status_code in _THERE:
            return None
        return str(self._client.document(response)["id"])

    def delete_service(self, service: str) -> None:
        """Delete a service without an active version. Ignore a missing one."""
        self._client.request("DELETE", f"/service/{_part(service)}", accept=GONE)

    def details(self, service: str, version: int | None = None) -> Document | None:
        """Return a service with its versions, and all objects of its active version.

        Args:
            version: another version to include with all objects, as ``version``.
        """
        path = f"/service/{_part(service)}/details"
        params = {} if version is None else {"version": version}
        return self._client.find(path, params=params)

    def listed(self, service: str, version: int, kind: str) -> list[Document]:
        """Return objects that :meth:`details` leaves out; none if the version is gone.

        S3 log endpoints have their secrets. Dictionaries have no items.
        """
        path = f"{_version(service, version)}/{kind}"
        response = self._client.request("GET", path, accept=GONE)
        if response.status_code in GONE:
            return []
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise RetryableError("Fastly answered with no JSON array")
        return list(map(dict, found))

    def put_items(self, service: str, dictionary: str, items: Mapping[str, str]) -> None:
        """Create or replace up to 1,000 items of a dictionary by its id."""
        path = f"/service/{_part(service)}/dictionary/{_part(dictionary)}/items"
        changes = [
            {"op": "upsert", "item_key": key, "item_value": value} for key, value in items.items()
        ]
        self._client.request("PATCH", path, json={"items": changes})

    def clone(self, service: str, version: int) -> int:
        """Create an editable copy of a version and return its number."""
        path = f"{_version(service, version)}/clone"
        return int(self._json("PUT", path)["number"])

    def comment(self, service: str, version: int, text: str) -> None:
        """Set the comment of a version."""
        self._client.request("PUT", _version(service, version), data={"comment": text})

    def is_locked(self, service: str, version: int) -> bool:
        """Return whether a version is locked or gone."""
        found = self._client.find(_version(service, version))
        return found is None or bool(found["locked"])

    def create(self, service: str, version: int, kind: str, fields: Mapping[str, str]) -> None:
        """Add an object to a version. Ignore an existing one with that name."""
        path = f"{_version(service, version)}/{kind}"
        self._client.request("POST", path, accept=_THERE, data=dict(fields))

    def update(
        self, service: str, version: int, kind: str, name: str, fields: Mapping[str, str]
    ) -> None:
        """Change an object of a version. Ignore a missing one."""
        path = f"{_version(service, version)}/{kind}/{_part(name)}"
        self._client.request("PUT", path, accept=GONE, data=dict(fields))

    def delete(self, service: str, version: int, kind: str, name: str) -> None:
        """Remove an object from a version. Ignore a missing one."""
        path = f"{_version(service, version)}/{kind}/{_part(name)}"
        self._client.request("DELETE", path, accept=GONE)

    def validate(self, service: str, version: int) -> str | None:
        """Validate a version and return Fastly's errors; None if it is valid."""
        found = self._json("GET", f"{_version(service, version)}/validate")
        if found.get("status") == "ok":
            return None
        reasons = [str(found.get("msg") or "")]
        reasons += [str(error) for error in found.get("errors") or ()]
        return (
            "; ".join(reason for reason in dict.fromkeys(reasons) if reason) or "no reason given"
        )

    def activate(self, service: str, version: int) -> None:
        """Activate a version in place of the active one."""
        self._client.request("PUT", f"{_version(service, version)}/activate")

    def deactivate(self, service: str, version: int) -> None:
        """Deactivate the active version."""
        self._client.request("PUT", f"{_version(service, version)}/deactivate", accept=GONE)

    def purge_all(self, service: str) -> None:
        """Evict all objects of a service. Fastly has no soft variant of this call."""
        self._client.request("POST", f"/service/{_part(service)}/purge_all")

    def purge_keys(self, service: str, keys: Sequence[str], *, soft: bool) -> None:
        """Evict all objects with one of up to 256 surrogate keys, or make them stale."""
        headers = {"Fastly-Soft-Purge": "1"} if soft else {}
        path = f"/service/{_part(service)}/purge"
        self._client.request("POST", path, headers=headers, json={"surrogate_keys": list(keys)})

    def regions(self) -> list[str]:
        """Return the names of the regions of statistics."""
        return list(self._json("GET", "/stats/regions")["data"])

    def statistics(self, service: str, params: Mapping[str, str]) -> list[Document]:
        """Return counts by interval, in order of time."""
        path = f"/stats/service/{_part(service)}"
        return list(self._json("GET", path, params=dict(params))["data"])

    def subscriptions(self, domain: str) -> Document:
        """Return the TLS subscriptions of a domain with their authorizations (JSON:API)."""
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
        """Retry a failed certificate order."""
        attributes = {"state": "retry"}
        body = {"data": {"type": "tls_subscription", "attributes": attributes}}
        self._json_api("PATCH", f"/tls/subscriptions/{_part(subscription)}", json=body)

    def unsubscribe(self, subscription: str, *, force: bool) -> None:
        """Delete a TLS subscription. Ignore a missing one.

        Args:
            force: delete it even if it is in use, which ends TLS for its domains.
        """
        path = f"/tls/subscriptions/{_part(subscription)}"
        params = {"force": "true"} if force else {}
        headers = {"Accept": _JSON_API}
        self._client.request("DELETE", path, accept=GONE, params=params, headers=headers)

    def tls_configuration(self, configuration: str) -> Document:
        """Return a TLS configuration with its DNS records (JSON:API)."""
        path = f"/tls/configurations/{_part(configuration)}"
        return self._json_api("GET", path, params={"include": "dns_records"})

    def tls_configurations(self) -> list[Document]:
        """Return the TLS configurations of the account (JSON:API)."""
        return self._listed("configurations", {})

    def unused_keys(self) -> list[Document]:
        """Return the private keys without a certificate (JSON:API). They have no secrets."""
        return self._listed("private_keys", {"filter[in_use]": "false"})

    def upload_key(self, name: str, key: str) -> None:
        """Upload a private key in PEM."""
        self._create("private_key", {"name": name, "key": key})

    def delete_key(self, key: str) -> None:
        """Delete a private key without certificates. Ignore a missing one."""
        self._remove("private_keys", key)

    def certificates(self, domain: str) -> list[Document]:
        """Return the uploaded certificates with exactly this name (JSON:API)."""
        return self._listed("certificates", {"filter[tls_domains.id]": domain})

    def upload_certificate(self, name: str, chain: str) -> None:
        """Upload a certificate with its chain, in PEM. Fastly must have its key."""
        self._create("certificate", {"name": name, "cert_blob": chain})

    def rename_certificate(self, certificate: str, name: str) -> None:
        """Change the name of an uploaded certificate."""
        data = {"type": "tls_certificate", "id": certificate, "attributes": {"name": name}}
        path = f"/tls/certificates/{_part(certificate)}"
        self._json_api("PATCH", path, json={"data": data})

    def delete_certificate(self, certificate: str) -> None:
        """Delete an uploaded certificate without activations. Ignore a missing one."""
        self._remove("certificates", certificate)

    def activations(self, related: str, found: str) -> list[Document]:
        """Return the activations of a related object (JSON:API).

        Args:
            related: ``tls_certificate`` or ``tls_domain``.
            found: its ID.
        """
        return self._listed("activations", {f"filter[{related}.id]": found})

    def activate_certificate(self, domain: str, certificate: str, configuration: str) -> None:
        """Use an uploaded certificate for a domain of an active service."""
        relationships = {
            name: {"data": {"type": name, "id": value}}
            for name, value in (
                ("tls_certificate", certificate),
                ("tls_configuration", configuration),
                ("tls_domain", domain),
            )
        }
        self._create("activation", {}, relationships)

    def change_activation(self, activation: str, certificate: str) -> None:
        """Use another certificate for the domain of an activation."""
        related = {"data": {"type": "tls_certificate", "id": certificate}}
        data: Document = {"type": "tls_activation", "id": activation}
        data["relationships"] = {"tls_certificate": related}
        self._json_api("PATCH", f"/tls/activations/{_part(activation)}", json={"data": data})

    def deactivate_certificate(self, activation: str) -> None:
        """End the use of a certificate for a domain. Ignore a missing activation."""
        self._remove("activations", activation)

    def _create(self, kind: str, attributes: Document, related: Document | None = None) -> None:
        data: Document = {"type": f"tls_{kind}", "attributes": attributes}
        if related is not None:
            data["relationships"] = related
        self._json_api("POST", f"/tls/{kind}s", json={"data": data})

    def _remove(self, kind: str, found: str) -> None:
        self._client.request("DELETE", f"/tls/{kind}/{_part(found)}", accept=GONE)

    def _listed(self, kind: str, params: Mapping[str, str]) -> list[Document]:
        """Return all pages of a list of TLS objects."""
        found: list[Document] = []
        for number in range(1, _PAGES + 1):
            page = {"page[number]": str(number), "page[size]": str(_PAGE)}
            document = self._json_api("GET", f"/tls/{kind}", params={**params, **page})
            found += document["data"]
            if number >= int((document.get("meta") or {}).get("total_pages") or 1):
                return found
        raise RetryableError(f"Fastly has more than {_PAGE * _PAGES} {kind}")

    def _json(self, method: str, path: str, **options: Any) -> Document:
        return self._client.document(self._client.request(method, path, **options))

    def _json_api(self, method: str, path: str, **options: Any) -> Document:
        headers = {"Accept": _JSON_API}
        if "json" in options:
            headers["Content-Type"] = _JSON_API
        return self._json(method, path, headers=headers, **options)


def read_quotas(headers: Mapping[str, str]) -> dict[str, Quota]:
    """Return the limits in a response's header fields; ``writes`` is the limit on changes."""
    return quotas(headers, (*QUOTA_FIELDS, WRITES))


def _explain(response: requests.Response) -> str:
    """Return Fastly's error message from either kind of error document."""
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
    """Quote text as one path segment."""
    return quote(text, safe="")
