# SPDX-License-Identifier: Apache-2.0
"""A tenant: asks for things, and keeps a journal of what was accepted."""

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from poppy.model.operations import Kind

#: Seconds for an answer. The server gives up on a store sooner.
_TIMEOUT = 20.0


class Answer(enum.StrEnum):
    """What a request came to, as its sender knows."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    #: Nothing is known: there was no answer, or one of 5xx. It may have been accepted.
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Request:
    """Something that was asked for.

    Attributes:
        name: of the service, which no other service has.
        service_id: None when a create was not known to be accepted.
        document: of the service, as it would be after the request.
        url: what a purge is about; no other purge has it.
        status: HTTP's; None when there was no answer.
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
    """What all tenants asked for; a service's requests are in the order of asking."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def add(self, request: Request) -> None:
        """Note a request, with its answer."""
        self.requests.append(request)

    def accepted(self) -> int:
        """How many requests were accepted."""
        return sum(request.answer is Answer.ACCEPTED for request in self.requests)


class Tenant:
    """One project's client. Not for several threads at once.

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
        """Let go of connections."""
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
        """PATCH a service, from whatever it is to a document."""
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
        """A service's status; ``gone`` when there is none, None when nobody says."""
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
    """A service's document; documents of different versions differ."""
    return {
        "name": name,
        "flavor_id": "standard",
        "domains": [{"domain": domain} for domain in domains],
        "origins": [{"origin": origin}],
        "caching": [{"name": f"version-{version}", "ttl": version}],
    }
