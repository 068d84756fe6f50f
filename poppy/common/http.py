# SPDX-License-Identifier: Apache-2.0
"""HTTP for drivers: every call has a timeout, every failure is a driver error, limits are kept.

What is sent and received is never logged: it may hold secrets.
"""

import datetime
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import requests
import requests.adapters
import urllib3.exceptions
from oslo_log import log

from poppy.common import tracing, waits
from poppy.common.errors import PermanentError, RetryableError, Scope, TimedOut, Unauthorized

LOG = log.getLogger(__name__)

#: Seconds to connect, and to wait for more of an answer.
TIMEOUT = (5.0, 30.0)
#: Statuses of 4xx that may pass. 409 and 412 are for the caller to say.
_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
#: By these a server refuses who asks, not what is asked for.
REFUSES_US = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: Characters of an answer that are quoted in an error.
_QUOTED = 500
#: Errors of a connection as such.
_NO_CONNECTION = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
#: Segments of a path that may be an id: not ``v1``, nor a word.
_ID = re.compile("(?=.*[0-9])[^/]{6,}")
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: A limit of so many calls or more is none.
_MOST = 10**12


class Quota(NamedTuple):
    """What is left of a vendor's limit, as its last answer said.

    Attributes:
        limit: calls in a period; None when it does not say.
        remaining: calls that are left.
        resets_at: when there are more, in UTC; None when it does not say.
    """

    limit: int | None
    remaining: int
    resets_at: datetime.datetime | None = None


class Client:
    """A session with one server, for any number of threads; redirects are not followed.

    Args:
        name: of the driver, for messages.
        base_url: what paths are appended to.
        auth: as ``requests`` takes it.
        headers: sent with every request.
        timeout: seconds to connect, and between two pieces of an answer.
        verify: whether certificates are checked, or the file with those to check by.
        explain: gives the vendor's own words from the answer to a refused request.
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
    ) -> None:
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._auth = auth
        self._headers = {"User-Agent": "poppy", "Accept": "application/json", **(headers or {})}
        self._timeout = timeout
        self._verify = verify
        self._explain = explain or _text
        # A requests session is not safe to share between threads.
        self._local = threading.local()
        self._quota: dict[str, Quota] = {}

    @property
    def quota(self) -> Mapping[str, Quota]:
        """What the last answers said of the server's limits, by the limit's name."""
        return dict(self._quota)

    def request(
        self,
        method: str,
        path: str,
        *,
        accept: Collection[int] = (),
        **options: Any,
    ) -> requests.Response:
        """Send a request; gives the answer if its status is 2xx or among ``accept``.

        Args:
            path: appended to the base URL; a whole URL is taken as it is.
            options: as ``requests.Session.request`` has them (``json``, ``params`` ...).

        Raises:
            RetryableError: no answer, 408, 425, 429 or 5xx; with the wait that the server asks
                for by ``Retry-After`` (RFC 9110, section 10.2.3), or until its limit resets. It
                concerns the server as a whole, unless the server's words name the object that
                the path is about.
            TimedOut: no answer in time.
            Unauthorized: 401 or 403.
            PermanentError: any other status.
        """
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
        self._note_quota(response)
        if good:
            return response
        raise self._error(method, response)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """As :meth:`request`; gives the decoded body, None for an empty one.

        Raises:
            RetryableError: also when the body is no JSON: something stands in between.
        """
        response = self.request(method, path, **options)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as exc:
            raise RetryableError(f"{self._name} answered {method} with no JSON") from exc

    def answers(self, path: str, method: str = "GET") -> bool:
        """Whether the server answers a request with 2xx now; never raises."""
        try:
            self.request(method, path)
        except (RetryableError, PermanentError):
            return False
        return True

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.auth = self._auth
            session.headers.update(self._headers)
            session.verify = self._verify
            self._local.session = session
        return session

    def _note_quota(self, response: requests.Response) -> None:
        for name, quota in quotas(response.headers).items():
            self._quota[name] = quota

    def _unanswered(self, method: str, error: requests.RequestException) -> RetryableError:
        # The words of requests hold the URL, which may hold a key.
        message = f"{self._name} did not answer ({method}): {type(error).__name__}"
        if _is_timeout(error):
            return TimedOut(message)
        # Anything else, such as a URL that can't be, is about what was asked.
        broken = isinstance(error, _NO_CONNECTION)
        return RetryableError(message, scope=Scope.PROVIDER if broken else Scope.SERVICE)

    def _error(self, method: str, response: requests.Response) -> Exception:
        status = response.status_code
        said = self._explain(response)[:_QUOTED].strip()
        message = f"{self._name} answered {method} with {status}" + (f": {said}" if said else "")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
            own = names_object(said, response.request)
            return RetryableError(
                message,
                retry_after=retry_after(response.headers),
                scope=Scope.SERVICE if own else Scope.PROVIDER,
            )
        return Unauthorized(message) if status in REFUSES_US else PermanentError(message)


def describe(span: tracing.Span, method: str, url: str) -> None:
    """Say what is requested, by https://opentelemetry.io/docs/specs/semconv/http/http-spans/."""
    if span.recording:
        span.set({"http.request.method": method, **tracing.address_of(url)})


def names_object(said: str, request: requests.PreparedRequest) -> bool:
    """Whether a server's words name the object that a request is about.

    A limit or an outage that does so is that object's, not the account's. Objects are known by
    the ids in the path (whole segments with a digit), and by UUIDs anywhere in the request:
    drivers name objects for a service's id.
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
    # A body that stops coming is a ConnectionError to requests.
    return any(isinstance(it, urllib3.exceptions.TimeoutError) for it in error.args)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, by ``Retry-After`` in either form.

    Without the field, a limit that is used up says when it resets. None if the answer does not
    say, or makes no sense; never more than :data:`poppy.common.waits.LONGEST`.
    """
    value = headers.get("Retry-After")
    if value is not None:
        return waits.retry_after(value, _now())
    found = quotas(headers)
    now = _now()
    resets = [
        waits.until(quota.resets_at, now)
        for quota in found.values()
        if quota.remaining <= 0 and quota.resets_at is not None
    ]
    return max(resets, default=None)


#: Header fields in use: (name, limit, remaining, reset). Of two rows of one name, the first that
#: says when it resets counts.
_QUOTA_FIELDS = (
    ("requests", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    ("requests", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    # Akamai: when a call is possible again, a moment.
    ("requests", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Next"),
    (
        "requests",
        "Akamai-RateLimit-Limit",
        "Akamai-RateLimit-Remaining",
        "Akamai-RateLimit-Next",
    ),
    ("writes", "Fastly-RateLimit-Limit", "Fastly-RateLimit-Remaining", "Fastly-RateLimit-Reset"),
)
#: Akamai, of what a contract or property may have: X-Limit-Hosts-Per-Property-Remaining.
_THINGS = re.compile(r"(?i)x-limit-([a-z-]+)-remaining")


def quotas(headers: Mapping[str, str]) -> dict[str, Quota]:
    """The limits that an answer tells of.

    By the names of :data:`_QUOTA_FIELDS`, and for limits on things by what they limit
    (``hosts-per-property``).
    """
    found: dict[str, Quota] = {}
    for name, limit, remaining, reset in _QUOTA_FIELDS:
        quota = _quota(headers, limit, remaining, reset)
        if quota is not None and (name not in found or found[name].resets_at is None):
            found[name] = quota
    for field in headers:
        things = _THINGS.fullmatch(field)
        quota = things and _quota(headers, f"X-Limit-{things[1]}-Limit", field, "")
        if things and quota:
            found[things[1].lower()] = quota
    return found


def _quota(headers: Mapping[str, str], limit: str, remaining: str, reset: str) -> Quota | None:
    left, whole = _number(headers.get(remaining)), _number(headers.get(limit))
    return None if left is None else Quota(whole, left, _moment(headers.get(reset)))


#: A reset beyond this is a moment in seconds since 1970, not a number of seconds from now.
_EPOCH_LIKE = 10_000_000
#: A limit that resets later than this says nothing.
_FARTHEST = datetime.timedelta(days=3650)


def _moment(value: str | None) -> datetime.datetime | None:
    try:
        moment = _read_moment(value or "")
    except (ValueError, OverflowError, OSError):
        return None
    return moment if abs(moment - _now()) <= _FARTHEST else None


def _read_moment(value: str) -> datetime.datetime:
    number = _number(value)
    if number is None:
        moment = datetime.datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    if number > _EPOCH_LIKE:
        return datetime.datetime.fromtimestamp(number, datetime.UTC)
    return _now() + datetime.timedelta(seconds=number)


def _number(value: str | None) -> int | None:
    """The first number of a field, whose parameters and windows may follow; digits only."""
    number = waits.number(re.split("[,;]", value or "")[0].strip(" \t"))
    return number if number is not None and number < _MOST else None


def _text(response: requests.Response) -> str:
    return response.text


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
