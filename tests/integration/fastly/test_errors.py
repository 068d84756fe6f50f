# SPDX-License-Identifier: Apache-2.0
"""Refusals and temporary errors of Fastly, with messages that show no secrets."""

import http.server
import logging
import threading
from dataclasses import replace

import pytest

from poppy.common.errors import (
    ConfigError,
    DriverError,
    PermanentError,
    RetryableError,
    Unauthorized,
)
from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import (
    Caching,
    Domain,
    Origin,
    Restriction,
    Rule,
    ServiceSpec,
)
from poppy.provider.fastly.driver import FastlyProvider
from poppy.testing.builders import make_service, make_spec
from tests.integration.fastly.conftest import make_provider
from tests.real.fastly import LOST_REQUEST, TOKEN, Fastly
from tests.unit.provider.fastly.services import HTTP, assert_serves, whole_service


def test_a_token_is_required(fastly: Fastly) -> None:
    with pytest.raises(ConfigError, match=r"\[drivers:provider:fastly\] token"):
        make_provider(fastly, token=None)


def test_a_refused_token_is_not_shown(fastly: Fastly, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    provider = make_provider(fastly, token=f"wrong-{TOKEN}")

    with pytest.raises(Unauthorized, match="401: Provided credentials") as caught:
        provider.ensure(make_service(), None)

    assert TOKEN not in str(caught.value) + caplog.text
    assert provider.health() is False


def test_a_lost_connection_shows_no_token(
    fastly: Fastly, provider: FastlyProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fastly.fault = lambda _: LOST_REQUEST

    with pytest.raises(RetryableError) as caught:
        provider.ensure(make_service(), None)

    assert TOKEN not in str(caught.value) + caplog.text
    assert provider.health() is False


def test_a_domain_of_another_customer_is_refused_with_an_explanation(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    provider.ensure(service, None)
    fastly.account.taken.add("taken.example.com")
    domains = (*service.spec.domains, Domain("taken.example.com"))

    with pytest.raises(
        PermanentError, match=r"^Domain taken\.example\.com belongs to another customer of Fastly"
    ):
        provider.ensure(replace(service, spec=replace(service.spec, domains=domains)), None)

    assert_serves(fastly, service)


def test_a_domain_of_another_service_of_the_account_is_refused(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    first = whole_service()
    provider.ensure(first, None)

    with pytest.raises(PermanentError, match=f"'{HTTP}' is already in use by service"):
        provider.ensure(whole_service(), None)

    assert_serves(fastly, first)


def test_too_many_origins_for_the_account_are_refused(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    provider.ensure(service, None)
    fastly.account.max_backends = 2
    more = Origin("third.example.com", rules=(Rule("third", "/third/*"),))
    spec = replace(service.spec, origins=(*service.spec.origins, more))

    with pytest.raises(PermanentError, match="refuses the service: Exceeding max number of back"):
        provider.ensure(replace(service, spec=spec), None)

    assert_serves(fastly, service)


def test_a_valid_document_is_served_after_a_refusal(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    service = whole_service()
    fastly.account.max_backends = 1
    with pytest.raises(PermanentError):
        provider.ensure(service, None)
    plain = replace(service, spec=make_spec(domains=[HTTP]))

    provider.ensure(plain, None)

    assert_serves(fastly, plain)


def refused_spec(**parts: object) -> Service:
    return make_service(spec=make_spec(**parts))


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (refused_spec(origins=(Origin("192.0.2.7", 443, True),)), "192.0.2.7 with TLS needs"),
        (
            refused_spec(
                restrictions=(
                    Restriction("r", "whitelist", (Rule("g", geography="Nowhereland"),)),
                )
            ),
            "'g': there is no country or continent 'Nowhereland'",
        ),
    ],
)
def test_check_refuses_unsupported_documents(
    fastly: Fastly, provider: FastlyProvider, service: Service, message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        provider.check(service.spec)
    with pytest.raises(PermanentError, match=message):
        provider.ensure(service, None)
    assert fastly.seen == []


def many_origins(number: int) -> ServiceSpec:
    """Return a document with as many origins."""
    others = (Origin(f"o{n}.example.com", rules=(Rule("r", f"/{n}/*"),)) for n in range(1, number))
    return make_spec(domains=[HTTP], origins=(Origin("o.example.com"), *others))


@pytest.mark.parametrize("limit", [1, 5, 9])
def test_more_origins_than_the_limit_are_refused(fastly: Fastly, limit: int) -> None:
    provider = make_provider(fastly, max_backends=limit)
    message = f"^There are {limit + 1} origins, but Fastly allows {limit} in a service$"

    provider.check(many_origins(limit))
    with pytest.raises(PermanentError, match=message):
        provider.check(many_origins(limit + 1))

    fastly.account.max_backends = limit
    provider.ensure(make_service(spec=many_origins(limit)), None)


def test_a_raised_quota_applies_to_existing_services(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    fastly.account.max_backends = 9
    service = make_service(spec=many_origins(9))

    # Only documents are refused: a stored service was accepted under another limit.
    provider.ensure(service, None)

    assert_serves(fastly, service)


def test_rules_that_are_too_long_for_a_snippet_are_refused(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    paths = tuple(Rule(str(n), f"/{n}{'a' * 400}") for n in range(250))
    spec = make_spec(domains=[HTTP], caching=(Caching("c", 5, paths),))

    with pytest.raises(
        PermanentError, match=r"'poppy request' has 1\d{6} bytes of VCL, .* 1000000"
    ):
        provider.check(spec)
    with pytest.raises(PermanentError, match="content of a snippet is too long"):
        provider.ensure(make_service(spec=spec), None)


def test_check_accepts_supported_documents(fastly: Fastly, provider: FastlyProvider) -> None:
    caching = (Caching("none", 0, (Rule("all", "/*"),)),)
    provider.check(whole_service().spec)
    provider.check(make_spec(caching=caching, origins=(Origin("2001:db8::7"),)))
    assert fastly.seen == []


def test_a_purge_of_a_pattern_is_refused_before_fastly_is_asked(
    fastly: Fastly, provider: FastlyProvider
) -> None:
    with pytest.raises(PermanentError, match=r"can't purge /\*\.jpg"):
        provider.purge(make_service(), None, Purge("/*.jpg", True))
    assert fastly.seen == []


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        body = self.server.body  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, b"<html>Service Unavailable", RetryableError),
        (500, b'{"msg":"Internal"}', RetryableError),
        (200, b"<html>of something in between", RetryableError),
        (200, b"[1, 2]", RetryableError),
        (403, b'{"msg":"You are not authorized to perform this action"}', Unauthorized),
        (400, b'["odd"]', PermanentError),
        (400, b'{"errors":[{"title":"A","detail":"B"},{"title":"C"}]}', PermanentError),
    ],
)
def test_invalid_responses(
    fastly: Fastly, status: int, body: bytes, error: type[DriverError]
) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Page)
    server.status, server.body = status, body  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        provider = make_provider(fastly, api_url=f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(error) as caught:
            provider.ensure(make_service(), None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    if b"errors" in body:
        assert str(caught.value).endswith("A: B; C")
    if status == 403:
        assert "not authorized" in str(caught.value)
