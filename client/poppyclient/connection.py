# SPDX-License-Identifier: Apache-2.0
"""HTTP over a keystoneauth session.

Idempotent requests are retried for a while if the response is lost or the server answers 503.
"""

import html
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as keystone
from osc_lib import exceptions

from poppyclient import causes

LOG = logging.getLogger(__name__)

VERSION = "/v1.0"
#: How long a request is retried, in seconds.
PATIENCE = 30.0
#: The upper bound of one ``Retry-After``, in seconds.
_LONGEST_WAIT = 30.0
_SAFE = frozenset({"GET", "PUT", "DELETE"})


class Refused(exceptions.CommandError):
    """The server refused the request; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unanswered(exceptions.CommandError):
    """The outcome is unknown: only lost responses or 503 until the retries ended."""


class Answer(NamedTuple):
    """A response.

    Attributes:
        status: the HTTP status.
        document: the decoded body; None without one.
        headers: the headers; names are case-insensitive.
        repeated: whether the request was sent more than once.
    """

    status: int
    document: Any
    headers: Mapping[str, str]
    repeated: bool

    @property
    def request_id(self) -> str | None:
        """The server's id of the request."""
        return self.headers.get("x-openstack-request-id")


class Connection:
    """A connection to the server for one project.

    Args:
        http: the adapter with endpoint and credentials.
        project_id: sent as ``X-Project-ID``, for servers without Keystone; others ignore it.
        patience: how long a request is retried, in seconds.
        sleep: the function that waits.
    """

    def __init__(
        self,
        http: adapter.Adapter,
        project_id: str | None,
        patience: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
        self._project = {"X-Project-ID": project_id} if project_id else {}
        self._patience = patience
        self._sleep = sleep
        self._base: str | None = None

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Answer:
        """Send a request, and retry it while that is safe and ``patience`` lasts.

        A repeated change with ``If-Match`` cannot take effect twice: if the first one succeeded
        and its response was lost, the second one gets a 412.

        Raises:
            Unanswered: no response, or 503.
            CommandError: the server's URL is unknown.
        """
        headers = headers or {}
        safe = method in _SAFE or "Idempotency-Key" in headers or "If-Match" in headers
        deadline = time.monotonic() + self._patience
        pause = 0.5
        repeated = False
        while True:
            try:
                answer = self._once(method, path, body, headers, query, repeated)
            except keystone.ConnectionError as exc:
                why = causes.cause_of(exc)
                trouble, wait = f"{self._base or 'Keystone'} {why.text}", pause
                cause: Exception | None = exc
                safe = safe and not why.permanent
            else:
                if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return answer
                trouble, wait, cause = _message(answer), _retry_after(answer, pause), None
            if not safe or time.monotonic() + wait > deadline:
                raise Unanswered(trouble) from cause
            LOG.warning("%s; trying again in %.1f s", trouble, wait)
            self._sleep(wait)
            pause = min(2 * pause, 8.0)
            repeated = True

    def _once(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
        query: Mapping[str, str | Sequence[str]] | None,
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
        """Return the URL of the API version, including the project if the catalogue has it."""
        if self._base is None:
            try:
                endpoint = self._http.get_endpoint()
            except keystone.CatalogException:
                endpoint = None
            if not endpoint:
                raise exceptions.CommandError(
                    "The catalogue has no service of type 'cdn'. Register Poppy there, or give "
                    "its URL with --os-cdn-endpoint (--endpoint for the poppy command)"
                )
            base = endpoint.rstrip("/")
            self._base = base if VERSION in base else base + VERSION
        return self._base


def checked(answer: Answer) -> Answer:
    """Return the response if it is not an error.

    Raises:
        Refused: the status is 400 or above.
    """
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Refused(answer.status, _message(answer))
    return answer


def _message(answer: Answer) -> str:
    """Return the server's error message, unescaped: a text, or a list of schema violations."""
    said = answer.document.get("message") if isinstance(answer.document, Mapping) else None
    if isinstance(said, Mapping):
        said = "\n".join(str(entry.get("message")) for entry in said.get("errors", ()))
    if not said and isinstance(answer.document, Mapping):
        # Middleware in front of Poppy answers with {"error": {"message": ...}}.
        error = answer.document.get("error")
        said = error.get("message") if isinstance(error, Mapping) else None
    text = html.unescape(str(said)) if said else f"The server answered with {answer.status}"
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.request_id:
        text += f" ({answer.request_id})"
    return text


def _retry_after(answer: Answer, otherwise: float) -> float:
    """Parse ``Retry-After`` in seconds (RFC 9110, section 10.2.3); Poppy sends no dates."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else otherwise
