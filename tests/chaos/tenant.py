# SPDX-License-Identifier: Apache-2.0
"""A tenant that sends requests and keeps a journal of their results."""

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from poppy.model.operations import Kind

#: Seconds to wait for an answer; the server's timeouts are shorter.
_TIMEOUT = 20.0


class Answer(enum.StrEnum):
    """The result of a request as the client knows it."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    #: There was no answer, or a 5xx; the request may have been accepted.
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Request:
    """A request and its result.

    Attributes:
        name: the unique name of the service.
        service_id: the id of the service, or None for a create that may not have been accepted.
        document: the document of the service after the request.
        url: the unique path of a purge.
        status: the HTTP status, or None without an answer.
        text: the body of a refusal.
    """

    kind: Kind
    project_id: str
    name: str
    service_id: str | None
    answer: Answer
    document: dict[str, Any] | None = None
    url: str | None = None
    status: int | None = None
    text: str = ""
    at: float = field(default_factory=time.time)


class Journal:
    """The requests of all tenants; those of a service are in order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def add(self, request: Request) -> None:
        """Add a request with its result."""
        self.requests.append(request)

    def accepted(self) -> int:
        """Return the number of accepted requests."""
        return sum(request.answer is Answer.ACCEPTED for request in self.requests)


class Tenant:
    """A client of one project, for one thread at a time.

    Args:
        base: the URL of the API, without a path.
    """

    def __init__(self, base: str, project_id: str, journal: Journal) -> None:
        self.project_id = project_id
        self._base = f"{base}/v1.0/services"
        self._journal = journal
        self._session = requests.Session()
        self._session.headers["X-Project-ID"] = project_id

    def close(self) -> None:
        """Close connections."""
        self._session.close()

    def create(self, name: str, domains: Sequence[str], **changes: Any) -> Request:
        """POST a service."""
        document = document_of(name, domains, **changes)
        answer = self._send("POST", self._base, json=document)
        request = self._note(Kind.CREATE, name, None, answer, document=document)
        if request.answer is Answer.ACCEPTED:
            assert answer is not None
            request.service_id = answer.headers["Location"].rpartition("/")[2]
        return request

    def update(self, name: str, service_id: str, document: dict[str, Any]) -> Request:
        """PATCH a service to a document, independent of its current one."""
        patch = [
            {"op": "replace", "path": f"/{key}", "value": value} for key, value in document.items()
        ]
        answer = self._send("PATCH", self._url(service_id), json=patch)
        return self._note(Kind.UPDATE, name, service_id, answer, document=document)

    def purge(self, name: str, service_id: str, url: str) -> Request:
        """Purge a path."""
        query = {"url": url, "hard": "true"}
        answer = self._send("DELETE", f"{self._url(service_id)}/assets", params=query)
        return self._note(Kind.PURGE, name, service_id, answer, url=url)

    def delete(self, name: str, service_id: str) -> Request:
        """DELETE a service."""
        answer = self._send("DELETE", self._url(service_id))
        return self._note(Kind.DELETE, name, service_id, answer)

    def status(self, service_id: str) -> str | None:
        """Return a service's status: ``gone`` for a 404, None without an answer."""
        answer = self._send("GET", self._url(service_id))
        if answer is None or answer.status_code >= 500:
            return None
        return "gone" if answer.status_code == 404 else str(answer.json()["status"])

    def wait(self, service_id: str, status: str, timeout: float = 30.0) -> None:
        """Wait until a service has a status."""
        deadline = time.monotonic() + timeout
        while (now := self.status(service_id)) != status:
            assert time.monotonic() < deadline, f"{service_id} is {now}, not {status}, in time"
            time.sleep(0.05)

    def _url(self, service_id: str) -> str:
        return f"{self._base}/{service_id}"

    def _send(self, method: str, url: str, **options: Any) -> requests.Response | None:
        try:
            return self._session.request(method, url, timeout=_TIMEOUT, **options)
        except requests.RequestException:
            return None

    def _note(
        self,
        kind: Kind,
        name: str,
        service_id: str | None,
        answer: requests.Response | None,
        **details: Any,
    ) -> Request:
        status = None if answer is None else answer.status_code
        if answer is None or answer.status_code >= 500:
            known = Answer.UNKNOWN
        elif answer.status_code == 202:
            known = Answer.ACCEPTED
        else:
            known = Answer.REFUSED
        text = answer.text if answer is not None and known is not Answer.ACCEPTED else ""
        request = Request(
            kind, self.project_id, name, service_id, known, status=status, text=text, **details
        )
        self._journal.add(request)
        return request


def document_of(
    name: str, domains: Sequence[str], version: int = 1, origin: str = "origin.example.net"
) -> dict[str, Any]:
    """Return a service's document, which depends on the version."""
    return {
        "name": name,
        "flavor_id": "standard",
        "domains": [{"domain": domain} for domain in domains],
        "origins": [{"origin": origin}],
        "caching": [{"name": f"version-{version}", "ttl": version}],
    }
