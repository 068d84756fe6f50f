# SPDX-License-Identifier: Apache-2.0
"""AWS errors as driver errors."""

import http.server
import threading
from typing import Any

import pytest
from botocore.stub import Stubber
from oslo_config import cfg

from poppy.common import tracing
from poppy.common.errors import (
    ConfigError,
    PermanentError,
    RetryableError,
    Scope,
    TimedOut,
    Unauthorized,
)
from poppy.common.retry import RetryPolicy
from poppy.vendors import aws
from tests.spans import Spans


def make_service(
    monkeypatch: pytest.MonkeyPatch, attempts: int = 1, **options: str
) -> aws.Service:
    # Prevent waits between botocore's own attempts.
    monkeypatch.setattr(aws, "_ATTEMPTS", attempts)
    conf = cfg.ConfigOpts()
    conf.register_opts(aws.OPTS, group="aws")
    conf([])
    values = {"access_key_id": "AKIATEST", "secret_access_key": "secret", **options}
    for name, value in values.items():
        conf.set_override(name, value, group="aws")
    return aws.Service("cloudfront", "cloudfront", conf["aws"])


def refuse(service: aws.Service, code: str, status: int, **headers: str) -> None:
    with Stubber(service._client) as stub:
        stub.add_client_error(
            "get_distribution",
            code,
            "in words",
            status,
            response_meta={"HTTPHeaders": headers} if headers else None,
        )
        service.call("get_distribution", Id="E1")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("Throttling", 400),
        ("ThrottlingException", 400),
        ("TooManyRequestsException", 429),
        ("RequestLimitExceeded", 503),
        ("InternalError", 500),
        ("ServiceUnavailable", 503),
        ("PreconditionFailed", 412),
        ("InvalidIfMatchVersion", 400),
        ("PriorRequestNotComplete", 400),
        ("TooManyInvalidationsInProgress", 400),
        ("ExpiredToken", 403),
        ("", 502),
    ],
)
def test_temporary_errors_are_retryable(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    with pytest.raises(RetryableError, match="get_distribution: in words"):
        refuse(make_service(monkeypatch), code, status)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("CNAMEAlreadyExists", 409),
        ("TooManyDistributions", 400),
        ("TooManyCacheBehaviors", 400),
        ("InvalidArgument", 400),
        ("NoSuchDistribution", 404),
    ],
)
def test_other_errors_are_permanent_and_readable(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    with pytest.raises(PermanentError) as caught:
        refuse(make_service(monkeypatch), code, status)

    assert isinstance(caught.value, aws.Refused)
    assert caught.value.code == code
    assert str(caught.value) == f"cloudfront: cloudfront get_distribution: in words ({code})"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("InvalidClientTokenId", 403),
        ("SignatureDoesNotMatch", 403),
        ("OptInRequired", 403),
        ("AccessDeniedException", 400),
        ("UnrecognizedClientException", 400),
        ("InvalidSignatureException", 400),
    ],
)
def test_refused_credentials_are_unauthorized(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    with pytest.raises(Unauthorized, match=code):
        refuse(make_service(monkeypatch), code, status)


def test_retry_after_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RetryableError) as caught:
        refuse(make_service(monkeypatch), "Throttling", 400, **{"retry-after": "9"})

    assert caught.value.retry_after == 9


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "PriorRequestNotComplete"])
def test_a_throttled_call_waits_too_long_for_a_retry_in_place(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    with pytest.raises(RetryableError) as caught:
        refuse(make_service(monkeypatch), code, 400)

    assert caught.value.retry_after is not None
    assert caught.value.retry_after > RetryPolicy().quick_ceiling


def test_another_temporary_error_has_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RetryableError) as caught:
        refuse(make_service(monkeypatch), "InternalError", 500)

    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("code", "status", "scope"),
    [
        ("Throttling", 400, Scope.PROVIDER),
        ("InternalError", 500, Scope.PROVIDER),
        ("ExpiredToken", 403, Scope.PROVIDER),
        ("PreconditionFailed", 412, Scope.SERVICE),
        ("TooManyInvalidationsInProgress", 400, Scope.SERVICE),
        ("PriorRequestNotComplete", 400, Scope.SERVICE),
    ],
)
def test_a_conflict_has_service_scope_and_a_throttle_provider_scope(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int, scope: Scope
) -> None:
    with pytest.raises(RetryableError) as caught:
        refuse(make_service(monkeypatch), code, status)
    assert caught.value.scope is scope


def test_a_throttle_that_names_an_object_has_service_scope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = make_service(monkeypatch)
    with Stubber(service._client) as stub, pytest.raises(RetryableError) as caught:
        stub.add_client_error("get_distribution", "Throttling", "Rate exceeded for E123ABC", 429)
        service.call("get_distribution", Id="E123ABC")
    assert caught.value.scope is Scope.SERVICE


@pytest.mark.parametrize("answer", ["hang", "refuse"])
def test_botocore_retries_throttled_calls_but_not_timeouts(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    calls = []
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            calls.append(self.path)
            if answer == "hang":
                over.wait(10)
                return
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    monkeypatch.setattr(aws, "_READ_TIMEOUT", 0.3)
    monkeypatch.setattr(aws, "_PAUSE", 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        service = make_service(monkeypatch, endpoint_url=url, attempts=3)
        with pytest.raises(RetryableError) as caught:
            service.call("get_distribution", Id="E1")
        over.set()
        server.shutdown()
        thread.join()
    assert isinstance(caught.value, TimedOut) == (answer == "hang")
    assert caught.value.scope is Scope.PROVIDER
    assert len(calls) == (1 if answer == "hang" else 3)


def test_a_missing_answer_is_retryable_and_shows_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = make_service(monkeypatch, endpoint_url="http://127.0.0.1:9/secret")

    with pytest.raises(RetryableError, match="got no answer: EndpointConnectionError") as caught:
        service.call("get_distribution", Id="E1")
    with pytest.raises(RetryableError):
        list(service.pages("list_distributions"))

    assert "127.0.0.1" not in str(caught.value)
    assert service.answers("list_distributions") is False


def test_parameters_outside_the_model_are_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="Missing required parameter"):
        make_service(monkeypatch).call("get_distribution")


def test_a_programming_error_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttributeError):
        make_service(monkeypatch).call("no_such_operation")


@pytest.mark.parametrize("lacking", ["access_key_id", "secret_access_key"])
def test_an_incomplete_key_is_refused(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    options: dict[str, Any] = {lacking: None}
    with pytest.raises(ConfigError, match="go together"):
        make_service(monkeypatch, **options)


def test_calls_have_short_timeouts_and_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_service(monkeypatch)._client.meta.config

    assert settings.connect_timeout <= 5
    assert settings.read_timeout <= 20
    assert settings.retries["total_max_attempts"] <= 3


class _Amazon(http.server.BaseHTTPRequestHandler):
    """A server with one distribution, E1. It never answers requests for E2."""

    def do_GET(self) -> None:
        self.close_connection = True
        if "E2" in self.path:
            return
        good = "E1" in self.path
        body = "<Distribution/>" if good else "<Error><Code>NoSuchDistribution</Code></Error>"
        text = f"<ErrorResponse>{body}</ErrorResponse>" if not good else body
        self.send_response(200 if good else 404)
        self.send_header("x-amzn-RequestId", "request-1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_calls_are_traced(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Amazon) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        service = make_service(monkeypatch, endpoint_url=url)
        with tracing.span("call", parent={}):
            service.call("get_distribution", Id="E1")
            with pytest.raises(RetryableError):
                service.call("get_distribution", Id="E2")
            with pytest.raises(PermanentError):
                service.call("get_distribution", Id="E3")
            with tracing.span("after"):
                pass
        server.shutdown()
        thread.join()
    *calls, after, outer = spans.all()
    assert {call.name for call in calls} == {"CloudFront.GetDistribution"}
    assert {it.parent.span_id for it in (*calls, after)} == {outer.context.span_id}
    good, lost, missing = (dict(call.attributes) for call in calls)
    assert good == {
        "rpc.system": "aws-api",
        "rpc.service": "CloudFront",
        "rpc.method": "GetDistribution",
        "url.full": f"{url}/2020-05-31/distribution/E1",
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
        "http.response.status_code": 200,
        "aws.request_id": "request-1",
    }
    assert lost["error.type"] == "ConnectionClosedError"
    assert (missing["error.type"], missing["http.response.status_code"]) == (
        "NoSuchDistribution",
        404,
    )
