# SPDX-License-Identifier: Apache-2.0
"""HTTP client for drivers.

Every request has a timeout, every failure becomes a driver error, and the vendor's rate limits
are recorded. Requests and responses are never logged, because they may hold secrets.
"""

import datetime
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import requests
import requests.adapters
import urllib3.exceptions
from oslo_log import log

from poppy.common import inspection, logs, tracing, waits
from poppy.common.clock import now_utc
from poppy.common.errors import (
    PermanentError,
    RetryableError,
    Scope,
    TimedOut,
    Unauthorized,
    succeeds,
)

LOG = log.getLogger(__name__)

#: Seconds to connect, and between two reads of the response.
TIMEOUT = (5.0, 30.0)
#: Methods that change nothing (RFC 9110, section 9.2.1).
_READ = frozenset({"GET", "HEAD"})
#: 4xx statuses that are retryable. The caller decides about 409 and 412.
_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
#: Statuses of an object that does not exist.
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
#: Statuses that refuse the credentials, not the request.
REFUSES_US = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: Maximum characters of a response in an error message.
_QUOTED = 500
#: Connection errors.
_NO_CONNECTION = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
#: Path segments that may be an id: not ``v1`` and not a word.
_ID = re.compile("(?=.*[0-9])[^/]{6,}")
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Larger numbers in quota fields are ignored.
_MOST = 10**12


class Quota(NamedTuple):
    """A vendor's rate limit, as of its last response.

    Attributes:
        limit: calls per period; None if unknown.
        remaining: remaining calls.
        resets_at: when the limit resets, in UTC; None if unknown.
    """

    limit: int | None
    remaining: int
    resets_at: datetime.datetime | None = None


class QuotaFields(NamedTuple):
    """The header fields of one limit, by the name of the limit in :attr:`Client.quota`."""

    name: str
    limit: str
    remaining: str
    reset: str


#: The fields that many vendors use. If two rows have the same name, the first one with a reset
#: time counts.
QUOTA_FIELDS = (
    QuotaFields("requests", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    QuotaFields("requests", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
)


def quotas(
    headers: Mapping[str, str], fields: Iterable[QuotaFields] = QUOTA_FIELDS
) -> dict[str, Quota]:
    """Return the limits in a response's header fields by name.

    A driver of a vendor with other fields gives :class:`Client` a function that calls this one
    with them.
    """
    found: dict[str, Quota] = {}
    for name, limit, remaining, reset in fields:
        left = _number(headers.get(remaining))
        if left is not None and (name not in found or found[name].resets_at is None):
            whole = _number(headers.get(limit))
            found[name] = Quota(whole, left, _moment(headers.get(reset)))
    return found


#: Reads the limits in a response's header fields.
QuotaReader = Callable[[Mapping[str, str]], Mapping[str, Quota]]


class Client:
    """A thread-safe client of one server. It does not follow redirects.

    Args:
        name: the driver's name, for messages.
        base_url: prefix of all paths.
        auth: the ``auth`` of ``requests``.
        headers: sent with every request.
        timeout: seconds to connect, and between two reads of the response.
        verify: whether to verify certificates, or the path of a CA bundle.
        explain: extracts the vendor's error message from a response.
        quotas: reads the vendor's rate limits from a response's header fields.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        auth: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = TIMEOUT,
        verify: bool | str = True,
        explain: Callable[[requests.Response], str] | None = None,
        quotas: QuotaReader = quotas,
    ) -> None:
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._auth = auth
        self._headers = {"User-Agent": "poppy", "Accept": "application/json", **(headers or {})}
        self._timeout = timeout
        self._verify = verify
        self._explain = explain or _text
        self._read_quotas = quotas
        # A requests session is not safe to share between threads.
        self._local = threading.local()
        self._quota: dict[str, Quota] = {}

    @property
    def quota(self) -> Mapping[str, Quota]:
        """The server's limits from the last responses, by name."""
        return dict(self._quota)

    def request(
        self,
        method: str,
        path: str,
        *,
        accept: Collection[int] = (),
        reads: bool = False,
        **options: Any,
    ) -> requests.Response:
        """Send a request and return the response if its status is 2xx or in ``accept``.

        Args:
            path: appended to the base URL, or an absolute URL.
            reads: whether the request changes nothing, although its method is not GET or HEAD.
            options: arguments of ``requests.Session.request`` (``json``, ``params`` ...).

        Raises:
            RetryableError: no response, 408, 425, 429 or 5xx. Its wait comes from
                ``Retry-After`` (RFC 9110, section 10.2.3) or the reset time of the limit. Its
                scope is the provider, unless the server's message names the requested object.
            TimedOut: no response in time.
            Unauthorized: 401 or 403.
            PermanentError: any other status.
            Differs: in read-only mode, the request may change something.
        """
        if not reads and method not in _READ:
            inspection.differs(f"{self._name} does not have the service as deployed ({method})")
        url = path if "://" in path else f"{self._base_url}/{path.lstrip('/')}"
        began = time.monotonic()
        with tracing.span(method, tracing.Kind.CLIENT) as span:
            describe(span, method, url)
            try:
                response = self._session().request(
                    method, url, timeout=self._timeout, allow_redirects=False, **options
                )
            except requests.RequestException as exc:
                span.fail(type(exc).__name__)
                raise self._unanswered(method, exc) from exc
            status = response.status_code
            good = response.ok and not response.is_redirect or status in accept
            span.set({"http.response.status_code": status})
            if not good:
                span.fail(str(status))
        LOG.debug("%s: %s %s in %.3f s", self._name, method, status, time.monotonic() - began)
        self._quota.update(self._read_quotas(response.headers))
        if good:
            return response
        raise self._error(method, response)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the decoded JSON body; None if it is empty.

        Raises:
            RetryableError: see :meth:`request`; also if the body is not JSON, which usually
                comes from a proxy in between.
        """
        response = self.request(method, path, **options)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as exc:
            raise RetryableError(f"{self._name} answered {method} with no JSON") from exc

    def document(self, response: requests.Response) -> dict[str, Any]:
        """Return the JSON object in the body of a response.

        Raises:
            RetryableError: there is none, which usually comes from a proxy in between.
        """
        try:
            found = response.json()
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        raise RetryableError(
            f"{self._name} answered {response.request.method} with no JSON object"
        )

    def find(self, path: str, **options: Any) -> dict[str, Any] | None:
        """Send a GET request and return the JSON object; None for the statuses in :data:`GONE`."""
        response = self.request("GET", path, accept=GONE, **options)
        return None if response.status_code in GONE else self.document(response)

    def answers(self, path: str, method: str = "GET") -> bool:
        """Return whether the server answers a request with 2xx; never raises."""
        return succeeds(lambda: self.request(method, path))

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.auth = self._auth
            session.headers.update(self._headers)
            session.verify = self._verify
            self._local.session = session
        return session

    def _unanswered(self, method: str, error: requests.RequestException) -> RetryableError:
        # Messages of requests quote the URL, which may hold a key.
        message = f"{self._name} did not answer ({method}): {type(error).__name__}"
        if _is_timeout(error):
            return TimedOut(message)
        # Other errors, such as an invalid URL, come from the request itself.
        broken = isinstance(error, _NO_CONNECTION)
        return RetryableError(message, scope=Scope.PROVIDER if broken else Scope.SERVICE)

    def _error(self, method: str, response: requests.Response) -> Exception:
        status = response.status_code
        # A vendor may quote a secret that it refuses, and tenants see the message.
        said = logs.mask(self._explain(response))[:_QUOTED].strip()
        message = f"{self._name} answered {method} with {status}" + (f": {said}" if said else "")
        return failure(message, said, response, self._read_quotas)


def failure(
    message: str, said: str, response: requests.Response, read: QuotaReader = quotas
) -> RetryableError | PermanentError:
    """Return the error for a response with an error status, as :meth:`Client.request` raises it.

    Args:
        said: the vendor's error message.
        read: reads the vendor's limits.
    """
    status = response.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        own = names_object(said, response.request)
        return RetryableError(
            message,
            retry_after=retry_after(response.headers, read),
            scope=Scope.SERVICE if own else Scope.PROVIDER,
        )
    return Unauthorized(message) if status in REFUSES_US else PermanentError(message)


def describe(span: tracing.Span, method: str, url: str) -> None:
    """Set the span attributes of https://opentelemetry.io/docs/specs/semconv/http/http-spans/."""
    if span.recording:
        span.set({"http.request.method": method, **tracing.address_of(url)})


def names_object(said: str, request: requests.PreparedRequest) -> bool:
    """Return whether a server's message names the object of a request.

    Such a limit or outage affects that object, not the account. Objects are identified by ids in
    the path (whole segments with a digit) and by UUIDs anywhere in the request, because drivers
    name objects after the service's id.
    """
    url = urllib.parse.unquote(request.url or "")
    ids = {it for it in urllib.parse.urlsplit(url).path.split("/") if _ID.fullmatch(it)}
    body = request.body or b""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    ids |= {it for it in _UUID.findall(said) if it in url or it in text}
    return any(re.search(rf"(?<!\w){re.escape(it)}(?!\w)", said) for it in ids)


def _is_timeout(error: requests.RequestException) -> bool:
    if isinstance(error, requests.Timeout):
        return True
    # requests reports a timeout in the body as a ConnectionError.
    return any(isinstance(it, urllib3.exceptions.TimeoutError) for it in error.args)


def retry_after(headers: Mapping[str, str], read: QuotaReader = quotas) -> float | None:
    """Return the seconds that a response asks to wait, from ``Retry-After`` in either form.

    Without the field, the reset time of an exhausted limit counts. The result is at most
    :data:`poppy.common.waits.LONGEST`; None if there is no valid value.

    Args:
        read: reads the vendor's limits.
    """
    value = headers.get("Retry-After")
    if value is not None:
        return waits.retry_after(value, now_utc())
    found = read(headers)
    now = now_utc()
    resets = [
        waits.until(quota.resets_at, now)
        for quota in found.values()
        if quota.remaining <= 0 and quota.resets_at is not None
    ]
    return max(resets, default=None)


#: A larger reset value is a Unix timestamp, not a number of seconds from now.
_EPOCH_LIKE = 10_000_000
#: A reset time further away than this is ignored.
_FARTHEST = datetime.timedelta(days=3650)


def _moment(value: str | None) -> datetime.datetime | None:
    try:
        moment = _read_moment(value or "")
    except (ValueError, OverflowError, OSError):
        return None
    return moment if abs(moment - now_utc()) <= _FARTHEST else None


def _read_moment(value: str) -> datetime.datetime:
    number = _number(value)
    if number is None:
        moment = datetime.datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    if number > _EPOCH_LIKE:
        return datetime.datetime.fromtimestamp(number, datetime.UTC)
    return now_utc() + datetime.timedelta(seconds=number)


def _number(value: str | None) -> int | None:
    """Return the first number of a field, before any parameters or windows; digits only."""
    number = waits.number(re.split("[,;]", value or "")[0].strip(" \t"))
    return number if number is not None and number < _MOST else None


def _text(response: requests.Response) -> str:
    return response.text
