# SPDX-License-Identifier: Apache-2.0
"""Amazon's refusals as driver errors."""

from typing import Any

import pytest
from botocore.stub import Stubber
from oslo_config import cfg

from poppy.common import aws
from poppy.common.errors import ConfigError, PermanentError, RetryableError, Unauthorized


def make_service(monkeypatch: pytest.MonkeyPatch, **options: str) -> aws.Service:
    # Else botocore waits between its own attempts.
    monkeypatch.setattr(aws, "_ATTEMPTS", 1)
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
def test_what_may_pass_is_retryable(
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
def test_what_will_not_pass_is_permanent_and_readable(
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
def test_a_key_that_is_refused_is_the_operators_to_put_right(
    monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    with pytest.raises(Unauthorized, match=code):
        refuse(make_service(monkeypatch), code, status)


def test_a_wait_that_is_asked_for_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RetryableError) as caught:
        refuse(make_service(monkeypatch), "Throttling", 400, **{"retry-after": "9"})

    assert caught.value.retry_after == 9


def test_no_answer_is_retryable_and_tells_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(monkeypatch, endpoint_url="http://127.0.0.1:9/secret")

    with pytest.raises(RetryableError, match="got no answer: EndpointConnectionError") as caught:
        service.call("get_distribution", Id="E1")
    with pytest.raises(RetryableError):
        list(service.pages("list_distributions"))

    assert "127.0.0.1" not in str(caught.value)
    assert service.answers("list_distributions") is False


def test_what_amazons_model_does_not_allow_is_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="Missing required parameter"):
        make_service(monkeypatch).call("get_distribution")


def test_a_bug_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttributeError):
        make_service(monkeypatch).call("no_such_operation")


@pytest.mark.parametrize("lacking", ["access_key_id", "secret_access_key"])
def test_half_a_key_is_refused(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    options: dict[str, Any] = {lacking: None}
    with pytest.raises(ConfigError, match="go together"):
        make_service(monkeypatch, **options)


def test_calls_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_service(monkeypatch)._client.meta.config

    assert settings.connect_timeout <= 5
    assert settings.read_timeout <= 20
    assert settings.retries["total_max_attempts"] <= 3
