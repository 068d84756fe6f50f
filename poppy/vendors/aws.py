# SPDX-License-Identifier: Apache-2.0
"""AWS client for drivers: every call has a timeout, every failure becomes a driver error.

Requests and responses are never logged, because they may hold secrets. This module needs boto3,
which the drivers' extras install.
"""

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from oslo_config import cfg
from requests.structures import CaseInsensitiveDict

from poppy.common import inspection, tracing
from poppy.common.errors import (
    ConfigError,
    DriverError,
    PermanentError,
    RetryableError,
    Scope,
    TimedOut,
    Unauthorized,
    succeeds,
)
from poppy.common.http import REFUSES_US, retry_after

try:
    import boto3
    import botocore.exceptions
    from botocore.config import Config
except ImportError as exc:
    raise ImportError(
        "boto3 is not installed: pip install poppy-cdn[cloudfront] or poppy-cdn[route53]"
    ) from exc

#: The region of the control planes of CloudFront and Route 53, of CloudFront's metrics and of the
#: certificates that CloudFront can use.
REGION = "us-east-1"

#: Options of every AWS driver.
OPTS = (
    cfg.StrOpt(
        "access_key_id",
        help="Access key id of the IAM user. Unset: boto3's default credentials (environment, "
        "shared files, the role of the machine or container).",
    ),
    cfg.StrOpt(
        "secret_access_key",
        secret=True,
        help="Secret access key for access_key_id.",
    ),
    cfg.StrOpt(
        "endpoint_url",
        help="Send every call to this URL instead of AWS: for tests, and for clouds with the same "
        "APIs.",
    ),
)

_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 20.0
#: Attempts for a throttled call or a refused connection, within seconds. The driver's caller
#: handles longer failures. See :func:`_again`.
_ATTEMPTS = 3
#: Seconds; the longest pause between attempts.
_PAUSE = 2.0
#: Seconds until a throttled call is retried after that; AWS sends no Retry-After. It is too long
#: for a retry in place, and it pauses all workers if the account is throttled.
_THROTTLED_PAUSE = 5.0
#: Total seconds of a health check.
_HEALTH_TIMEOUT = 3.0

#: Retryable 4xx codes besides throttling, with their scopes. The object changed since it was read
#: or has a change in progress; or a role's token has expired, and the like.
_PASSING = {
    "PreconditionFailed": Scope.SERVICE,
    "InvalidIfMatchVersion": Scope.SERVICE,
    "PriorRequestNotComplete": Scope.SERVICE,
    "ConcurrentModification": Scope.SERVICE,
    "TooManyInvalidationsInProgress": Scope.SERVICE,
    "ExpiredToken": Scope.PROVIDER,
    "ExpiredTokenException": Scope.PROVIDER,
    "RequestTimeout": Scope.PROVIDER,
    "RequestTimeTooSkewed": Scope.PROVIDER,
}
#: Codes of throttling. PriorRequestNotComplete is Route 53's, for one hosted zone.
_THROTTLED = re.compile(
    "Throttl|^RequestLimitExceeded$|^TooManyRequests|^SlowDown$|^BandwidthLim"
    "|^PriorRequestNotComplete$"
)
#: Codes that refuse the key or its permissions; some services send them with status 400.
_REFUSES_US = re.compile("AccessDenied|NotAuthorized|ClientToken|UnrecognizedClient|Signature")
_SERVER_ERROR = 500
#: The key of a call's span in botocore's request context.
_SPAN = "poppy.span"
#: Maximum characters of a response in an error message.
_QUOTED = 500
#: Minimum characters of an AWS object id.
_SHORTEST_ID = 6
#: Prefixes of operations that change nothing.
_READ = ("describe_", "filter_", "get_", "list_", "test_")
_TIMEOUTS = (botocore.exceptions.ConnectTimeoutError, botocore.exceptions.ReadTimeoutError)
_NO_CONNECTION = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.MetadataRetrievalError,
)


class Refused(PermanentError):
    """AWS refuses a call, and a retry does not help.

    Attributes:
        code: the error code, from the AWS reference of the call.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Service:
    """A thread-safe client of one AWS service.

    Args:
        driver: the driver's name, for messages.
        name: boto3's name of the service.
        options: the driver's option group, with :data:`OPTS`.

    Raises:
        ConfigError: the options contradict each other.
    """

    def __init__(self, driver: str, name: str, options: Any) -> None:
        if bool(options.access_key_id) != bool(options.secret_access_key):
            raise ConfigError(f"{driver}: access_key_id and secret_access_key go together")
        self._driver = driver
        self._name = name
        session = boto3.session.Session(
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            region_name=REGION,
        )

        def client(connect: float, read: float, attempts: int) -> Any:
            settings = Config(
                connect_timeout=connect,
                read_timeout=read,
                retries={"mode": "standard", "total_max_attempts": 1},
                user_agent_extra="poppy",
            )
            made = session.client(name, endpoint_url=options.endpoint_url, config=settings)
            if attempts > 1:
                made.meta.events.register("needs-retry", _again)
            made.meta.events.register("before-call", _begins)
            made.meta.events.register("after-call", _ends)
            made.meta.events.register("after-call-error", _breaks)
            return made

        # Clients are thread-safe; sessions are not.
        self._client = client(_CONNECT_TIMEOUT, _READ_TIMEOUT, _ATTEMPTS)
        self._impatient = client(_HEALTH_TIMEOUT / 2, _HEALTH_TIMEOUT / 2, 1)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation by its boto3 name (``get_distribution``) and return the response.

        Raises:
            RetryableError: no answer, throttled, 5xx, or changed concurrently; with the wait of
                the response's ``Retry-After``, or a few seconds if throttled without one.
            Unauthorized: the key is invalid or lacks permission.
            Refused: AWS refuses the call for another reason.
            PermanentError: the parameters do not match botocore's model of the call.
            Differs: in read-only mode, the operation may change something.
        """
        return self._call(self._client, operation, parameters)

    def pages(self, operation: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Call a paginated operation and yield each page."""
        paginator = self._client.get_paginator(operation)
        pages = iter(paginator.paginate(**parameters))
        while True:
            try:
                page = next(pages, None)
            except Exception as exc:
                raise self._error(operation, exc, parameters) from exc
            if page is None:
                return
            yield page

    def answers(self, operation: str, **parameters: Any) -> bool:
        """Return whether a call succeeds within a few seconds; never raises."""
        return succeeds(lambda: self._call(self._impatient, operation, parameters))

    def _call(self, client: Any, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if not operation.startswith(_READ):
            inspection.differs(
                f"{self._driver} does not have the service as deployed ({self._name} {operation})"
            )
        try:
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        except Exception as exc:
            raise self._error(operation, exc, parameters) from exc
        return answer

    def _error(self, operation: str, error: Exception, parameters: Mapping[str, Any]) -> Exception:
        what = f"{self._driver}: {self._name} {operation}"
        if isinstance(error, botocore.exceptions.ClientError):
            return _refusal(what, error, parameters)
        if isinstance(error, botocore.exceptions.ParamValidationError):
            return PermanentError(f"{what}: {error}")
        if isinstance(error, botocore.exceptions.BotoCoreError):
            # This includes missing credentials: a role's credentials come from a server that may
            # be briefly unreachable. botocore's messages may quote the URL.
            return _unanswered(f"{what} got no answer: {type(error).__name__}", error)
        return error


def _begins(model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Start a span, https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/."""
    service = model.service_model.service_id
    span = tracing.span(f"{service}.{model.name}", tracing.Kind.CLIENT)
    if span.recording:
        span.set({"rpc.system": "aws-api", "rpc.service": service, "rpc.method": model.name})
        span.set(tracing.address_of(params["url"]))
    context[_SPAN] = span.__enter__()


def _ends(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    span = context.pop(_SPAN, None)
    if span is None:  # a stub in tests may bypass before-call
        return
    metadata = parsed.get("ResponseMetadata", {})
    span.set(
        {
            "http.response.status_code": metadata.get("HTTPStatusCode"),
            "http.request.resend_count": metadata.get("RetryAttempts") or None,
            "aws.request_id": metadata.get("RequestId"),
        }
    )
    if "Error" in parsed:
        span.fail(str(parsed["Error"].get("Code", "")))
    span.__exit__(None, None, None)


def _breaks(exception: Exception, context: dict[str, Any], **_: Any) -> None:
    if span := context.pop(_SPAN, None):
        span.__exit__(type(exception), exception, None)


def _again(
    response: Any, attempts: int, caught_exception: Exception | None, **_: Any
) -> float | None:
    """Return the seconds until botocore retries a call; None for no retry.

    This replaces botocore's own rules, which retry a timed-out call: each attempt would hold a
    worker's slot for the full timeout.
    """
    if attempts >= _ATTEMPTS:
        return None
    if caught_exception is not None:
        refused = isinstance(caught_exception, _NO_CONNECTION)
        passes = refused and not isinstance(caught_exception, _TIMEOUTS)
    else:
        http, parsed = response
        code = str(parsed.get("Error", {}).get("Code", ""))
        passes = _may_pass(http.status_code, code)
    return random.uniform(0, min(_PAUSE, 0.5 * 2.0**attempts)) if passes else None


def _may_pass(status: int, code: str) -> bool:
    return status >= _SERVER_ERROR or status == 429 or bool(_THROTTLED.search(code))


def _unanswered(message: str, error: Exception) -> RetryableError:
    if isinstance(error, _TIMEOUTS):
        return TimedOut(message)
    ours = isinstance(error, (*_NO_CONNECTION, *_NO_CREDENTIALS))
    return RetryableError(message, scope=Scope.PROVIDER if ours else Scope.SERVICE)


def _names(message: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether an AWS error message names the object of a call."""
    ids = (it for it in parameters.values() if isinstance(it, str) and len(it) >= _SHORTEST_ID)
    return any(it in message for it in ids)


def _refusal(what: str, error: Any, parameters: Mapping[str, Any]) -> DriverError:
    told = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    code = str(told.get("Code", ""))
    message = f"{what}: {str(told.get('Message') or 'refused')[:_QUOTED]} ({code})"
    status = int(metadata.get("HTTPStatusCode", 0))
    if _may_pass(status, code) or code in _PASSING:
        headers = CaseInsensitiveDict(metadata.get("HTTPHeaders", {}))
        wait = retry_after(headers)
        if wait is None and _THROTTLED.search(code):
            wait = _THROTTLED_PAUSE
        own = _names(str(told.get("Message")), parameters)
        scope = Scope.SERVICE if own else _PASSING.get(code, Scope.PROVIDER)
        return RetryableError(message, retry_after=wait, scope=scope)
    if status in REFUSES_US or _REFUSES_US.search(code):
        return Unauthorized(message)
    return Refused(message, code)
