# SPDX-License-Identifier: Apache-2.0
"""Awkward requests, nodes and origins through the whole stack: server, worker, agent and node."""

import contextlib
import http.client
import itertools
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from poppy.testing.edge.origin import Origins, Reply, body_of
from poppy.testing.edge.wire import OriginServer
from tests.integration.test_edge_end_to_end import join, ready
from tests.real.edge_node import EdgeNode
from tests.real.edge_plane import Names
from tests.real.poppy import Installation, wait

pytestmark = pytest.mark.real

#: Seconds for a step, on a machine that runs other tests too.
LONG = 60.0
MEGABYTE = 1024 * 1024
BIG = 40 * MEGABYTE
#: Megabytes of the cache, and bytes of the largest object.
CACHE, LARGEST = 32, 12 * MEGABYTE
NET = "127.77.9"
DUAL, DEAD = "dual.example.net", "dead.example.net"
ADDRESSES: Mapping[str, tuple[str, ...]] = {
    DUAL: (f"{NET}.1", "::1"),
    DEAD: (f"{NET}.3", f"{NET}.4"),
}
TOKENS = (f"t{number}x" for number in itertools.count(1))
HOST = "ng.example.com"
DOCUMENT: dict[str, Any] = {
    "origins": [{"origin": f"{NET}.1"}],
    "caching": [
        {"name": "d", "ttl": 3600},
        {"name": "n", "ttl": 0, "rules": [{"name": "n", "request_url": "/pub"}]},
    ],
    "restrictions": [
        {
            "name": "x",
            "access": "blacklist",
            "rules": [{"name": "ip", "client_ip": "127.0.0.0/8", "request_url": "/secret/*"}],
        }
    ],
}


class Stack(NamedTuple):
    poppy: Installation
    node: EdgeNode
    origins: Origins

    def deploy(self, domain: str, **document: Any) -> str:
        url = self.poppy.create_service(domain, **document)
        self.poppy.wait_for(url, "deployed", LONG)
        return url

    def path(self, reply: Reply) -> tuple[str, str]:
        """Return a path that the origins answer so, and its token."""
        token = next(TOKENS)
        self.origins.script(token, reply)
        return f"/{token}", token


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    installation = Installation(
        tmp_path_factory.mktemp("poppy"),
        {
            "drivers": {"providers": "edge"},
            "drivers:provider:edge": {
                "edge_name": "edge.example.net",
                "allowed_origins": "127.0.0.0/8, ::1",
            },
        },
    )
    origins = Origins()
    with contextlib.ExitStack() as parts:
        parts.enter_context(OriginServer(origins, "first", f"{NET}.1"))
        names = parts.enter_context(Names("example.net", ADDRESSES))
        node = parts.enter_context(
            EdgeNode(
                nameservers=[names.address],
                allowed_origins=["127.0.0.0/8", "::1/128"],
                cache_size=CACHE,
                max_object_size=LARGEST,
                connect_timeout=0.5,
            )
        )
        parts.enter_context(installation.daemon("poppy-standalone"))
        installation.wait_until_up()
        installation.create_flavor("edge")
        parts.enter_context(join(installation, node, "north-1"))
        wait(lambda: ready(node), LONG)
        yield Stack(installation, node, origins)
    installation.session.close()


@pytest.fixture(scope="module")
def guarded(stack: Stack) -> str:
    """A service that refuses all clients below /secret/; its URL."""
    return stack.deploy(HOST, **DOCUMENT)


@pytest.fixture(scope="module")
def plain(stack: Stack) -> str:
    """A service without rules; its domain."""
    stack.deploy(
        "big.example.com",
        origins=[{"origin": f"{NET}.1"}],
        caching=[{"name": "d", "ttl": 3600}],
    )
    return "big.example.com"


@pytest.fixture(scope="module")
def full(stack: Stack, plain: str) -> None:
    """Fill the cache with small objects."""
    for _ in range(CACHE * 18):
        stack.node.get(plain, stack.path(Reply(size=60_000))[0])


def ask(stack: Stack, target: str, method: str = "GET", host: str = HOST) -> tuple[int, str]:
    """Send a target as it is; return status and X-Cache."""
    with socket.create_connection(stack.node.http, 10) as connection:
        lines = (f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", "", "")
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.getheader("X-Cache") or ""


class TestAbsoluteForm:
    @pytest.mark.parametrize(
        "prefix",
        [
            "",
            f"http://{HOST}",
            f"HTTP://{HOST}",
            f"https://{HOST}",
            f"HtTpS://{HOST}",
            f"ftp://{HOST}",
            f"x-y.z+1://{HOST}",
            f"http://{HOST.upper()}",
        ],
    )
    def test_restrictions_apply(self, stack: Stack, guarded: str, prefix: str) -> None:
        for path in ("/secret/x", "//secret/x", "/%73ecret/x"):
            assert ask(stack, prefix + path)[0] == 403

    @pytest.mark.parametrize(
        "authority",
        [f"{HOST}:80", f"{HOST}:443", f"user@{HOST}", f"user:pw@{HOST}", "other.example.com"],
    )
    @pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
    def test_another_authority_gets_nothing(
        self, stack: Stack, guarded: str, scheme: str, authority: str
    ) -> None:
        status, _ = ask(stack, f"{scheme}://{authority}/secret/x")
        assert status in (400, 403, 404)

    def test_the_ttl_is_that_of_the_path(self, stack: Stack, guarded: str) -> None:
        for scheme in ("https", "ftp", "http"):
            for _ in range(2):
                assert ask(stack, f"{scheme}://{HOST}/pub") == (200, "MISS")

    def test_purges_reach_it(self, stack: Stack, guarded: str) -> None:
        path, token = stack.path(Reply())
        target = f"https://{HOST}{path}"
        assert [ask(stack, target) for _ in "ab"] == [(200, "MISS"), (200, "HIT")]
        assert ask(stack, path) == (200, "HIT")
        purge = f"{guarded}/assets?url=/*"
        wait(lambda: stack.poppy.session.delete(purge, timeout=10).ok, LONG)
        wait(lambda: len(stack.origins.seen(token)) == 2 or not ask(stack, target), LONG)

    @pytest.mark.parametrize("target", ["secret/x", "?/secret/x", "*", "https:/secret/x"])
    def test_other_targets_are_refused(self, stack: Stack, guarded: str, target: str) -> None:
        assert ask(stack, target)[0] == 400


class TestTwoAddresses:
    METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

    def test_every_method_finds_the_address_that_works(self, stack: Stack) -> None:
        caching = [{"name": "n", "ttl": 0}]
        stack.deploy("dual.example.com", origins=[{"origin": DUAL}], caching=caching)
        for method in self.METHODS:
            answers = {ask(stack, "/", method, "dual.example.com")[0] for _ in range(20)}
            assert answers == {200}, method

    def test_both_addresses_die_and_return(self, stack: Stack) -> None:
        caching = [{"name": "n", "ttl": 0}]
        stack.deploy("dead.example.com", origins=[{"origin": DEAD}], caching=caching)
        assert {ask(stack, "/", it, "dead.example.com")[0] for it in self.METHODS} == {503}
        with OriginServer(stack.origins, "second", f"{NET}.4"):
            for method in self.METHODS:
                statuses = {ask(stack, "/", method, "dead.example.com")[0] for _ in range(5)}
                assert statuses == {200}, method


class TestObjectsLargerThanTheCache:
    FORMS = ("length", "chunked", "close")

    @pytest.mark.parametrize("form", FORMS)
    def test_they_are_served_whole(self, stack: Stack, plain: str, form: str) -> None:
        path, token = stack.path(Reply(size=BIG, form=form))
        for _ in range(2):
            response, body = stack.node.get(plain, path)
            assert (response.status, len(body)) == (200, len(body_of(token, 1, BIG)))

    def test_a_smaller_object_of_unknown_size_is_kept_once_it_was_measured(
        self, stack: Stack, plain: str
    ) -> None:
        path, token = stack.path(Reply(size=200_000, form="chunked"))
        found = []
        for _ in range(3):
            found.append(ask(stack, path, host=plain)[1])
            time.sleep(1.3)
        assert found[-1] == "HIT"
        assert len(stack.origins.seen(token)) == 3

    @pytest.mark.parametrize("form", FORMS)
    def test_head(self, stack: Stack, plain: str, form: str) -> None:
        path, _ = stack.path(Reply(size=BIG, form=form))
        for method in ("HEAD", "GET", "HEAD"):
            response, _ = stack.node.get(plain, path, method)
            assert response.status == 200

    def test_a_range(self, stack: Stack, plain: str) -> None:
        path, token = stack.path(Reply(size=BIG, ranges=True))
        for first in (BIG - 10, 0):
            wanted = f"bytes={first}-{first + 9}"
            response, body = stack.node.get(plain, path, "GET", Range=wanted)
            assert (response.status, len(body)) == (206, 10)

    @pytest.mark.parametrize("form", FORMS)
    def test_a_full_cache_makes_room(
        self, stack: Stack, plain: str, full: None, form: str
    ) -> None:
        """Many small objects have to go for a large one (nuke_limit)."""
        path, token = stack.path(Reply(size=LARGEST - 1000, form=form))
        whole = len(body_of(token, 1, LARGEST - 1000))
        assert [len(stack.node.get(plain, path)[1]) for _ in range(3)] == [whole] * 3

    def test_memory_is_bounded(self, stack: Stack, plain: str) -> None:
        """Varnish keeps nothing of an object whose client is slow."""
        path, _ = stack.path(Reply(size=3 * BIG, form="chunked"))
        before = stack.node.memory("varnish")
        with socket.create_connection(stack.node.http, 10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {plain}\r\n\r\n".encode())
            client.recv(1000)
            time.sleep(1)
            assert stack.node.memory("varnish") - before < 8 * MEGABYTE


def test_a_node_that_restarts_serves_all_services(stack: Stack, guarded: str, plain: str) -> None:
    """Its machine loses power; then another service is deployed."""
    for name in ("haproxy", "varnish"):
        stack.node.kill(name)
    for name in ("varnish", "haproxy"):
        stack.node.start(name)
    assert ask(stack, "/secret/x")[0] == 403
    assert ask(stack, "/", host=plain)[0] == 200
    wait(lambda: ready(stack.node), LONG)
    stack.deploy("later.example.com", origins=[{"origin": f"{NET}.1"}])
    assert ask(stack, "/", host="later.example.com")[0] == 200
    assert ask(stack, "/", host=plain)[0] == 200
    health = stack.poppy.session.get(f"{stack.poppy.base}/v1.0/health/provider/edge", timeout=10)
    assert health.json() == {"online": "true"}
