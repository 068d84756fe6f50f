# SPDX-License-Identifier: Apache-2.0
"""A hostile client varies the spelling of requests at a real edge in front of a real nginx.

Content that a rule forbids is never served. TTLs and purges apply to every spelling of a path.
"""

import random
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import (
    Caching,
    Origin,
    Restriction,
    Rule,
)
from poppy.testing.builders import make_service, make_spec
from tests.real.edge import Edge as Services
from tests.real.edge_node import EdgeNode
from tests.real.nginx import Nginx

pytestmark = pytest.mark.real

HOST = "ng.example.com"
FRIEND = {"Referer": "http://friend.example.org/"}
PAGES = {
    "/": "the index",
    "/secret/x": "FORBIDDEN",
    "/secret/deep/er/page": "FORBIDDEN",
    "/hidden": "FORBIDDEN",
    "/other/hidden": "an open page",
    "/live/page": "live",
    "/page": "a page",
}
CACHING = (
    Caching("default", 3600, (Rule("all", "/*"),)),
    Caching("none", 0, (Rule("live", "/live/*"),)),
)
FORBIDDEN = (
    Restriction(
        "friends",
        "whitelist",
        (
            Rule("tree", request_url="/secret/*", referrer="friend.example.org"),
            Rule("page", request_url="/hidden", referrer="friend.example.org"),
        ),
    ),
)


class Reply(NamedTuple):
    status: int
    cache: str | None
    body: str


class Edge:
    """A node with one service; its origin is an nginx."""

    def __init__(self, node: EdgeNode, services: Services, service: Service) -> None:
        self.node, self.services, self.service = node, services, service

    def send(self, request: bytes) -> list[Reply]:
        """Send bytes on one connection; return all responses."""
        with socket.create_connection(self.node.http, 20) as connection:
            connection.sendall(request)
            data = b""
            while part := connection.recv(65536):
                data += part
        starts = [found.start() for found in re.finditer(rb"HTTP/1\.[01] \d{3}", data)]
        ends = [*starts[1:], len(data)]
        return [_reply(data[start:end]) for start, end in zip(starts, ends, strict=True)]

    def ask(self, target: str, method: str = "GET", host: str = HOST, **headers: str) -> Reply:
        """Send one request with the given parts unchanged; return the response."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        (reply,) = self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return reply

    def purge(self, url: str | None) -> None:
        self.services.purge(self.service, Purge(url, hard=True))


def _reply(data: bytes) -> Reply:
    head, _, body = data.decode("latin-1").partition("\r\n\r\n")
    cache = re.search(r"(?im)^X-Cache: (\w+)", head)
    return Reply(int(head.split()[1]), cache[1] if cache else None, body)


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    address = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}.1"
    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node, Nginx(address, 80, PAGES):
        services = Services(node)
        spec = make_spec(
            [HOST], origins=(Origin(address),), caching=CACHING, restrictions=FORBIDDEN
        )
        service = make_service(spec=spec)
        services.ensure(service)
        yield Edge(node, services, service)


SCHEMES = ("http", "https", "HTTPS", "HtTp", "ws", "wss", "ftp", "FTP", "gopher", "x-y.z+1")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rules_apply_to_absolute_targets(edge: Edge, scheme: str) -> None:
    def ask(path: str, **headers: str) -> Reply:
        return edge.ask(f"{scheme}://{HOST}{path}", **headers)

    assert ask("/secret/x").status == 403
    assert ask("/hidden?q").status == 403
    assert ask("/secret/x", **FRIEND).status == 200
    assert ask("/secret/x").status == 403, "not from the cache either"
    assert [ask("/live/page").cache for _ in range(3)].count("HIT") == 0


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
def test_purge_applies_to_absolute_targets(edge: Edge, scheme: str) -> None:
    target = f"{scheme}://{HOST}/page"
    edge.ask(target)
    assert edge.ask(target).cache == edge.ask("/page").cache == "HIT"
    edge.purge("/page")
    assert edge.ask(target).cache == "MISS"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"https://{HOST}", 200),
        (f"HTTPS://{HOST}?q", 400),
        (f"https://{HOST}:443/page", 200),
        ("https://other.example.com/secret/x", 400),
        (f"https://user@{HOST}/secret/x", 403),
        (f"https://{HOST}%2Fsecret/x", 400),
        (f"https://{HOST}\\/secret/x", 400),
        (f"https:///{HOST}/secret/x", 404),
        (f"https:/{HOST}/secret/x", 400),
        ("https://", 200),
        (f"//{HOST}/secret/x", 404),
        ("secret/x", 400),
        ("hidden", 400),
        ("?/secret/x", 400),
        ("#/secret/x", 400),
        ("*", 400),
        ("*/secret/x", 200),
        (f"{HOST}:80", 400),
        ("%2Fsecret/x", 400),
        ("%2fsecret/x", 400),
        (".", 400),
        ("\\secret\\x", 400),
        ("/hidden#", 400),
        ("/hidden#?", 400),
        ("/page?x#/y", 400),
        ("/secret\\x", 400),
        ("/secret%5Cx", 400),
        ("/hidden%00", 400),
        ("/hidden%0a", 400),
        ("/hidden%", 400),
        ("/hidden%2", 400),
        ("/%zz/../hidden", 400),
        ("/page/../hidden", 400),
        ("/page/..;/hidden", 400),
        ("/page/.;x=1/hidden", 400),
        ("/%2e/hidden", 400),
        ("/other/%2E%2e/hidden", 400),
        ("/other/..%2Fhidden", 400),
        ("/other%2f..%2fhidden", 400),
        ("//hidden", 403),
        ("/%2Fhidden", 403),
        ("/%68idde%6E", 403),
        ("/hidden;jsessionid=1", 403),
        ("/hidden;a=b?q", 403),
        ("/secret;a=b/x", 403),
        ("/secret;a%2Fx", 403),
        ("/secret;a=b;c//x", 403),
        ("/secret/", 403),
        ("/secret//deep///er%2fpage", 403),
        ("/other/hidden", 200),
        ("/page?../hidden", 200),
        ("/page?a=%0A%", 200),
        ("/page?a=b\\c", 200),
        ("/.well-known/x", 404),
        ("/..page/...", 404),
    ],
)
def test_target_is_unambiguous_or_refused(edge: Edge, target: str, status: int) -> None:
    assert edge.ask(target).status == status


def test_asterisk_form_is_for_options_only(edge: Edge) -> None:
    # nginx refuses it too, so the test distinguishes the two refusals.
    assert "nginx" in edge.ask("*", method="OPTIONS").body
    assert "nginx" in edge.ask(f"https://{HOST}", method="OPTIONS").body
    assert "nginx" not in edge.ask("*", method="POST").body


@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}:80", f"{HOST}.", f"{HOST}.:8080"])
def test_spellings_of_a_host_are_equivalent(edge: Edge, host: str) -> None:
    edge.ask("/page")
    assert edge.ask("/page", host=host).cache == "HIT"
    assert edge.ask("/hidden", host=host).status == 403


@pytest.mark.parametrize(
    "host",
    ["", " ", f"{HOST}/", f"{HOST}#x", f"x@{HOST}", f"{HOST}:80:80", f"{HOST}, b.example.com"]
    + [f"{HOST}\x7f", f"[{HOST}]", "*"],
)
def test_invalid_host_is_refused(edge: Edge, host: str) -> None:
    assert edge.ask("/hidden", host=host).status == 400


@pytest.mark.parametrize(
    "head",
    [
        "GET /hidden HTTP/1.1\r\n",
        f"GET /hidden HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n",
        f"GET /hidden HTTP/1.1\r\nHost : {HOST}\r\n",
        f"GET /hidden HTTP/1.1\r\nHost: {HOST}\r\n continued\r\n",
        f"GET /page\t/hidden HTTP/1.1\r\nHost: {HOST}\r\n",
        f"GET /page /hidden HTTP/1.1\r\nHost: {HOST}\r\n",
        f"POST /page HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n",
        f"POST /page HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
        f"POST /page HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: xchunked\r\n",
        f"POST /page HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +4\r\n",
    ],
)
def test_malformed_request_gets_400_and_the_connection_is_closed(edge: Edge, head: str) -> None:
    hidden = f"GET /secret/x HTTP/1.1\r\nHost: {HOST}\r\nReferer: {FRIEND['Referer']}\r\n\r\n"
    replies = edge.send(f"{head}\r\n0\r\n\r\n{hidden}".encode())
    assert replies[-1].status in (400, 405), "and the connection is closed"
    assert "FORBIDDEN" not in str(replies)


@pytest.mark.parametrize(
    "method", ["get", "Get", "PURGE", "BAN", "TRACE", "CONNECT", "FASTLYPURGE"]
)
def test_unknown_methods_are_refused(edge: Edge, method: str) -> None:
    assert edge.ask("/page", method=method).status in (400, 405)


# --- The properties. -------------------------------------------------------------------------

_BETWEEN = st.sampled_from(
    ["/"] * 60
    + ["//", "///", "%2F", "%2f", "/%2F", "/./", "/x/../", "/%2e/", "/x/%2E%2e/", "/x/..%2f"]
    + [";/", ";a=b/", "/;/", "/..;/", "\\", "%5c", "/%00/", "/\t/"]
)
_FORMS = st.sampled_from(
    [""] * 12
    + [f"{scheme}://{HOST}" for scheme in SCHEMES]
    + [f"https://{HOST.upper()}:80", f"//{HOST}", "/.", "*", "?", "#", "%", "x", f"{HOST}:80"]
)
_TAILS = st.sampled_from(
    [""] * 4
    + [
        "?",
        "?q=1",
        "#",
        "#f",
        "?q#f",
        ";",
        ";p=1",
        "%00",
        "%",
        "%0d%0a",
        "%20",
        ".",
        "/",
        "/.",
        "/..",
    ]
    + ["%23", "%3F", "%3b", "\\", "%2500", "?/../page"]
)
_METHODS = st.sampled_from(["GET"] * 12 + ["HEAD", "POST", "OPTIONS", "get", "PURGE", "DELETE"])
_HOSTS = st.sampled_from([HOST] * 12 + [HOST.upper(), f"{HOST}:80", f"{HOST}.", f"x@{HOST}", ""])
_FIELDS = st.sampled_from(
    [{}] * 12
    + [{"X_Original_URL": "/secret/x"}, {"X_Rewrite_URL": "/hidden"}]
    + [{"X_HTTP_Method_Override": "GET"}, {"Range": "bytes=0-3"}, {"X_Forwarded_For": "::1"}]
    + [{"x_poppy_meant": "1"}, {"If_None_Match": "x"}, {"Content_Length": "0"}]
)


@st.composite
def spelled(draw: st.DrawFn, paths: tuple[str, ...]) -> str:
    """Draw a target that some server might take for one of the paths."""
    path = draw(st.sampled_from(paths))
    text = ""
    for character in path.removeprefix("/"):
        if character == "/":
            text += draw(_BETWEEN)
        elif draw(st.integers(0, 15)):
            text += character
        else:
            text += draw(st.sampled_from(["%{:02x}", "%{:02X}", "%25{:02x}"])).format(
                ord(character)
            )
    form = draw(_FORMS)
    slash = draw(_BETWEEN) if form in ("", "/.") or "//" in form else ""
    return form + slash + text + draw(_TAILS)


_SETTINGS = settings(
    max_examples=400,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_SETTINGS
@given(
    target=spelled(("/secret/x", "/secret/deep/er/page", "/hidden")),
    method=_METHODS,
    host=_HOSTS,
    fields=_FIELDS,
)
def test_forbidden_content_is_never_served(
    edge: Edge, target: str, method: str, host: str, fields: dict[str, str]
) -> None:
    # A permitted client's request has put the content into the cache under this spelling.
    edge.ask(target, host=host, **FRIEND)

    reply = edge.ask(target, method, host, **fields)

    assert "FORB" not in reply.body  # A range request returns only this part.


@_SETTINGS
@given(target=spelled(("/live/page",)), host=_HOSTS)
def test_ttl_applies_to_every_spelling(edge: Edge, target: str, host: str) -> None:
    replies = [edge.ask(target, host=host) for _ in range(2)]
    assert [r for r in replies if r.body == "live" and r.cache == "HIT"] == []


@_SETTINGS
@given(target=spelled(("/page",)), host=_HOSTS)
def test_purge_applies_to_every_spelling(edge: Edge, target: str, host: str) -> None:
    before = edge.ask(target, host=host)
    edge.purge("/page")
    after = edge.ask(target, host=host)
    assert before.body == after.body
    assert after.body != PAGES["/page"] or after.cache == "MISS"


def test_equivalent_spellings_are_served_to_permitted_clients(edge: Edge) -> None:
    """The properties above would also hold for an edge that refuses everything."""
    for target in ("/secret/x", "//secret/%78", f"https://{HOST}/secret%2Fx?q", "/%73ecret/x?"):
        assert edge.ask(target, **FRIEND)[::2] == (200, "FORBIDDEN"), target
    for target in ("/live/page", "/live//page", "/%6Cive%2fpage?q"):
        assert edge.ask(target).body == "live", target
