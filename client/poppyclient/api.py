# SPDX-License-Identifier: Apache-2.0
"""Poppy's v1.0 API: a method for each request."""

import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from osc_lib import exceptions

from poppyclient.connection import Answer, Connection, Refused, checked

Document = dict[str, Any]

_PAGE = 10
#: Of what is not finished or failed, as many are listed, and as many come in a page.
_OPEN = 100


class Client:
    """The API, as seen by one project.

    Methods raise :class:`~poppyclient.connection.Refused` with the server's words, and
    :class:`~poppyclient.connection.Unanswered`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # Services.

    def services(self, limit: int | None = None, **filters: str | None) -> Iterator[Document]:
        """Services, oldest first, at most ``limit``; ``filters``: ``status`` and ``domain``."""
        asked = {name: value for name, value in filters.items() if value}
        return self._pages("services", "/services", limit, asked)

    def service(self, service_id: str) -> tuple[Document, str]:
        """A service's document and its entity tag."""
        answer = self._request("GET", f"/services/{_segment(service_id)}")
        return answer.document, answer.headers.get("ETag", "*")

    def find_service(self, text: str) -> str:
        """The id of the service that has this id, this domain, or this name.

        Raises:
            CommandError: there is none, or several have the name.
        """
        if _is_uuid(text):
            return text
        if "." in text:
            try:
                for service in self.services(domain=text):
                    return str(service["id"])
            except Refused as refused:
                if refused.status != HTTPStatus.BAD_REQUEST:  # it can't be a domain
                    raise
        named = [str(entry["id"]) for entry in self.services() if entry["name"] == text]
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
        """Have a service made; gives its id.

        Args:
            key: the ``Idempotency-Key``: however often it is sent, one service is made.
        """
        answer = self._request("POST", "/services", document, {"Idempotency-Key": key})
        return answer.headers["Location"].rpartition("/")[2], answer

    def update_service(self, service_id: str, patch: list[Document], tag: str) -> Answer:
        """Have a JSON Patch applied to the service as it was when it had this entity tag."""
        path = f"/services/{_segment(service_id)}"
        return self._request("PATCH", path, patch, {"If-Match": tag})

    def delete_service(self, service_id: str) -> Answer:
        """Have a service removed."""
        return self._delete(f"/services/{_segment(service_id)}")

    def purge(self, service_id: str, url: str | None, hard: bool) -> Answer:
        """Have a path, or with None everything, go from the edges' caches."""
        query = {"hard": "true" if hard else "false"}
        query |= {"all": "true"} if url is None else {"url": url}
        return self._request("DELETE", f"/services/{_segment(service_id)}/assets", query=query)

    def analytics(self, service_id: str, query: Mapping[str, str | None]) -> Document:
        """What the provider has counted."""
        asked = {name: value for name, value in query.items() if value}
        path = f"/services/{_segment(service_id)}/analytics"
        document: Document = self._request("GET", path, query=asked).document
        return document

    # Operations.

    def operations(self, service_id: str, limit: int | None = None) -> Iterator[Document]:
        """A service's operations, the latest first."""
        return self._pages("operations", f"/services/{_segment(service_id)}/operations", limit, {})

    def operation(self, service_id: str, operation_id: str) -> Document:
        """One of them."""
        path = f"/services/{_segment(service_id)}/operations/{_segment(operation_id)}"
        document: Document = self._request("GET", path).document
        return document

    def cancel(self, service_id: str, operation_id: str) -> None:
        """End one of them that waits; it has failed then."""
        path = f"/services/{_segment(service_id)}/operations/{_segment(operation_id)}/action"
        self._request("POST", path, {"cancel": {}})

    def open_operations(self, limit: int | None = None, **filters: Any) -> list[Document]:
        """(Operators) What is unfinished or failed, of all projects, the oldest first.

        Args:
            limit: at most so many; 100 unless said otherwise.
        """
        asked = {name: str(value) for name, value in filters.items() if value is not None}
        return list(self._pages("operations", "/admin/operations", limit or _OPEN, asked, _OPEN))

    def act(self, action: str, operation_id: str, project_id: str, service_id: str) -> None:
        """(Operators) ``retry`` or ``cancel`` an operation."""
        body = {"action": action, "project_id": project_id, "service_id": service_id}
        self._request("POST", f"/admin/operations/{_segment(operation_id)}/action", body)

    # Flavors and limits.

    def flavors(self) -> list[Document]:
        """All flavors."""
        found: list[Document] = self._request("GET", "/flavors").document["flavors"]
        return found

    def flavor(self, flavor_id: str) -> Document:
        """One of them."""
        document: Document = self._request("GET", f"/flavors/{_segment(flavor_id)}").document
        return document

    def create_flavor(self, document: Document) -> Document:
        """A new one."""
        created: Document = self._request("POST", "/flavors", document).document
        return created

    def delete_flavor(self, flavor_id: str) -> None:
        """It is gone at once."""
        self._delete(f"/flavors/{_segment(flavor_id)}")

    def limit(self, project_id: str) -> int:
        """(Operators) How many services a project may have."""
        return int(self._request("GET", f"/admin/limits/{_segment(project_id)}").document["limit"])

    def set_limit(self, project_id: str, limit: int) -> None:
        """(Operators) How many it may have from now on."""
        self._request("PUT", f"/admin/limits/{_segment(project_id)}", {"limit": limit})

    def description(self) -> Document | None:
        """The server's OpenAPI document; None when it has none."""
        try:
            document: Document = self._request("GET", "/openapi.json").document
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return document

    # HTTP.

    def _pages(
        self,
        key: str,
        path: str,
        limit: int | None,
        query: Mapping[str, str],
        page_size: int = _PAGE,
    ) -> Iterator[Document]:
        marker: dict[str, str] = {}
        left = limit
        while left is None or left > 0:
            # How long pages are is the server's to say, unless fewer are wanted.
            size = {} if left is None else {"limit": str(min(page_size, left))}
            asked = {**query, **marker, **size}
            page = self._request("GET", path, query=asked).document
            yield from page[key]
            # Older servers gave operations of all projects as one page, without links.
            following = [it["href"] for it in page.get("links", ()) if it["rel"] == "next"]
            if not following:
                return
            query_of_next = urllib.parse.urlsplit(following[0]).query
            marker = {"marker": urllib.parse.parse_qs(query_of_next)["marker"][0]}
            left = None if left is None else left - len(page[key])

    def _delete(self, path: str) -> Answer:
        """Gone already is as good, if it was us."""
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
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        return checked(self._connection.send(method, path, body, headers, query))


def _segment(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
