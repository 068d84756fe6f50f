# SPDX-License-Identifier: Apache-2.0
"""Poppy's v1.0 API over HTTP, with a session of keystoneauth.

Whatever can be repeated without doing it twice is repeated for a while when its answer got lost,
or when the server says that it can't now (503).
"""

import html
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as keystone
from osc_lib import exceptions

Document = dict[str, Any]

SERVICE_TYPE = "cdn"
VERSION = "/v1.0"
#: Seconds that a request is repeated for.
PATIENCE = 60.0
#: The longest that one ``Retry-After`` is followed, in seconds.
_LONGEST_WAIT = 30.0
_PAGE = 10
_SAFE = frozenset({"GET", "PUT", "DELETE"})


class Refused(exceptions.CommandError):
    """The server said no; ``status`` is the one of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unanswered(exceptions.CommandError):
    """Nobody knows whether it was done: there was no answer, or 503, for as long as we waited."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        document: the body, None without one.
        headers: their names in any case.
        repeated: whether the request was sent more than once.
    """

    status: int
    document: Any
    headers: Mapping[str, str]
    repeated: bool

    @property
    def request_id(self) -> str | None:
        """By which the server knows the request."""
        return self.headers.get("x-openstack-request-id")


class Client:
    """The API, as seen by one project.

    Args:
        http: whom to ask, and with which credentials.
        project_id: sent as ``X-Project-ID``, for servers without Keystone; others ignore it.
        patience: seconds that a request is repeated for.
        sleep: how to wait.
    """

    def __init__(
        self,
        http: adapter.Adapter,
        project_id: str | None = None,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
        self._project = {"X-Project-ID": project_id} if project_id else {}
        self._patience = patience
        self._sleep = sleep
        self._base: str | None = None
        self.project_id = project_id or http.get_project_id()

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
            raise exceptions.CommandError(f"There is no service with the id, domain or name '{text}'")
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

    def open_operations(self, **filters: Any) -> list[Document]:
        """(Operators) What is unfinished or failed, of all projects, the oldest first."""
        asked = {name: str(value) for name, value in filters.items() if value is not None}
        document = self._request("GET", "/admin/operations", query=asked).document
        found: list[Document] = document["operations"]
        return found

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
        self, key: str, path: str, limit: int | None, query: Mapping[str, str]
    ) -> Iterator[Document]:
        marker: dict[str, str] = {}
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            asked = {**query, **marker, "limit": str(size)}
            page = self._request("GET", path, query=asked).document
            yield from page[key]
            if not any(link["rel"] == "next" for link in page["links"]):
                return
            marker = {"marker": page[key][-1]["id"]}
            left = None if left is None else left - len(page[key])

    def _delete(self, path: str) -> Answer:
        """Gone already is as good, if it was us."""
        answer = self._send("DELETE", path, None, {}, None)
        if answer.status == HTTPStatus.NOT_FOUND and answer.repeated:
            return answer
        return _checked(answer)

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        return _checked(self._send(method, path, body, headers or {}, query))

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None,
    ) -> Answer:
        """Send it, and again while that is safe and there is hope.

        A change with an ``If-Match`` that took effect, but whose answer was lost, is a 412 when
        it is sent again; so it can't happen twice.
        """
        safe = method in _SAFE or "Idempotency-Key" in headers or "If-Match" in headers
        deadline = time.monotonic() + self._patience
        pause = 0.5
        repeated = False
        while True:
            try:
                answer = self._once(method, path, body, headers, query, repeated)
            except keystone.SSLError:
                raise
            except keystone.ConnectionError as exc:
                trouble, wait = f"{self._where()} does not answer", pause
                cause: Exception | None = exc
            else:
                if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return answer
                trouble, wait, cause = _message(answer), _retry_after(answer, pause), None
            if not safe or time.monotonic() + wait > deadline:
                raise Unanswered(trouble) from cause
            self._sleep(wait)
            pause = min(2 * pause, 8.0)
            repeated = True

    def _once(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None,
        repeated: bool,
    ) -> Answer:
        options: dict[str, Any] = {} if body is None else {"json": body}
        response = self._http.request(
            self._where() + path,
            method,
            headers={"Accept": "application/json", **self._project, **headers},
            params=query or {},
            raise_exc=False,
            **options,
        )
        try:
            document = response.json() if response.content else None
        except ValueError:
            document = None
        return Answer(response.status_code, document, response.headers, repeated)

    def _where(self) -> str:
        """The URL of the version, with the project in it if the catalogue says so."""
        if self._base is None:
            endpoint = self._http.get_endpoint()
            if not endpoint:
                raise exceptions.CommandError(
                    "Where is Poppy? The catalogue has no service of type 'cdn'; or give "
                    "--os-cdn-endpoint (of the command poppy: --endpoint)"
                )
            base = endpoint.rstrip("/")
            self._base = base if VERSION in base else base + VERSION
        return self._base


def _checked(answer: Answer) -> Answer:
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Refused(answer.status, _message(answer))
    return answer


def _message(answer: Answer) -> str:
    """The server's words: a text, or a list of what breaks the schema; escaped for HTML."""
    said = answer.document.get("message") if isinstance(answer.document, Mapping) else None
    if isinstance(said, Mapping):
        said = "\n".join(str(entry.get("message")) for entry in said.get("errors", ()))
    if not said and isinstance(answer.document, Mapping):
        # What other parts in front answer with: {"error": {"message": ...}}.
        error = answer.document.get("error")
        said = error.get("message") if isinstance(error, Mapping) else None
    text = html.unescape(str(said)) if said else f"The server answered with {answer.status}"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.request_id:
        text += f" ({answer.request_id})"
    return text


def _retry_after(answer: Answer, otherwise: float) -> float:
    """Seconds (RFC 9110, section 10.2.3); the form with a date is not used by Poppy."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else otherwise


def _segment(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
