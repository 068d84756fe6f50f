# SPDX-License-Identifier: Apache-2.0
"""Bindings of Poppy's v1.0 API: one method per request."""

import urllib.parse
import uuid
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from osc_lib import exceptions

from poppyclient.connection import Answer, Connection, Refused, checked

Document = dict[str, Any]

_PAGE = 10
#: Unfinished or failed operations: the default limit, and the page size.
_OPEN = 100


class Client:
    """The API for one project.

    Methods raise :class:`~poppyclient.connection.Refused` with the server's message, and
    :class:`~poppyclient.connection.Unanswered` if no usable response arrives.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Services.

    def services(
        self, limit: int | None = None, **filters: str | Sequence[str] | None
    ) -> Iterator[Document]:
        """Yield services, at most ``limit``; ``filters`` are parameters of the API."""
        asked = {name: value for name, value in filters.items() if value}
        return self._pages("services", "/services", limit, asked)

    def service(self, service_id: str) -> tuple[Document, str]:
        """Return a service's document and its entity tag."""
        answer = self._request("GET", f"/services/{_segment(service_id)}")
        return answer.document, answer.headers.get("ETag", "*")

    def find_service(self, text: str) -> str:
        """Return the id of the service with this id, domain or name.

        Raises:
            CommandError: no service matches, or several have this name.
        """
        if _is_uuid(text):
            return text
        if "." in text:
            try:
                for service in self.services(domain=text):
                    return str(service["id"])
            except Refused as refused:
                if refused.status != HTTPStatus.BAD_REQUEST:  # 400: not a valid domain
                    raise
        named = [str(entry["id"]) for entry in self.services(name=text) if entry["name"] == text]
        if len(named) > 1:
            raise exceptions.CommandError(
                f"{len(named)} services are named '{text}': {', '.join(named)}"
            )
        if not named:
            raise exceptions.CommandError(
                f"There is no service with the id, domain or name '{text}'"
            )
        return named[0]

    def create_service(self, document: Any, key: str) -> tuple[str, Answer]:
        """Request a new service; return its id and the response.

        Args:
            key: the ``Idempotency-Key``: repeated requests with the same key create one service.
        """
        answer = self._request("POST", "/services", document, {"Idempotency-Key": key})
        return answer.headers["Location"].rpartition("/")[2], answer

    def update_service(self, service_id: str, patch: list[Document], tag: str) -> Answer:
        """Apply a JSON Patch to the service if it still has this entity tag."""
        path = f"/services/{_segment(service_id)}"
        return self._request("PATCH", path, patch, {"If-Match": tag})

    def plan_service(self, document: Any) -> Document:
        """Return the server's plan for a new service; it stores nothing."""
        return self._plan("POST", "/services", document)

    def plan_change(self, service_id: str, patch: list[Document], tag: str) -> Document:
        """Return the server's plan for :meth:`update_service`; it stores nothing."""
        path = f"/services/{_segment(service_id)}"
        return self._plan("PATCH", path, patch, {"If-Match": tag})

    def delete_service(self, service_id: str) -> Answer:
        """Request the removal of a service."""
        return self._delete(f"/services/{_segment(service_id)}")

    def purge(self, service_id: str, hard: bool, **scope: str | list[str] | None) -> Answer:
        """Purge a service's content; ``hard`` evicts instead of expiring.

        Args:
            scope: paths as ``url``, or ``tag``, ``prefix`` or ``host``; everything without any.
        """
        asked: dict[str, str | list[str]] = {name: it for name, it in scope.items() if it}
        query = {"hard": "true" if hard else "false", **(asked or {"all": "true"})}
        return self._request("DELETE", f"/services/{_segment(service_id)}/assets", query=query)

    def certificate(self, service_id: str, domain: str) -> Document:
        """Return what is known of the custom certificate of a domain."""
        document: Document = self._request("GET", _certificate(service_id, domain)).document
        return document

    def set_certificate(self, service_id: str, domain: str, chain: str, key: str) -> Answer:
        """Set the custom certificate of a domain, as PEM."""
        body = {"chain": chain, "key": key}
        return self._request("PUT", _certificate(service_id, domain), body)

    def delete_certificate(self, service_id: str, domain: str) -> Answer:
        """Delete the custom certificate of a domain."""
        return self._delete(_certificate(service_id, domain))

    def prewarm(self, service_id: str, urls: list[str]) -> Answer:
        """Let a service's providers fetch paths."""
        path = f"/services/{_segment(service_id)}/assets/prewarm"
        return self._request("POST", path, {"urls": urls})

    def analytics(self, service_id: str, query: Mapping[str, str | None]) -> Document:
        """Return the provider's analytics for a service."""
        asked = {name: value for name, value in query.items() if value}
        path = f"/services/{_segment(service_id)}/analytics"
        document: Document = self._request("GET", path, query=asked).document
        return document

    # Operations.

    def operations(self, service_id: str, limit: int | None = None) -> Iterator[Document]:
        """Yield a service's operations, latest first."""
        return self._pages("operations", f"/services/{_segment(service_id)}/operations", limit, {})

    def operation(self, service_id: str, operation_id: str) -> Document:
        """Return one operation of a service."""
        path = f"/services/{_segment(service_id)}/operations/{_segment(operation_id)}"
        document: Document = self._request("GET", path).document
        return document

    def cancel(self, service_id: str, operation_id: str) -> None:
        """Cancel a waiting operation; its state becomes ``failed``."""
        path = f"/services/{_segment(service_id)}/operations/{_segment(operation_id)}/action"
        self._request("POST", path, {"cancel": {}})

    def open_operations(self, limit: int | None = None, **filters: Any) -> list[Document]:
        """(Operators) Return unfinished or failed operations of all projects, oldest first.

        Args:
            limit: the maximum number; 100 by default.
        """
        asked = {name: str(value) for name, value in filters.items() if value is not None}
        return list(self._pages("operations", "/admin/operations", limit or _OPEN, asked, _OPEN))

    def act(self, action: str, operation_id: str, project_id: str, service_id: str) -> None:
        """(Operators) ``retry`` or ``cancel`` an operation."""
        body = {"action": action, "project_id": project_id, "service_id": service_id}
        self._request("POST", f"/admin/operations/{_segment(operation_id)}/action", body)

    # Flavors and limits.

    def flavors(self) -> list[Document]:
        """Return all flavors."""
        found: list[Document] = self._request("GET", "/flavors").document["flavors"]
        return found

    def flavor(self, flavor_id: str) -> Document:
        """Return one flavor."""
        document: Document = self._request("GET", f"/flavors/{_segment(flavor_id)}").document
        return document

    def create_flavor(self, document: Document) -> Document:
        """(Operators) Create a flavor and return its document."""
        created: Document = self._request("POST", "/flavors", document).document
        return created

    def delete_flavor(self, flavor_id: str) -> None:
        """(Operators) Delete a flavor, with immediate effect."""
        self._delete(f"/flavors/{_segment(flavor_id)}")

    def quota(self) -> Document:
        """Return the project's limits, and how much of them is used."""
        document: Document = self._request("GET", "/quota").document
        return document

    def limit(self, project_id: str) -> int:
        """(Operators) Return the maximum number of services of a project."""
        return int(self._request("GET", f"/admin/limits/{_segment(project_id)}").document["limit"])

    def set_limit(self, project_id: str, limit: int) -> None:
        """(Operators) Set the maximum number of services of a project."""
        self._request("PUT", f"/admin/limits/{_segment(project_id)}", {"limit": limit})

    def description(self) -> Document | None:
        """Return the server's OpenAPI document, or None if it publishes none."""
        try:
            document: Document = self._request("GET", "/openapi.json").document
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return document

    def _plan(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> Document:
        """Make a dry run, unless the server would make the change itself.

        Raises:
            CommandError: the server does not say that it supports dry runs.
        """
        described: Any = self.description() or {}
        for key in ("paths", "/v1.0/services", "post", "parameters"):
            described = described.get(key, {})
        if not any(it.get("name") == "dry_run" for it in described):
            raise exceptions.CommandError("This server has no dry runs, so it can't plan a change")
        answer = self._request(method, path, body, headers, {"dry_run": "true"})
        plan: Document = answer.document["plan"]
        return plan

    # HTTP.

    def _pages(
        self,
        key: str,
        path: str,
        limit: int | None,
        query: Mapping[str, str | Sequence[str]],
        page_size: int = _PAGE,
    ) -> Iterator[Document]:
        marker: dict[str, str] = {}
        left = limit
        while left is None or left > 0:
            # The server chooses the page size, unless a limit is given.
            size = {} if left is None else {"limit": str(min(page_size, left))}
            asked = {**query, **marker, **size}
            page = self._request("GET", path, query=asked).document
            yield from page[key]
            # Older servers list operations of all projects in one page, without links.
            following = [it["href"] for it in page.get("links", ()) if it["rel"] == "next"]
            if not following:
                return
            query_of_next = urllib.parse.urlsplit(following[0]).query
            marker = {"marker": urllib.parse.parse_qs(query_of_next)["marker"][0]}
            left = None if left is None else left - len(page[key])

    def _delete(self, path: str) -> Answer:
        """Accept a 404 after a repeated request: the first one has deleted it."""
        answer = self._connection.send("DELETE", path)
        if answer.status == HTTPStatus.NOT_FOUND and answer.repeated:
            return answer
        return checked(answer)

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Answer:
        return checked(self._connection.send(method, path, body, headers, query))


def _certificate(service_id: str, domain: str) -> str:
    return f"/services/{_segment(service_id)}/certificates/{_segment(domain)}"


def _segment(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
