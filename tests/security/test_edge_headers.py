# SPDX-License-Identifier: Apache-2.0
"""A hostile client sends header fields that origins trust, at a real edge.

The edge removes them, so no client can influence the responses that others get.
"""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import socket
from typing import Any

import pytest

from poppy.model import headers
from poppy.model.specs import Origin
from poppy.testing.builders import make_service, make_spec
from tests.real.edge import Edge, edge, get, node, running, serve, web
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin as WebServer
from tests.real.visits import DOMAIN, ask

pytestmark = pytest.mark.real
__all__ = ["edge", "get", "node", "running", "serve", "web"]

FORGED = "forged.example.org"


def sent(web: WebServer) -> dict[str, str]:
    """Return the fields of the only request at the origin, by lower-case name."""
    (fields,) = web.fields
    return {name.lower(): value for name, value in fields}


def send(node: EdgeNode, path: str, *lines: str) -> bytes:
    """Send a request with the given header lines unchanged; return the whole response."""
    head = [f"GET {path} HTTP/1.1", f"Host: {DOMAIN}", "Connection: close", *lines, "", ""]
    with socket.create_connection(node.http, 10) as connection:
        connection.sendall("\r\n".join(head).encode())
        data = b""
        while part := connection.recv(65536):
            data += part
    return data


def test_untrusted_fields_do_not_reach_the_origin(
    serve: Any, node: EdgeNode, web: WebServer
) -> None:
    serve()
    names = [*headers.UNTRUSTED, *(n.upper() for n in headers.UNTRUSTED)]
    batches = [names[start : start + 25] for start in range(0, len(names), 25)]
    for number, batch in enumerate(batches):
        send(node, f"/{number}", *(f"{name}: {FORGED}" for name in batch))

    assert len(web.fields) == len(batches)
    assert FORGED not in str(web.fields)


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-HTTP-Method-Override", "X-Original-URL"])
def test_fields_with_underscores_are_removed_too(
    serve: Any, node: EdgeNode, web: WebServer, name: str
) -> None:
    serve()
    send(node, "/", *(f"{other}: {FORGED}" for other in headers.respellings(name)))

    assert FORGED not in str(web.fields)


def test_repeated_field_is_removed_completely(serve: Any, node: EdgeNode, web: WebServer) -> None:
    serve()
    send(node, "/", f"X-Forwarded-Host: {FORGED}", f"x-forwarded-host: {FORGED}")

    assert "x-forwarded-host" not in sent(web)


def test_origin_gets_the_connecting_address(serve: Any, get: Any, web: WebServer) -> None:
    serve()
    get("/", X_Forwarded_For="192.0.2.1")

    assert sent(web)["x-forwarded-for"] == "127.0.0.1"


def test_poppy_fields_of_clients_do_not_reach_the_origin(
    serve: Any, get: Any, web: WebServer
) -> None:
    serve()
    forged = {f"x-p-{name}": "1" for name in ("service", "origin", "ttl", "tls", "final")}
    get("/", **forged)

    assert [name for name in sent(web) if name.startswith("x-p-")] == []


def test_fields_of_trusted_proxies_pass_and_are_in_the_cache_key(web: WebServer) -> None:
    with EdgeNode(allowed_origins=["127.0.0.0/8"], trusted_proxies=["127.0.0.0/8"]) as node:
        Edge(node).ensure(make_service(spec=make_spec([DOMAIN], origins=(Origin(web.address),))))
        web.fields.clear()

        def get(path: str, **fields: str) -> str | None:
            return ask(node, path, **fields).cache

        first = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "one"}
        assert get("/", **first, X_Original_URL="/other") == "MISS"
        seen = sent(web)
        assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("https", "one")
        assert "x-original-url" not in seen, "the rules were checked against the request line"
        assert get("/", X_Forwarded_Proto="http", X_Forwarded_Host="one") == "MISS"
        assert get("/", X_Forwarded_Proto="https", X_Forwarded_Host="two") == "MISS"
        assert get("/", **first) == "HIT"
        # The client's address is never part of the cache key.
        assert get("/a", Forwarded="for=192.0.2.1;proto=https") == "MISS"
        assert get("/a", Forwarded='for="[2001:db8::1]:80";proto=https') == "HIT"
        assert get("/a", Forwarded="for=192.0.2.1;proto=http") == "MISS"


def test_fields_of_other_proxies_are_removed(serve: Any, get: Any, web: WebServer) -> None:
    serve()

    get("/", X_Forwarded_Proto="https", Forwarded="host=evil", X_Real_IP="192.0.2.1")

    seen = sent(web)
    assert seen["x-forwarded-proto"] == "http", "it is the edge's own"
    assert not {"forwarded", "x-real-ip"} & seen.keys()


def test_response_to_a_get_with_a_body_is_not_cached(
    serve: Any, node: EdgeNode, get: Any, web: WebServer
) -> None:
    serve()
    send(node, "/fat", "Content-Length: 0")
    assert get("/fat").cache == "HIT"
    for line in ("Content-Length: 5", "Transfer-Encoding: chunked"):
        body = "5\r\nhello\r\n0\r\n\r\n" if "chunked" in line else "hello"
        head = f"GET /body HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n{line}\r\n\r\n"
        with socket.create_connection(node.http, 10) as connection:
            connection.sendall((head + body).encode())
            while connection.recv(65536):
                pass
    assert get("/body").cache == "MISS"


def test_range_and_conditions_of_a_client_do_not_affect_others(
    serve: Any, node: EdgeNode, get: Any, web: WebServer
) -> None:
    serve()
    get("/range", Range="bytes=0-1", If_None_Match='"first"', If_Modified_Since="x")

    assert not {"range", "if-none-match", "if-modified-since"} & sent(web).keys()
    assert (get("/range").status, get("/range").cache) == (200, "HIT")
    assert get("/range").body.startswith("origin")


def test_vary_is_part_of_the_cache_key(serve: Any, get: Any, web: WebServer) -> None:
    web.headers["Vary"] = "Accept-Language"
    serve()
    assert [get("/", Accept_Language=tag).cache for tag in ("de", "fr", "de")] == [
        "MISS",
        "MISS",
        "HIT",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_method_override_fields_are_removed(
    serve: Any, node: EdgeNode, web: WebServer, method: str
) -> None:
    serve()
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        ask(node, f"/{name}", method=method, **{name: "DELETE"})

    assert "DELETE" not in str(web.fields)
