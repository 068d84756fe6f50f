# SPDX-License-Identifier: Apache-2.0
"""HTTP for drivers: every call has a timeout, every failure is a driver error, limits are kept.

What is sent and received is never logged: it may hold secrets.
"""

import datetime
import email.utils
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import requests
import requests.adapters
from oslo_log import log

from poppy.common import tracing
from poppy.common.errors import PermanentError, RetryableError, Unauthorized

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
                for by ``Retry-After`` (RFC 9110, section 10.2.3), or until its limit resets.
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
                # The words of requests hold the URL, which may hold a key.
                raise RetryableError(
                    f"{self._name} did not answer ({method}): {type(exc).__name__}"
                ) from exc
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

    def _error(self, method: str, response: requests.Response) -> Exception:
        status = response.status_code
        said = self._explain(response)[:_QUOTED].strip()
        message = f"{self._name} answered {method} with {status}" + (f": {said}" if said else "")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
            return RetryableError(message, retry_after=retry_after(response.headers))
        return Unauthorized(message) if status in REFUSES_US else PermanentError(message)


def describe(span: tracing.Span, method: str, url: str) -> None:
    """Say what is requested, by https://opentelemetry.io/docs/specs/semconv/http/http-spans/."""
    if span.recording:
        span.set({"http.request.method": method, **tracing.address_of(url)})


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait, by ``Retry-After`` in either form; None if it doesn't.

    Without the field, a limit that is used up says when it resets.
    """
    value = headers.get("Retry-After")
    if value is None:
        waits = [
            (quota.resets_at - _now()).total_seconds()
            for quota in quotas(headers).values()
            if quota.remaining <= 0 and quota.resets_at is not None
        ]
        return max(0.0, *waits) if waits else None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - _now()).total_seconds())


#: Header fields in use: (name, limit, remaining, reset). Of two rows of one name, the first that
#: says when it resets counts.
_QUOTA_FIELDS = (
    ("requests", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    ("requests", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    # Akamai: when a call is possible again, a moment.
    ("requests", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Next"),
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
    if left is None:
        return None
    return Quota(None if whole is None else int(whole), int(left), _moment(headers.get(reset)))


#: A reset beyond this is a moment in seconds since 1970, not a number of seconds from now.
_EPOCH_LIKE = 10_000_000


def _moment(value: str | None) -> datetime.datetime | None:
    number = _number(value)
    if number is not None:
        if number > _EPOCH_LIKE:
            return datetime.datetime.fromtimestamp(number, datetime.UTC)
        return _now() + datetime.timedelta(seconds=number)
    try:
        moment = datetime.datetime.fromisoformat(value or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _number(value: str | None) -> float | None:
    try:
        number = float((value or "").split(",")[0].split(";")[0])
    except ValueError:
        return None
    return number if 0 <= number < 1e12 else None


def _text(response: requests.Response) -> str:
    return response.text


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
