# SPDX-License-Identifier: Apache-2.0
"""A client of the nodes' API, ``/edge/v1`` (the decision record "The edge pulls").

Requests and responses are never logged, because they hold the node's token.
"""

import json
import re
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import requests
import requests.auth

from poppy.common import errors, waits
from poppy.common.clock import now_utc
from poppy.common.version import VERSION
from poppy.edge.agent.changes import Page, unexpected
from poppy.model.edge_logs import LogObject
from poppy.model.edge_traffic import TOTAL, Batch, Counts, Domain

#: Seconds to connect, and between two reads of the response.
TIMEOUT = (5.0, 10.0)
#: Maximum seconds of a response.
LONGEST = 60.0
#: Maximum bytes of a response.
MAX_SIZE = 32 * 1024 * 1024
#: Maximum changes of a page. A page that is too large is requested again with fewer.
PAGE = 250

TOKEN = re.compile("[!-~]{1,512}")
_CHUNK = 64 * 1024
#: Maximum characters of the server's message in an error.
_QUOTED = 300


class Unauthorized(errors.PoppyError):
    """The API does not know the token: it is wrong or expired, or the node was removed."""


class Conflict(errors.PoppyError):
    """Another agent with the same name is live."""


class TooLarge(errors.Unavailable):
    """The response is larger than :data:`MAX_SIZE`."""


class Client:
    """A client for one thread. It does not follow redirects.

    Args:
        url: the API's URL, without ``/edge/v1``.
        token: the node's token; without one, only :meth:`join` works.
        ca_file: a file of CA certificates; the default is that of ``requests``.
        timeout: seconds to connect, and between two reads of the response.

    Raises:
        ConfigError: ``ca_file`` is no valid file of certificates.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca_file: str | None = None,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self._base = f"{url.rstrip('/')}/edge/v1"
        if ca_file is not None:
            check_ca_file("ca_file", ca_file)
        self._verify = ca_file or True
        self._timeout = timeout
        self._page = PAGE
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"poppy-edge/{VERSION}"
        self._session.auth = _Bearer(token)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def join(self, name: str, token: str) -> str:
        """Join as the node ``name`` with a token for one join; return the node's own token.

        Raises:
            Unauthorized: the API does not accept the name and token.
            Unavailable: the API did not answer as expected.
        """
        body = {"name": name, "token": token}
        _, document, _ = self._request("POST", "/join", HTTPStatus.CREATED, json=body)
        found = document.get("token")
        if not isinstance(found, str) or not TOKEN.fullmatch(found):
            raise unexpected("token")
        return found

    def check(self) -> None:
        """Check that the API accepts the token.

        Raises:
            Unauthorized: it does not.
            Unavailable: the API did not answer as expected.
        """
        self._request("GET", "/changes", HTTPStatus.OK, params={"after": "0", "limit": "1"})

    def changes(self, after: int, *, etag: str | None = None, snapshot: int = 0) -> Page | None:
        """Return the changes after a revision; None if there are none since ``etag``.

        Args:
            etag: of the last page, if it ended at the head.
            snapshot: while the node reads a snapshot, the head of the snapshot's first page:
                then ``after`` may be older than the API's history.

        Raises:
            Gone: the API has no history back to ``after``.
            Unauthorized: the API does not accept the token.
            Unavailable: the API did not answer as expected.
        """
        query = {"after": str(after), "limit": str(self._page)}
        if snapshot:
            query["snapshot"] = str(snapshot)
        headers = {"If-None-Match": etag} if etag else {}
        try:
            status, document, fields = self._request(
                "GET",
                "/changes",
                HTTPStatus.OK,
                HTTPStatus.NOT_MODIFIED,
                params=query,
                headers=headers,
            )
        except TooLarge:
            self._page = max(1, self._page // 2)
            raise
        self._page = min(PAGE, self._page * 2)
        if status == HTTPStatus.NOT_MODIFIED:
            return None
        return Page.read(after, document, fields.get("ETag"))

    def report(self, report: Mapping[str, Any]) -> bool:
        """Report the state of the node; return whether it is drained.

        Raises:
            Conflict: another agent with the node's name is live.
            Unauthorized: the API does not accept the token.
            Unavailable: the API did not answer as expected.
        """
        _, document, _ = self._request("PUT", "/report", HTTPStatus.OK, json=report)
        drained = document.get("drained")
        if not isinstance(drained, bool):
            raise unexpected("drained")
        return drained

    def traffic(self, batch: Batch) -> bool:
        """Report sums of an hour; return whether the API keeps that hour.

        Raises:
            Unauthorized: the API does not accept the token.
            Unavailable: the API did not answer as expected.
        """
        countries: dict[Domain, dict[str, object]] = {}
        for domain, counts in batch.counts.items():
            if domain.country:
                countries.setdefault(domain.everywhere, {})[domain.country] = _counts(counts)
        document = {
            "source": batch.source,
            "hour": batch.hour.isoformat(),
            "sequence": batch.sequence,
            "total": _counts(batch.counts[TOTAL]),
            "domains": [
                {
                    "service_id": domain.service_id,
                    "domain": domain.name,
                    **_counts(counts),
                    "countries": countries.get(domain, {}),
                }
                for domain, counts in batch.counts.items()
                if domain != TOTAL and not domain.country
            ],
        }
        _, answer, _ = self._request("PUT", "/traffic", HTTPStatus.OK, json=document)
        stored = answer.get("stored")
        if not isinstance(stored, bool):
            raise unexpected("stored")
        return stored

    def log_upload(self, upload: LogObject) -> str:
        """Ask for a URL to which the node can put an object with logs; it has a signature.

        Raises:
            Unauthorized: the API does not accept the token.
            Unavailable: the API did not answer as expected.
        """
        _, document, _ = self._request("POST", "/logs", HTTPStatus.OK, json=upload._asdict())
        url = document.get("url")
        if not isinstance(url, str) or not url.startswith("https://"):
            raise unexpected("url")
        return url

    def _request(
        self, method: str, path: str, *accept: int, **options: Any
    ) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        deadline = time.monotonic() + LONGEST
        try:
            with self._session.request(
                method,
                self._base + path,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
                # In the session, REQUESTS_CA_BUNDLE would take precedence.
                verify=self._verify,
                **options,
            ) as response:
                body = _body(response, deadline)
        except requests.RequestException as exc:
            raise errors.Unavailable(reason(exc)) from exc
        status = response.status_code
        if status not in accept:
            raise _error(method, path, response, body)
        return status, _document(body) if body else {}, response.headers


def _counts(counts: Counts) -> dict[str, Any]:
    return {"responses": counts[:5], "hits": counts.hits, "sent": counts.sent}


class _Bearer(requests.auth.AuthBase):
    """The token. Without an ``auth``, requests would send a password from ``~/.netrc``."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _body(response: requests.Response, deadline: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > MAX_SIZE:
            raise TooLarge(f"the response is larger than {MAX_SIZE} bytes")
        if time.monotonic() > deadline:
            raise errors.Unavailable(f"the response takes longer than {LONGEST:.0f} s")
    return bytes(body)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise errors.Unavailable("the response is no JSON: is this the URL of the API?") from exc
    if not isinstance(document, dict):
        raise errors.Unavailable("the response is no JSON object")
    return document


def _error(method: str, path: str, response: requests.Response, body: bytes) -> errors.PoppyError:
    status = response.status_code
    said = _said(body)
    message = f"{method} /edge/v1{path} answered {status}" + (f": {said}" if said else "")
    kinds: dict[int, type[errors.PoppyError]] = {
        HTTPStatus.UNAUTHORIZED: Unauthorized,
        HTTPStatus.CONFLICT: Conflict,
        HTTPStatus.GONE: errors.Gone,
    }
    if status in kinds:
        return kinds[status](message)
    asked = waits.retry_after(response.headers.get("Retry-After", ""), now_utc())
    return errors.Unavailable(message, retry_after=int(asked or 0))


def _said(body: bytes) -> str:
    """Return the message of an error response, as a part of a line."""
    try:
        text = str(_document(body).get("message", ""))
    except errors.Unavailable:
        text = body[: 4 * _QUOTED].decode("utf-8", "replace")
    return " ".join("".join(it if it.isprintable() else " " for it in text).split())[:_QUOTED]


def reason(error: requests.RequestException) -> str:
    """Return the root cause: messages of requests are nested and quote URLs."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason}"
    if isinstance(cause, TimeoutError | requests.Timeout):
        return "no answer in time"
    return f"no answer: {getattr(cause, 'strerror', None) or type(cause).__name__}"


def check_ca_file(option: str, path: str) -> None:
    """Check that a file has CA certificates.

    Raises:
        ConfigError: it has none; the message names the option.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as exc:  # ssl.SSLError is one.
        raise errors.ConfigError(f"{option}: {path}: {exc.strerror or exc}") from exc


def check_url(url: str, *, insecure: bool = False) -> str:
    """Check the URL of an API.

    Args:
        insecure: whether ``http://`` with a loopback address is allowed.

    Raises:
        ValueError: it is no such URL; the message says why.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{url!r} is not https://<host>[:<port>]")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{parts.scheme}://{parts.hostname} may have no user, query or fragment")
    _ = parts.port  # Raises ValueError.
    if parts.scheme == "http":
        if not insecure:
            raise ValueError("http:// does not encrypt the token: use https://")
        if parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("http:// is allowed for localhost, 127.0.0.1 and [::1] only")
    return url.rstrip("/")
