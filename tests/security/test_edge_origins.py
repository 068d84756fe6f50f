# SPDX-License-Identifier: Apache-2.0
"""Requests at a real edge to an origin with one address that refuses connections."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import socket
from typing import Any

import pytest

from poppy.model.specs import Caching, Rule
from poppy.provider.varnish.driver import VarnishProvider
from tests.real.edge import DOMAIN, _as_new, ask, get, node, provider, serve, web
from tests.real.origin import Origin as WebServer
from tests.real.varnish import Varnish

pytestmark = pytest.mark.real
__all__ = ["_as_new", "get", "node", "provider", "serve", "web"]


@pytest.fixture
def half_dead(serve: Any, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(_self: object, _origin: str) -> tuple[str, ...]:
        return (web.address, "::1")  # Nothing listens at the second.

    with socket.socket(socket.AF_INET6) as probe:
        assert probe.connect_ex(("::1", 80)) != 0
    monkeypatch.setattr(VarnishProvider, "_resolve", two)
    serve(caching=(Caching("none", 0, (Rule("all", "/*"),)),))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_requests_go_to_the_address_that_answers(
    half_dead: None, node: Varnish, method: str
) -> None:
    assert [ask(node, "/x", method=method).status for _ in range(10)] == [200] * 10


def test_body_is_sent_again(half_dead: None, node: Varnish, web: WebServer) -> None:
    for _ in range(6):
        head = f"PUT /x HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\nContent-Length: 60000"
        with socket.create_connection(node.http, 10) as connection:
            connection.sendall(f"{head}\r\n\r\n{'x' * 60000}".encode())
            assert connection.recv(20).startswith(b"HTTP/1.1 200")
    assert len(web.fields) == 6
