# SPDX-License-Identifier: Apache-2.0
"""A node of the own edge: real HAProxy and Varnish."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import http.client
import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from poppy.edge.errors import Down, Refused
from poppy.edge.plane import clients, prewarming
from poppy.edge.plane.files import Files
from poppy.edge.plane.runtime import HAProxy
from poppy.edge.program import Access, Choice, Clients, Program, Upstream
from poppy.model import headers, paths
from poppy.model.document.caching import CacheKey, CacheOptions
from poppy.model.document.cors import CORS
from poppy.model.document.delivery import Delivery
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule
from poppy.model.document.signed_urls import SignedURLs, SigningKey
from poppy.model.edge import Prewarmed
from poppy.model.purges import Purge
from poppy.model.secrets import Secret
from poppy.provider.patterns import referrer_regex, url_regex
from poppy.testing.edge import Answer, Origins, Reply, Request
from poppy.testing.edge.wire import OriginServer, exchange
from tests.real.edge_fixtures import node, origin, running
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin

pytestmark = pytest.mark.real
__all__ = ["node", "origin", "running"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3.
CORS_ORIGIN = "Access-Control-Allow-Origin"
NEVER = (Choice("/*", 0),)
LARGE = 60 * 1024 * 1024  # Bytes: more than the node's cache of 32 MB.


@pytest.fixture(autouse=True)
def plain(origin: Origin) -> None:
    origin.headers, origin.padding = {}, 0
    origin.requests.clear()


def program(origin: Origin, name: str = "one", **parts: object) -> Program:
    plain = Program(
        service_id=f"service-{name}",
        domains=(f"{name}.example.com",),
        origins=(Upstream(origin.address, 80, False, None),),
        ttls=(Choice("/*", 3600),),
    )
    return replace(plain, **parts)  # type: ignore[arg-type]


def raw(node: EdgeNode, *requests: str) -> bytes:
    """Return all that the node sends until it closes the connection."""
    with socket.create_connection(node.http, 5) as connection:
        for request in requests:
            connection.sendall(request.encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def requests_of(node: EdgeNode, backend: str) -> int:
    """Return the number of requests that HAProxy has sent to a backend."""
    connection = http.client.HTTPConnection(*node.metrics, timeout=20)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    line = f'haproxy_backend_http_requests_total{{proxy="{backend}"}} '
    [found] = [int(it.removeprefix(line)) for it in text.splitlines() if it.startswith(line)]
    return found


def test_nothing_is_served_if_tokens_can_not_be_checked(node: EdgeNode, origin: Origin) -> None:
    key = SigningKey("k1", Secret(text="0123456789abcdef" * 2))
    node.serve(program(origin, signed_urls=SignedURLs((key,))))
    files = Files(node.settings).policies.glob("service-one-*")
    (policy,) = [it for it in files if "signed" in it.read_text()]
    assert policy.stat().st_mode & 0o777 == 0o600
    policy.unlink()

    assert node.get("one.example.com")[0].status == 503


def test_varnish_s_log_has_requests_to_origins_but_not_those_of_clients(
    node: EdgeNode, origin: Origin
) -> None:
    node.serve(program(origin))
    for _ in range(2):
        node.get("one.example.com", "/logged")

    work = ["-n", str(Files(node.settings).varnish_work)]
    command = ["varnishlog", *work, "-d", "-g", "raw", "-i", "ReqURL,BereqURL,Timestamp"]
    log = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    assert [line.split()[1:] for line in log.splitlines() if "/logged" in line] == [
        ["BereqURL", "b", "/logged"]
    ]
    assert "Timestamp" not in log


def test_rules_of_a_service_apply_alike_on_both_ways_through_haproxy(
    node: EdgeNode, origin: Origin
) -> None:
    origin.headers = {"Server": "origin", "X-Frame-Options": "ALLOWALL", "X-Other": "kept"}
    entry = HeaderRules("h", None, None, ResponseChanges({"x-frame-options": "a|b; +?"}))
    gone = HeaderRules("g", None, None, ResponseChanges(remove=("server",)))
    cors = CORS(("https://a.example",), expose_headers=("ETag",))
    ttls = (Choice("/*", 60),)
    parts: dict[str, Any] = {"delivery": Delivery(compression="gzip"), "cors": cors, "ttls": ttls}
    node.serve(program(origin, headers=(entry, gone), **parts))
    # Lua changes the fields of this one.
    lua = replace(entry, rules=(PathRule("all", "/*"),))
    node.serve(program(origin, "two", headers=(lua, gone), **parts))
    node.serve(program(origin, "never", headers=(entry, gone), **(parts | {"ttls": NEVER})))

    def seen(host: str, **fields: str) -> tuple[int, object]:
        response, _ = node.get(host, "/ruled", Origin="https://a.example", **fields)
        named = ("Server", "X-Frame-Options", "X-Other", "Vary", "X-Cache")
        shown = {name: response.headers.get_all(name) for name in (*named, CORS_ORIGIN)}
        return response.status, shown

    before = requests_of(node, "cache_ruled")
    miss, hit = seen("one.example.com"), seen("one.example.com")
    unusual = seen("one.example.com", **{"X-Real-IP": "192.0.2.1"})
    assert [seen("two.example.com"), seen("two.example.com")] == [miss, hit]
    direct = seen("never.example.com")

    assert requests_of(node, "cache_ruled") == before + 5
    assert unusual == hit
    assert direct == miss
    assert hit[1] == {
        "Server": None,
        "X-Frame-Options": ["a|b; +?"],
        "X-Other": ["kept"],
        "Vary": ["Origin"],
        "X-Cache": ["HIT"],
        CORS_ORIGIN: ["https://a.example"],
    }


@pytest.mark.parametrize("name", ["Authorization", "cookie"])
def test_a_response_to_credentials_of_the_service_is_not_kept(
    node: EdgeNode, origin: Origin, name: str
) -> None:
    entry = HeaderRules("h", None, RequestChanges({name: "a=b"}))
    node.serve(program(origin, headers=(entry,)))

    for _ in range(2):
        assert node.get("one.example.com", "/own")[0].headers["X-Cache"] == "MISS"
    assert origin.requests["one.example.com", "/own"] == 2


class TestChanges:
    def test_a_change_replaces_hosts_origins_and_rules(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.serve(program(origin, domains=("a.example.com", "b.example.com")))
        assert node.get("a.example.com")[0].status == 200

        with Origin("other") as other:
            node.serve(
                program(
                    other,
                    domains=("b.example.com", "c.example.com"),
                    routes=(Choice("/other/*", 0),),
                    ttls=(Choice("/other/*", 0), Choice("/*", 3600)),
                )
            )

            assert node.get("a.example.com")[0].status == 404
            assert node.get("b.example.com", "/new")[1].startswith(b"other ")
            assert node.get("c.example.com", "/other/x")[1].startswith(b"other ")
            assert node.get("c.example.com", "/other/x")[0].headers["X-Cache"] == "MISS"

    def test_a_repeated_change_changes_nothing(
        self, node: EdgeNode, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = program(origin, ttls=(Choice("/a*", 60),), delivery=Delivery(compression="gzip"))
        node.serve(wanted)
        # HAProxy 2.6 compares all keys of a map to set one.
        with monkeypatch.context() as patch:
            patch.delattr(HAProxy, "put")
            for _ in range(2):
                node.serve(wanted)
        node.plane.withdraw("service-one")
        node.plane.withdraw("service-one")

        assert node.get("one.example.com")[0].status == 404

    def test_a_host_belongs_to_the_last_service_that_got_it(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        with Origin("second") as second:
            node.serve(program(origin))
            node.serve(program(second, "two", domains=("one.example.com",)))
            assert node.get("one.example.com", "/x")[1].startswith(b"second ")

            node.plane.withdraw("service-one")
            assert node.get("one.example.com", "/y")[1].startswith(b"second ")

    def test_a_withdrawn_service_s_objects_are_gone(self, node: EdgeNode, origin: Origin) -> None:
        node.serve(program(origin))
        node.get("one.example.com", "/x")
        node.plane.withdraw("service-one")
        node.serve(program(origin))

        assert node.get("one.example.com", "/x")[0].headers["X-Cache"] == "MISS"

    def test_loading_serves_exactly_the_given_programs(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.serve(program(origin, "old"))
        many = [
            program(origin, f"n{number}", ttls=(Choice(f"/{number}*", 9),))
            for number in range(700)
        ]

        assert not node.plane.load(many)

        assert node.get("old.example.com")[0].status == 404
        assert node.get("n0.example.com")[0].status == 200
        assert node.get("n699.example.com")[0].status == 200
        node.plane.withdraw("service-n5")
        assert node.get("n5.example.com")[0].status == 404

    def test_requests_during_changes_all_succeed(self, node: EdgeNode, origin: Origin) -> None:
        steady = program(origin)
        node.serve(steady)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            node.serve(replace(steady, ttls=(Choice(f"/{time.monotonic()}*", 9),)))
            assert node.get("one.example.com", "/x")[0].status == 200
            node.plane.load([steady, program(origin, "two")])
            assert node.get("one.example.com", "/x")[0].status == 200


class TestPoison:
    @pytest.mark.parametrize(
        "parts",
        [
            {"restrictions": (Access("whitelist", "geography", (Clients("/*", ("DE",)),)),)},
            {"restrictions": (Access("whitelist", "referrer", (Clients("/*", ("a\nb",)),)),)},
            {"domains": ("x y\nz service-two",)},
            {"domains": ("one.example.com", "#.example.com")},
            {"origins": (Upstream("a b", 80, False, None),)},
            {"origins": (Upstream("a.example", 80, False, "x|y\r\n"),)},
            {"origins": ()},
            {"ttls": (Choice("/a b\nttl 5s /*", 1),)},
            {"ttls": (Choice("/x" * 3000, 1),)},
            {"ttls": (Choice("/" + "*a" * 2000, 1),) * 3},
            {"routes": (Choice("/*", 7),)},
            {"service_id": "../../etc/passwd"},
        ],
        ids=lambda parts: next(iter(parts)),
    )
    def test_a_program_with_poison_is_refused_alone(
        self, node: EdgeNode, origin: Origin, parts: dict[str, object]
    ) -> None:
        good, bad = program(origin), program(origin, "bad", **parts)
        node.plane.apply(good)

        with pytest.raises(Refused):
            node.plane.apply(bad)
        assert node.get("one.example.com")[0].status == 200
        assert list(node.plane.load([bad, good])) == [bad.service_id]
        assert node.get("one.example.com")[0].status == 200

    def test_a_refused_program_leaves_the_previous_one(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.plane.apply(program(origin))
        with pytest.raises(Refused, match="geography"):
            node.plane.apply(
                program(
                    origin,
                    restrictions=(Access("blacklist", "geography", (Clients("/*", ("DE",)),)),),
                )
            )

        assert node.get("one.example.com")[0].status == 200

    def test_patterns_of_all_kinds_end_in_time(self, node: EdgeNode, origin: Origin) -> None:
        stars = "/" + "*a" * 49
        globs = tuple(Choice(f"{stars}{n}", 1) for n in range(100))
        exact = tuple(Choice(f"/{n}", 1) for n in range(9000))
        node.serve(program(origin, ttls=(*globs, *exact)))
        node.get("one.example.com", "/first")

        started = time.monotonic()
        for _ in range(10):
            assert node.get("one.example.com", "/" + "a" * 4000)[0].status == 200
        assert time.monotonic() - started < 3


class TestPatterns:
    def test_patterns_match_as_at_the_other_edges(self, node: EdgeNode, origin: Origin) -> None:
        chance = random.Random(7)
        texts = ["/a", "/", "*", "b", "a", "%62", "//", "%2F", "%2a", "?", "q", "%C3%A9"]

        def some(pieces: Sequence[str]) -> str:
            return "".join(chance.choice(pieces) for _ in range(chance.randint(1, 5)))

        patterns = sorted({paths.canonical(some(texts)) for _ in range(40)})
        urls = sorted({f"/{some([it for it in texts if it != '*'])}" for _ in range(40)})
        for number, pattern in enumerate(patterns):
            rule = Clients(pattern, ("127.0.0.0/8",))
            access = (Access("blacklist", "client_ip", (rule,)),)
            node.serve(program(origin, f"p{number}", restrictions=access))

        seen = 0
        for number, pattern in enumerate(patterns):
            for url in urls:
                # In url_regex, a wildcard may also stand for a part of a run of slashes.
                one_slash = re.sub("(?:/|%2F)+", "/", url)
                matches = re.search(url_regex(pattern), one_slash) is not None
                response, _ = node.get(f"p{number}.example.com", url)
                assert response.status == (403 if matches else 200), (pattern, url)
                seen += matches
        assert seen > 50

    def test_the_first_pattern_that_matches_decides(self, node: EdgeNode, origin: Origin) -> None:
        with Origin("second") as second:
            origins = tuple(Upstream(it.address, 80, False, None) for it in (origin, second))
            orders = (["/a/b", "/a/*", "*.css"], ["*.css", "/a/*", "/a/b", "/*"])
            for number, order in enumerate(orders):
                routes = tuple(
                    Choice(paths.canonical(pattern), place % 2)
                    for place, pattern in enumerate(order)
                )
                name = f"order{number}"
                node.serve(program(origin, name, origins=origins, routes=routes))
                for url in ("/a/b", "/a/b.css", "/b.css", "/a/c", "/a/", "/c", "/a/b?x.css"):
                    first = next((r for r in routes if re.search(url_regex(r.pattern), url)), None)
                    expected = b"second " if first and first.value else b"origin "
                    _, body = node.get(f"{name}.example.com", url)
                    assert body.startswith(expected), (order, url)

    @pytest.mark.parametrize(
        ("network", "client", "refused"),
        [
            ("127.1.0.0/16", "127.1.255.1", True),
            ("127.1.0.0/16", "127.2.0.1", False),
            ("127.1.2.3/32", "127.1.2.3", True),
            ("127.1.2.0/23", "127.1.3.255", True),
            ("127.1.2.0/23", "127.1.4.0", False),
            ("0.0.0.0/0", "127.1.2.3", True),
            ("::/0", "127.1.2.3", False),
        ],
    )
    def test_networks(
        self, node: EdgeNode, origin: Origin, network: str, client: str, refused: bool
    ) -> None:
        rules = (Clients("/*", ("203.0.113.0/24", network, "2001:db8::/32")),)
        node.serve(program(origin, restrictions=(Access("blacklist", "client_ip", rules),)))

        answer = exchange(node.http, Request("one.example.com", "/", client=client))

        assert answer.status == (403 if refused else 200)

    @pytest.mark.parametrize(
        ("referrer", "refused"),
        [
            ("http://evil.example", True),
            ("https://EVIL.example./x", True),
            ("http://a.evil.example:80?x", True),
            ("http://me:x@evil.example/", True),
            ("http://host9", True),
            ("http://evil.example:8x/", False),
            ("http://evil.example\\@good.example/", False),
            ("http://a@b@evil.example/", False),
            ("http://xevil.example/", False),
            ("ftp://evil.example/", False),
            ("evil.example", False),
        ],
    )
    def test_referrers(self, node: EdgeNode, origin: Origin, referrer: str, refused: bool) -> None:
        rules = (Clients("/*", ("evil.example", "host9")),)
        node.serve(program(origin, restrictions=(Access("blacklist", "referrer", rules),)))

        response, _ = node.get("one.example.com", "/", Referer=referrer)

        assert (
            bool(re.search(referrer_regex("evil.example"), referrer)) == refused or "9" in referrer
        )
        assert response.status == (403 if refused else 200)


class TestTargets:
    def ask(self, node: EdgeNode, target: str, method: str = "GET", host: str = "") -> int:
        host = host or "one.example.com"
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        return int(raw(node, head).split(b" ", 2)[1])

    @pytest.fixture(autouse=True)
    def service(self, node: EdgeNode, origin: Origin) -> None:
        rule = Clients("/secret/*", ("127.0.0.0/8",))
        node.serve(program(origin, restrictions=(Access("blacklist", "client_ip", (rule,)),)))

    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("/public", 200),
            ("http://one.example.com/public", 200),
            ("HTTPS://ONE.example.com/public", 200),
            ("http://one.example.com", 200),
            ("http://other.example.com/public", 400),
            ("https://one.example.com/secret/x", 403),
            ("ftp://one.example.com/secret/x", 403),
            ("secret/x", 400),
            ("*", 400),
            ("/a%5Cb", 400),
            ("/a%00", 400),
            ("/a%zz", 400),
            ("/a/../b", 400),
            ("/a/..;x/secret/x", 400),
            ("/a/..%3Bx/secret/x", 400),
            ("/a/%2e%2E", 400),
            ("/a?../%zz", 200),
            ("/" + "x" * 4095, 200),
            ("/" + "x" * 4096, 414),
        ],
    )
    def test_targets(self, node: EdgeNode, target: str, status: int) -> None:
        assert self.ask(node, target) == status

    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("ONE.example.com", 200),
            ("one.example.com.", 200),
            ("one.example.com:8080", 200),
            ("one.example.com.:80", 200),
            ("two.example.com", 404),
            ("one..example.com", 404),
            ("one.example.com/x", 400),
            ("[::1]", 404),
            ("-x", 400),
            ("a b", 400),
        ],
    )
    def test_hosts(self, node: EdgeNode, host: str, status: int) -> None:
        assert self.ask(node, "/public", host=host) == status

    @pytest.mark.parametrize(
        ("method", "status"),
        [("OPTIONS", 200), ("PURGE", 405), ("TRACE", 405), ("CONNECT", 400), ("get", 405)],
    )
    def test_methods(self, node: EdgeNode, method: str, status: int) -> None:
        assert self.ask(node, "/public", method) == status

    def test_a_target_in_absolute_form_shares_the_cached_object(self, node: EdgeNode) -> None:
        assert self.ask(node, "/public") == 200
        head = "GET http://one.example.com/public HTTP/1.1\r\nHost: one.example.com\r\n"
        assert b"\r\nx-cache: HIT\r\n" in raw(node, f"{head}Connection: close\r\n\r\n")

    def test_nothing_after_an_ambiguous_request_is_answered(self, node: EdgeNode) -> None:
        bad = "GET /a%00 HTTP/1.1\r\nHost: one.example.com\r\n\r\n"
        good = "GET /public HTTP/1.1\r\nHost: one.example.com\r\n\r\n"

        assert raw(node, bad + good).count(b"HTTP/1.1 ") == 1

    def test_a_loop_is_detected(self, node: EdgeNode) -> None:
        for value, status in (("poppy", 508), ("other, Poppy; a=b", 508), ("poppy2", 200)):
            response, _ = node.get("one.example.com", "/public", **{"CDN-Loop": value})
            assert response.status == status

    def test_internal_fields_do_not_come_from_clients_or_reach_anybody(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        origin.headers = {"x-p-ttl": "9s", "xkey": "service-two", "X-HashTwo": "service-two"}
        forged = {"x-p-command": "ban", "x-p-ban": "obj.status != 0", "x-p-origin": "127.0.0.1:1"}
        for target in ("/public", "/public", "/forged"):
            response, _ = node.get("one.example.com", target, **forged)
            assert response.status == 200
            assert not [name for name in response.headers if name.lower().startswith("x-p-")]
            assert "xkey" not in response.headers
        assert origin.requests["one.example.com", "/public"] == 1
        assert not [name for name, _ in origin.fields[-1] if name.lower().startswith("x-p-")]
        node.plane.purge("service-two", Purge(None, True))
        assert node.get("one.example.com", "/public")[0].headers["X-Cache"] == "HIT"

    @pytest.mark.parametrize("name", [*headers.OVERRIDES, *headers.FORWARDED])
    def test_fields_that_clients_must_not_send_are_removed(
        self, node: EdgeNode, origin: Origin, name: str
    ) -> None:
        for spelling in (name, name.upper(), *headers.respellings(name)[-1:]):
            node.get("one.example.com", f"/{spelling}", **{spelling: "forged"})
            assert "forged" not in dict(origin.fields[-1]).values()

    def test_connection_does_not_remove_internal_fields(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        names = ["service", "origin", "for", "final"]
        fields = {"Connection": ", ".join(f"x-p-{name}" for name in names)}

        response, _ = node.get("one.example.com", "/listed", **fields)

        assert response.status == 200
        assert ("X-Forwarded-For", "127.0.0.1") in [
            (name.title(), value) for name, value in origin.fields[-1]
        ]
        node.plane.purge("service-one", Purge("/listed", True))
        assert node.get("one.example.com", "/listed")[0].headers["X-Cache"] == "MISS"

    def test_only_websockets_may_change_the_protocol(self, node: EdgeNode, origin: Origin) -> None:
        for protocol, passed in (("h2c", None), ("websocket", "websocket")):
            fields = {"Upgrade": protocol, "Connection": "Upgrade", "Sec-WebSocket-Key": KEY}
            assert node.get("one.example.com", "/public", **fields)[0].status == 200
            found = {name.lower(): value for name, value in origin.fields[-1]}
            assert found.get("upgrade") == passed


class TestShortCut:
    @pytest.fixture
    def thorough(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeNode]:
        """A node for which no request is plain."""
        monkeypatch.setattr(clients, "PLAIN", "^$")
        with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
            yield node

    def test_requests_that_skip_rules_are_answered_as_if_they_did_not(
        self, node: EdgeNode, thorough: EdgeNode, origin: Origin
    ) -> None:
        rule = Clients("/private/*", ("127.0.0.0/8",))
        access = (Access("blacklist", "client_ip", (rule,)),)
        for each in (node, thorough):
            each.serve(program(origin, ttls=(Choice("/*", 3600),)))
            each.serve(program(origin, "two", restrictions=access))
            each.serve(program(origin, "three", ttls=(Choice("/*", 0),)))
        requests = [
            *(("GET", "/a", "", host) for host in HOSTS),
            *(("GET", target, "", host) for target in TARGETS for host in HOSTS[:3]),
            *((method, "/a", "", "one.example.com") for method in ("HEAD", "POST", "PURGE")),
            *(("GET", f"/{field}"[:4], field, host) for field in FIELDS for host in HOSTS[:3]),
        ]
        seen = set()

        for method, target, field, host in requests:
            head = f"{method} {target} HTTP/1.1\r\n{field}Host: {host}\r\n"
            answers = []
            for each in (node, thorough):
                before = len(origin.fields)
                received = raw(each, f"{head}Connection: close\r\n\r\n")
                cache = re.search(rb"x-cache: (\w+)", received)
                sent = [
                    sorted((k.lower(), v) for k, v in it if k.lower() != "x-varnish")
                    for it in origin.fields[before:]
                ]
                answers.append((received.split(b"\r\n")[0], cache and cache[1], sent))
            assert answers[0] == answers[1], head
            seen.add(answers[0][:2])
        assert {(b"HTTP/1.1 200 OK", b"HIT"), (b"HTTP/1.1 403 Forbidden", None)} < seen


TARGETS = ["/a?q", "/private/b", "//private/b", "/private/../b", "/a%00", "*", "http://x/a"]
HOSTS = ["one.example.com", "two.example.com", "three.example.com", "ONE.example.com"]
HOSTS += ["one.example.com:80", "one.example.com.", "four.example.com", "a_b", "a b"]
FIELDS = [
    "Authorization: Basic YTpi\r\n",
    "CDN-Loop: poppy\r\n",
    "Connection: x-p-service, x-p-origin\r\n",
    "Content-Length: 0\r\n",
    "Cookie: a=b\r\n",
    "Forwarded: host=x\r\n",
    "Proxy: x\r\n",
    "Range: bytes=0-1,3-4\r\n",
    "X-Forwarded-For: 192.0.2.1\r\n",
    "X-P-Origin: 127.0.0.1:1\r\n",
    "X-P-Service: service-two\r\n",
    "x_forwarded-host: x\r\n",
]


class TestPrewarm:
    def test_the_first_client_gets_it_from_the_cache(self, node: EdgeNode, origin: Origin) -> None:
        node.serve(program(origin, domains=("one.example.com", "one.example.org")))
        paths = [f"/{number}?q" for number in range(20)]

        node.plane.prewarm("service-one", 7, [*paths, "/../x"])

        state = _prewarmed(node)
        assert (state.revision, state.reason) == (
            7,
            "2 of 42 failed: one.example.com/../x: 400; one.example.org/../x: 400",
        )
        for path in paths:
            for host in ("one.example.com", "one.example.org"):
                assert node.get(host, path)[0].headers["X-Cache"] == "HIT"

    def test_the_time_is_limited_and_other_services_take_turns(
        self, node: EdgeNode, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node.serve(program(origin))
        node.serve(program(origin, "two"))
        monkeypatch.setattr(prewarming, "LONGEST", 1.0)
        monkeypatch.setattr(origin, "delay", 0.1)
        node.plane.prewarm("service-one", 1, [f"/slow/{number}" for number in range(50)])
        monkeypatch.setattr(prewarming, "LONGEST", 20.0)
        node.plane.prewarm("service-two", 2, ["/a"])

        assert _prewarmed(node, "service-two").reason == ""
        assert not node.plane.prewarmed()["service-one"].done
        assert "not in time" in _prewarmed(node).reason

    def test_an_unknown_service_is_done_at_once(self, node: EdgeNode) -> None:
        node.plane.prewarm("service-none", 3, ["/a"])
        assert _prewarmed(node, "service-none") == (3, True, "")


def _prewarmed(node: EdgeNode, service_id: str = "service-one") -> Prewarmed:
    until = time.monotonic() + 20
    while not (state := node.plane.prewarmed()[service_id]).done:
        assert time.monotonic() < until
        time.sleep(0.02)
    return state


BELOW_A = {"/a/b", "/a/b?q", "//a/%62", "/a;x/b", "/a/c.css"}


class TestPurges:
    @pytest.mark.parametrize(
        ("url", "gone"),
        [
            ("/a/b", {"/a/b", "/a/b?q", "//a/%62", "/a;x/b"}),
            ("/a/b?q", {"/a/b?q"}),
            ("/a/*", BELOW_A),
            ("*.css", {"/a/c.css"}),
            ("/*b?q*", {"/a/b?q"}),
            ("/%C3%A9*", {"/%c3%a9/x"}),
            ("/c%2A", {"/c*"}),
            ("/*", None),
            (None, None),
        ],
    )
    def test_a_purge_covers_all_spellings_and_nothing_else(
        self, node: EdgeNode, origin: Origin, url: str | None, gone: set[str] | None
    ) -> None:
        node.serve(program(origin))
        node.serve(program(origin, "two"))
        targets = {*BELOW_A, "/ab", "/%c3%a9/x", "/c*", "/x?%zz"}

        def missing(host: str) -> set[str]:
            return {t for t in targets if node.get(host, t)[0].headers["X-Cache"] == "MISS"}

        assert missing("one.example.com") == missing("two.example.com") == targets

        node.plane.purge("service-one", Purge(url, True))

        assert missing("one.example.com") == (targets if gone is None else gone)
        assert not missing("two.example.com")

    def test_tags_are_bounded_and_stay_within_the_service(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.serve(program(origin))
        node.serve(program(origin, "two"))
        odd = f"{'x' * 800},a\\1 service-two,service-two#b,%2c"
        numbers = ",".join(f"n{number:03}" for number in range(200))
        long = f"{','.join(['y' * 200] * 30)},late"
        origin.headers = {"Cache-Tag": f",{odd} , {numbers}"}
        assert node.get("one.example.com", "/t")[0].status == 200
        origin.headers = {"Cache-Tag": long}
        assert node.get("one.example.com", "/long")[0].status == 200
        origin.headers = {"Cache-Tag": "b", "Surrogate-Key": "b"}
        assert node.get("two.example.com", "/t")[0].status == 200

        def gone(*tags: str) -> list[str]:
            """Purge tags of the first service; return what has to be fetched again."""
            node.plane.purge("service-one", Purge(None, True, tags=tags))
            asked = [("one", "/t"), ("one", "/long"), ("two", "/t")]
            found = []
            for host, path in asked:
                origin.headers = {"Cache-Tag": numbers if path == "/t" else long}
                if node.get(f"{host}.example.com", path)[0].headers["X-Cache"] == "MISS":
                    found.append(host + path)
            return found

        assert gone("b", "service-two", "service-two#c", "n199", "late", "x" * 256) == ["one/t"]
        assert gone("n128", "n199", "late") == []
        assert gone("n127") == ["one/t"]
        assert gone("y" * 200) == ["one/long"]

    def test_a_flush_covers_all_services(self, node: EdgeNode, origin: Origin) -> None:
        for name in ("one", "two"):
            node.serve(program(origin, name))
            node.get(f"{name}.example.com", "/x")

        node.plane.flush()

        for name in ("one", "two"):
            assert node.get(f"{name}.example.com", "/x")[0].headers["X-Cache"] == "MISS"


def keyed(**key: tuple[str, ...]) -> tuple[CacheOptions, ...]:
    return (CacheOptions(key=CacheKey(**key)),)  # type: ignore[arg-type]


class TestCacheKeys:
    def fetches(self, node: EdgeNode, origin: Origin, target: str, *values: str) -> list[int]:
        """Return how many requests for ``/page`` the origin has got after each value."""
        found = []
        for value in values:
            node.get("one.example.com", target, **({"X-Lang": value} if value else {}))
            found.append(origin.requests["one.example.com", "/page"])
        return found

    def test_another_spelling_of_a_field_makes_a_difference(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.serve(program(origin, caching=keyed(headers=("x-lang",))))
        for fields in ({}, {"X_Lang": "a"}, {"X-Lang": "a"}, {"X-Lang": "", "X_Lang": "a"}):
            for cache in ("MISS", "HIT"):
                response, _ = node.get("one.example.com", "/spelled", **fields)
                assert response.headers["X-Cache"] == cache

    @pytest.mark.parametrize("ttl", [None, 60])
    def test_pages_of_errors_have_the_key_of_their_path(
        self, node: EdgeNode, origin: Origin, ttl: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pages = (ErrorPage("e", (404,), "/page", ttl),)
        page = Choice("/page", 60)
        node.serve(
            program(origin, ttls=(page,), caching=keyed(headers=("x-lang",)), error_pages=pages)
        )
        monkeypatch.setattr(origin, "status", 404)
        assert self.fetches(node, origin, "/missing", "a", "b", "a", "") == [1, 2, 2, 3]

    @pytest.mark.parametrize("cookie", ["lang = a; {}x", "lang=a{}x", "{}=; b={}; lang=a"])
    def test_long_cookies_are_read_in_linear_time(
        self, node: EdgeNode, origin: Origin, cookie: str
    ) -> None:
        key = SigningKey("k1", Secret(text="0123456789abcdef" * 2))
        signed = SignedURLs((key,), (PathRule("p", "/private/*"),))
        node.serve(program(origin, caching=keyed(cookies=("lang",)), signed_urls=signed))
        spaces = " " * (50000 // cookie.count("{}"))
        before = node.cpu_seconds("haproxy")
        response, _ = node.get("one.example.com", "/", Cookie=cookie.replace("{}", spaces))
        assert response.status == 200
        assert node.cpu_seconds("haproxy") - before < 1
        assert origin.cookies[-1].startswith("lang=a")

    def test_the_longest_keys_work(self, node: EdgeNode, origin: Origin) -> None:
        names = tuple(f"{digit}{'|' * 63}" for digit in range(10))
        query = {"only": [f"{number:064}" for number in range(50)]}
        key = CacheKey(query, headers=names, cookies=names)
        pages = (ErrorPage("e", tuple(range(500, 530)), "/page"),)
        node.serve(program(origin, caching=(CacheOptions(key=key),), error_pages=pages))
        cookies = "; ".join(f"{name}=1" for name in names)
        for order, cache in ((1, "MISS"), (-1, "HIT")):
            cookie = "; ".join(cookies.split("; ")[::order])
            response, _ = node.get(
                "one.example.com", "/long?x", Cookie=cookie, **dict.fromkeys(names, "1")
            )
            assert (response.status, response.headers["X-Cache"]) == (200, cache)
        assert origin.cookies[-1] == cookies


class TestResponsesThatVarnishDoesNotUnderstand:
    def test_a_response_after_early_hints_is_cached(self, node: EdgeNode, hinting: str) -> None:
        node.serve(program(Origin(address=hinting), "hints"))

        answers = [exchange(node.http, Request("hints.example.com", "/t1x")) for _ in range(3)]

        assert [answer.status for answer in answers] == [200] * 3
        assert [answer.fields["x-cache"] for answer in answers] == ["MISS", "HIT", "HIT"]

    @pytest.fixture
    def hinting(self, origin: Origin) -> Iterator[str]:
        address = origin.address.removesuffix(".1") + ".2"
        script = Origins()
        script.script("t1x", Reply(form="hints"))
        with OriginServer(script, "hints", address):
            yield address

    def test_a_response_with_too_wide_fields_comes_from_the_origin(
        self, node: EdgeNode, origin: Origin
    ) -> None:
        node.serve(program(origin))
        origin.headers = {f"X-Field-{number}": "x" * 770 for number in range(90)}

        for _ in range(2):
            response, body = node.get("one.example.com", "/wide")
            assert response.status == 200
            assert response.headers["X-Field-89"]
            assert body.startswith(b"origin ")


class TestObjectsLargerThanTheCache:
    @pytest.mark.parametrize("ttl", [3600, 0])
    def test_they_are_whole_each_time(self, node: EdgeNode, origin: Origin, ttl: int) -> None:
        node.serve(program(origin, ttls=(Choice("/*", ttl),)))
        node.get("one.example.com", "/small")
        origin.padding = LARGE
        for _ in range(3):
            _, body = node.get("one.example.com", "/big")
            assert len(body) > LARGE

        _, part = node.get("one.example.com", "/big", "HEAD")
        assert not part
        if ttl:
            assert node.get("one.example.com", "/small")[0].headers["X-Cache"] == "HIT"

    def test_a_slow_client_takes_no_memory(self, node: EdgeNode, origin: Origin) -> None:
        node.serve(program(origin))
        origin.padding = LARGE
        before = node.memory("varnish") + node.memory("haproxy")
        clients = [socket.create_connection(node.http, 10) for _ in range(3)]
        try:
            for client in clients:
                client.sendall(b"GET /slow HTTP/1.1\r\nHost: one.example.com\r\n\r\n")
                assert client.recv(1000)
            time.sleep(1)
            after = node.memory("varnish") + node.memory("haproxy")
        finally:
            for client in clients:
                client.close()

        assert after - before < 20 * 1024 * 1024


class TestProxies:
    """A node behind load balancers, that ignores cookies."""

    PROXY = "127.99.0.1"

    @pytest.fixture(scope="class")
    @classmethod
    def behind(cls, origin: Origin) -> Iterator[EdgeNode]:
        with EdgeNode(
            allowed_origins=["127.0.0.0/8"],
            trusted_proxies=[f"{cls.PROXY}/32"],
            client_ip_header="X-Real-IP",
            cookies="strip",
        ) as node:
            rule = Clients("/private/*", ("192.0.2.0/24",))
            access = (Access("blacklist", "client_ip", (rule,)),)
            ttls = (Choice("/none/*", 0), Choice("/*", 3600))
            node.serve(program(origin, restrictions=access, ttls=ttls))
            yield node

    def ask(self, node: EdgeNode, target: str, client: str, **fields: str) -> Answer:
        request = Request("one.example.com", target, "GET", fields, client)
        return exchange(node.http, request)

    def test_cookies_of_the_cache_key_are_not_ignored(
        self, behind: EdgeNode, origin: Origin
    ) -> None:
        behind.serve(program(origin, "keyed", caching=keyed(cookies=("lang",))))
        for cookie, cache in (("lang=a; b=1", "MISS"), ("lang=b", "MISS"), ("lang=a", "HIT")):
            response, _ = behind.get("keyed.example.com", "/cookies", Cookie=cookie)
            assert response.headers["X-Cache"] == cache
        assert origin.cookies[-2:] == ["lang=a", "lang=b"]

    def test_only_a_proxy_says_who_the_client_is(self, behind: EdgeNode) -> None:
        fields = {"X-Real-IP": "192.0.2.7"}

        assert self.ask(behind, "/private/x", self.PROXY, **fields).status == 403
        assert self.ask(behind, "/private/x", self.PROXY).status == 200
        assert self.ask(behind, "/private/x", "127.0.0.1", **fields).status == 200

    @pytest.mark.parametrize(
        ("name", "from_proxy"),
        [
            ("X-Forwarded-Host", True),
            ("X_Forwarded-Host", False),
            ("X-Original-URL", False),
            ("X_Original_URL", False),
        ],
    )
    def test_a_proxy_s_fields_are_passed_on_in_their_own_spelling(
        self, behind: EdgeNode, origin: Origin, name: str, from_proxy: bool
    ) -> None:
        for client, passed in ((self.PROXY, from_proxy), ("127.0.0.1", False)):
            self.ask(behind, f"/none/{name}", client, **{name: "other.example"})
            found = {key.lower() for key, _ in origin.fields[-1]}
            assert (name.lower() in found) == passed

    def test_a_proxy_s_fields_are_part_of_the_cache_key(self, behind: EdgeNode) -> None:
        def ask(host: str, client: str = self.PROXY) -> str:
            return self.ask(behind, "/key", client, **{"X-Forwarded-Host": host}).fields["x-cache"]

        assert [ask("a"), ask("b"), ask("a")] == ["MISS", "MISS", "HIT"]
        assert [ask("a", "127.0.0.1"), ask("b", "127.0.0.1")] == ["MISS", "HIT"]

    def test_cookies_are_removed_on_cached_paths_only(
        self, behind: EdgeNode, origin: Origin
    ) -> None:
        for target, caches in (("/cookie", ["MISS", "HIT"]), ("/none/cookie", ["MISS", "MISS"])):
            answers = [self.ask(behind, target, "127.0.0.1", Cookie=f"a={n}") for n in (1, 2)]
            assert [answer.fields["x-cache"] for answer in answers] == caches
        assert origin.cookies[-2:] == ["a=1", "a=2"]


class TestRestarts:
    @pytest.fixture
    def fresh(self) -> Iterator[EdgeNode]:
        with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
            yield node

    def test_a_killed_process_serves_again_from_the_state(
        self, fresh: EdgeNode, origin: Origin
    ) -> None:
        rule = Clients("/private/*", ("127.0.0.0/8",))
        fresh.serve(program(origin))
        fresh.serve(
            program(origin, "two", restrictions=(Access("blacklist", "client_ip", (rule,)),))
        )
        for process in ("haproxy", "varnish"):
            before = fresh.plane.started()[process]
            time.sleep(1)
            fresh.kill(process)
            assert process not in fresh.plane.started()
            fresh.start(process)

            assert fresh.plane.started()[process] > before
            assert fresh.get("one.example.com")[0].status == 200
            assert fresh.get("two.example.com", "/private/x")[0].status == 403

    def test_while_varnish_is_away_requests_go_to_the_origin(
        self, fresh: EdgeNode, origin: Origin
    ) -> None:
        fresh.serve(program(origin))
        fresh.kill("varnish")

        response, _ = fresh.get("one.example.com", "/x")
        assert (response.status, response.headers["X-Cache"]) == (200, "MISS")
        with pytest.raises(Down):
            fresh.plane.purge("service-one", Purge(None, True))
        fresh.start("varnish")
        assert fresh.get("one.example.com", "/x")[0].headers["X-Cache"] == "MISS"
        assert fresh.get("one.example.com", "/x")[0].headers["X-Cache"] == "HIT"

    def test_while_haproxy_is_away_the_plane_says_so(
        self, fresh: EdgeNode, origin: Origin
    ) -> None:
        fresh.kill("haproxy")

        with pytest.raises(Down):
            fresh.plane.apply(program(origin))
        fresh.state.put(1, program(origin))
        fresh.start("haproxy")
        assert fresh.get("one.example.com")[0].status == 200
        # It has the entries already.
        fresh.plane.apply(program(origin))
        fresh.plane.withdraw("service-one")
        assert fresh.get("one.example.com")[0].status == 404

    def test_a_withdrawal_that_did_not_reach_varnish_can_be_repeated(
        self, fresh: EdgeNode, origin: Origin
    ) -> None:
        fresh.serve(program(origin))
        fresh.get("one.example.com", "/x")
        fresh.suspend("varnish")
        with pytest.raises(Down):
            fresh.plane.withdraw("service-one")
        fresh.resume("varnish")
        fresh.plane.withdraw("service-one")
        fresh.serve(program(origin))

        assert fresh.get("one.example.com", "/x")[0].headers["X-Cache"] == "MISS"

    def test_the_health_page_says_what_the_agent_says(self, fresh: EdgeNode) -> None:
        def page(path: str) -> tuple[int, bytes]:
            with socket.create_connection(fresh.metrics, 5) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                received = b""
                while part := connection.recv(65536):
                    received += part
            return int(received.split(b" ", 2)[1]), received

        assert page("/ready")[0] == 503
        fresh.plane.set_ready(True)
        assert page("/ready")[0] == 200
        fresh.plane.set_ready(False)
        assert page("/ready")[0] == 503
        assert b"haproxy_frontend_http_requests_total" in page("/metrics")[1]
        assert page("/")[0] == 404
