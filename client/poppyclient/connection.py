# SPDX-License-Identifier: Apache-2.0
"""HTTP with a session of keystoneauth.

Whatever can be repeated without doing it twice is repeated for a while when its answer got lost,
or when the server says that it can't now (503).
"""

import html
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as keystone
from osc_lib import exceptions

LOG = logging.getLogger(__name__)

VERSION = "/v1.0"
#: Seconds that a request is repeated for.
PATIENCE = 30.0
#: The longest that one ``Retry-After`` is followed, in seconds.
_LONGEST_WAIT = 30.0
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


class Connection:
    """A server, as one project reaches it.

    Args:
        http: whom to ask, and with which credentials.
        project_id: sent as ``X-Project-ID``, for servers without Keystone; others ignore it.
        patience: seconds that a request is repeated for.
        sleep: how to wait.
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
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send it, and again while that is safe and there is hope.

        A change with an ``If-Match`` that took effect, but whose answer was lost, is a 412 when
        it is sent again; so it can't happen twice.

        Raises:
            Unanswered: no answer, or 503.
            CommandError: nobody knows where the server is.
        """
        headers = headers or {}
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
            try:
                endpoint = self._http.get_endpoint()
            except keystone.CatalogException:
                endpoint = None
            if not endpoint:
                raise exceptions.CommandError(
                    "Where is Poppy? The catalogue has no service of type 'cdn'; or give "
                    "--os-cdn-endpoint (of the command poppy: --endpoint)"
                )
            base = endpoint.rstrip("/")
            self._base = base if VERSION in base else base + VERSION
        return self._base


def checked(answer: Answer) -> Answer:
    """The answer.

    Raises:
        Refused: it is an error.
    """
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
