# SPDX-License-Identifier: Apache-2.0
"""The origin side of the operator's own edge, on a real HAProxy and a real name server."""

import contextlib
import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from poppy.edge.options import Settings
from tests.real.edge_origins import (
    OK,
    Authority,
    Origin,
    OriginSide,
    Request,
    make_settings,
    sends,
)
from tests.real.knot import Knot
from tests.real.nameserver import SUFFIX, free_port

pytestmark = pytest.mark.real

_METHODS = ("GET", "HEAD", "OPTIONS", "DELETE", "PUT", "POST", "PATCH")
_ERROR = "text/plain; charset=utf-8"
_NUMBERS = itertools.count(1)
_HOLD = 1.1  # Seconds after which a name is resolved again.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def nameserver() -> Iterator[Knot]:
    with Knot() as running:
        yield running


@pytest.fixture(scope="module")
def settings(nameserver: Knot, authority: Authority) -> Settings:
    refuses = f"127.0.0.1:{free_port()}"
    return make_settings(
        nameservers=[refuses, nameserver.address],
        origin_ca_file=str(authority.file),
        allowed_origins=["127.1.0.0/16", "::1/128"],
        refused_origins=["127.1.66.0/24"],
    )


@pytest.fixture(scope="module")
def edge(settings: Settings) -> Iterator[OriginSide]:
    with OriginSide(settings) as running:
        yield running


Names = Callable[..., str]


@pytest.fixture
def name(nameserver: Knot) -> Names:
    """Return a function that gives a name these addresses only, and returns it."""
    unique = next(_NUMBERS)

    def make(*values: str, label: str = "origin") -> str:
        full = f"{label}-{unique}.{SUFFIX}"
        changes: list[tuple[str, ...]] = [(f"{full}.", kind) for kind in ("A", "AAAA", "CNAME")]
        for value in values:
            kind = "AAAA" if ":" in value else "A" if value[0].isdigit() else "CNAME"
            changes.append((f"{full}.", kind, value))
        nameserver.change(SUFFIX, *changes)
        return full

    return make


@contextlib.contextmanager
def blackhole(address: str) -> Iterator[int]:
    """Listen at an address so that connections are never made, and yield the port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((address, 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


def _first_line(edge: OriginSide, origin: Origin) -> bytes:
    with edge.connect() as client, client.makefile("rb") as stream:
        client.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nx-p-origin: {origin.at}\r\n\r\n".encode())
        return stream.readline().strip()


def _upgrades(connection: socket.socket, _request: Request) -> bool:
    """Switch to a protocol in capital letters."""
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    connection.sendall(connection.recv(100).upper())
    return False


def _check_websocket(edge: OriginSide, origin: Origin, fields: str = "") -> None:
    with edge.connect() as client:
        client.sendall(
            f"GET / HTTP/1.1\r\nHost: a\r\nx-p-origin: {origin.at}\r\n{fields}"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"frame")
        assert client.recv(100) == b"FRAME"


class TestNames:
    def test_a_name_is_resolved_at_each_request(self, edge: OriginSide, name: Names) -> None:
        with Origin() as first, Origin("127.1.0.2", port=first.port) as second:
            at = first.named(name("127.1.0.1"))
            assert edge.ask(at).body == b"ok"
            name("127.1.0.2")
            time.sleep(_HOLD)
            assert edge.ask(at).body == b"ok"
            assert [len(first.requests), len(second.requests)] == [1, 1]

    def test_aliases_are_followed(self, edge: OriginSide, name: Names) -> None:
        name("127.1.0.1", label="c")
        name(name("127.1.0.1", label="c") + ".", label="b")
        alias = name(name("127.1.0.1", label="c") + ".", label="a")
        with Origin() as origin:
            assert edge.ask(origin.named(alias)).status == 200

    def test_addresses_need_no_name_server(self, edge: OriginSide) -> None:
        with Origin() as origin, Origin("::1") as other:
            assert edge.ask(origin.at).status == 200
            assert edge.ask(other.at).status == 200

    def test_a_name_with_ipv6_only(self, edge: OriginSide, name: Names) -> None:
        with Origin("::1") as origin:
            assert edge.ask(origin.named(name("::1"))).status == 200

    @pytest.mark.parametrize("host", ["no-such-name." + SUFFIX, "localhost", "127.1", "1.2.3.4.5"])
    def test_a_host_without_addresses_is_an_error(self, edge: OriginSide, host: str) -> None:
        # The name localhost is in /etc/hosts.
        answer = edge.ask(f"{host}:80")
        assert answer.status == 502
        assert answer.value("content-type") == _ERROR
        assert answer.body == b"Error 502 Bad Gateway\n"
        assert "address=- " in edge.logged(f"{host}:80")

    def test_a_name_of_many_addresses(self, edge: OriginSide, name: Names) -> None:
        # The answer is larger than a message over UDP may be.
        many = name(*(f"127.1.9.{number}" for number in range(1, 200)))
        with Origin("0.0.0.0") as origin:
            assert [edge.ask(origin.named(many)).status for _ in range(3)] == [200] * 3

    def test_a_name_server_that_does_not_answer_delays_one_request(
        self, settings: Settings, nameserver: Knot, name: Names
    ) -> None:
        with blackhole("127.1.0.1") as port, Origin() as origin:
            servers = (f"127.1.0.1:{port}", nameserver.address)
            with OriginSide(replace(settings, nameservers=servers)) as edge:
                for label in ("first", "second", "third"):
                    at = origin.named(name("127.1.0.1", label=label))
                    started = time.monotonic()
                    assert edge.ask(at).status == 200
                    assert (time.monotonic() - started > 0.9) == (label == "first")

    @pytest.mark.parametrize("answer", [b"\0\5words", b"\0\14" + b"\xff" * 12, b"\xff\xff", b""])
    def test_a_name_server_that_answers_nonsense(
        self, settings: Settings, nameserver: Knot, name: Names, answer: bytes
    ) -> None:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        with socket.create_server(("127.0.0.1", 0)) as listener, Origin() as origin:
            threading.Thread(target=serve, daemon=True).start()
            servers = (f"127.0.0.1:{listener.getsockname()[1]}", nameserver.address)
            with OriginSide(replace(settings, nameservers=servers)) as edge:
                assert edge.ask(origin.named(name("127.1.0.1"))).status == 200
                assert f"name server {servers[0]}, asked for" in edge.log()

    def test_service_continues_if_the_name_servers_fail(
        self, settings: Settings, nameserver: Knot, name: Names
    ) -> None:
        with Origin() as origin, OriginSide(settings) as edge:
            at = origin.named(name("127.1.0.1"))
            assert edge.ask(at).status == 200
            nameserver.stop()
            try:
                time.sleep(_HOLD)
                assert edge.ask(at).status == 200
                assert edge.ask("other.example.com:80").status == 502
                assert "DNS failed" in edge.logged("other.example.com:80")
            finally:
                nameserver.start()


class TestRefusedNetworks:
    @pytest.mark.parametrize(
        "address",
        [
            "127.2.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "127.1.66.1",
            "::ffff:127.2.0.1",
            "::ffff:127.1.66.1",
            "64:ff9b::7f02:1",
            "64:ff9b::7f01:4201",
            "2002:7f02:1::1",
            "2001:0:101:101::1",
            "fe80::1",
            "fd00::1",
            "::",
        ],
    )
    def test_an_address_is_refused(self, edge: OriginSide, name: Names, address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        port = free_port()
        for at in (f"{host}:{port}", f"{name(address)}:{port}"):
            answer = edge.ask(at)
            assert answer.status == 502
            assert answer.body == b"Error 502 Bad Gateway\n"
            line = edge.logged(at)
            assert "address=- " in line
            assert "is refused" in line

    def test_a_name_that_changes_to_a_refused_address(self, edge: OriginSide, name: Names) -> None:
        with Origin() as origin, Origin("127.2.0.1", port=origin.port) as other:
            at = origin.named(name("127.1.0.1"))
            assert edge.ask(at).status == 200
            name("127.2.0.1")
            time.sleep(_HOLD)
            assert edge.ask(at).status == 502
            assert not other.requests

    def test_allowed_addresses_of_the_same_name_are_used(
        self, edge: OriginSide, name: Names
    ) -> None:
        with Origin("::1") as origin:
            at = origin.named(name("127.2.0.1", "127.1.66.1", "::1"))
            assert edge.ask(at).status == 200


class TestFailover:
    @pytest.mark.parametrize("method", _METHODS)
    @pytest.mark.parametrize(
        "addresses", [("127.1.0.1", "::1"), ("127.1.1.1", "127.1.0.1")], ids=["family", "same"]
    )
    def test_a_refused_connection(
        self, edge: OriginSide, name: Names, method: str, addresses: Sequence[str]
    ) -> None:
        body = None if method in ("GET", "HEAD", "OPTIONS") else bytes(1_000_000)
        alive = addresses[1]
        with Origin(alive) as origin:
            at = origin.named(name(*addresses))
            assert [edge.ask(at, method, body=body).status for _ in range(5)] == [200] * 5
            assert [len(request.body) for request in origin.requests] == [len(body or b"")] * 5

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_address_that_does_not_answer_delays_one_request(
        self, edge: OriginSide, name: Names, method: str
    ) -> None:
        with blackhole("127.1.0.1") as port, Origin("::1", port=port) as origin:
            at = origin.named(name("127.1.0.1", "::1"))
            assert edge.ask(at, method).status == 200
            started = time.monotonic()
            assert [edge.ask(at, method).status for _ in range(5)] == [200] * 5
            assert time.monotonic() - started < 0.9

    def test_an_address_that_dies_later(self, edge: OriginSide, name: Names) -> None:
        with Origin("127.1.0.1") as first, Origin("::1", port=first.port) as second:
            at = first.named(name("127.1.0.1", "::1"))
            assert edge.ask(at, "POST").status == 200
            # On a busy machine, the first address may be too slow for the first request.
            before = len(second.requests)
            first.stop()
            assert edge.ask(at, "POST").status == 200
            time.sleep(_HOLD)
            assert edge.ask(at).status == 200
            assert len(second.requests) == before + 2

    @pytest.mark.parametrize("addresses", [("127.1.0.1",), ("127.1.0.1", "::1")])
    def test_no_address_accepts_connections(
        self, edge: OriginSide, name: Names, addresses: Sequence[str]
    ) -> None:
        at = f"{name(*addresses)}:{free_port()}"
        for _ in range(2):
            answer = edge.ask(at)
            assert answer.status == 503
            assert answer.value("content-type") == _ERROR
            assert answer.body == b"Error 503 Service Unavailable\n"
        wanted = "state=SC " if len(addresses) == 1 else "no address accepts connections"
        assert wanted in edge.logged(at)

    @pytest.mark.parametrize("method", _METHODS)
    def test_a_request_that_was_sent(self, edge: OriginSide, method: str) -> None:
        """Only safe methods are repeated, and once."""
        with Origin(reply=lambda *_: False) as origin:
            answer = edge.ask(origin.at, method)
            assert answer.status == 502
            assert len(origin.requests) == (2 if method in ("GET", "HEAD", "OPTIONS") else 1)

    @pytest.mark.parametrize(
        ("method", "body", "connections"),
        [("GET", None, [1, 1, 2]), ("GET", b"x", [1, 2]), ("POST", None, [1, 2])],
    )
    def test_a_kept_connection_that_the_origin_closes(
        self, edge: OriginSide, method: str, body: bytes | None, connections: Sequence[int]
    ) -> None:
        def reply(connection: socket.socket, request: Request) -> bool:
            nonlocal seen
            again = request.connection in seen
            seen |= {request.connection}
            return not again and sends(OK)(connection, request)

        seen: set[int] = set()
        with Origin(reply=reply) as origin:
            for _ in range(2):
                assert edge.ask(origin.at, method, body=body).status == 200
            assert [request.connection for request in origin.requests] == connections

    @pytest.mark.parametrize("status", [425, 500, 502, 503, 504])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_errors_of_the_origin_pass(self, edge: OriginSide, status: int, method: str) -> None:
        reply = f"HTTP/1.1 {status} Of Origin\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\nwords"
        with Origin(reply=sends(reply.encode())) as origin:
            answer = edge.ask(origin.at, method)
        assert (answer.status, answer.body, answer.value("x-own")) == (status, b"words", "1")
        assert len(origin.requests) == 1


class TestTimeouts:
    def test_connecting(self, edge: OriginSide) -> None:
        with blackhole("127.1.0.1") as port:
            started = time.monotonic()
            assert edge.ask(f"127.1.0.1:{port}").status == 503
            assert 0.9 < time.monotonic() - started < 4

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_the_first_byte(self, edge: OriginSide, method: str) -> None:
        with Origin(reply=lambda *_: bool(time.sleep(5))) as origin:
            started = time.monotonic()
            answer = edge.ask(origin.at, method)
            assert (answer.status, answer.body) == (504, b"Error 504 Gateway Timeout\n")
            assert 1.4 < time.monotonic() - started < 4
            assert len(origin.requests) == 1

    def test_between_bytes(self, edge: OriginSide) -> None:
        def reply(connection: socket.socket, _request: Request) -> bool:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            time.sleep(5)
            return False

        with Origin(reply=reply) as origin:
            started = time.monotonic()
            answer = edge.ask(origin.at)
        assert (answer.status, answer.body, answer.is_whole) == (200, b"half", False)
        assert 1.4 < time.monotonic() - started < 4


class TestTLS:
    def test_the_name_is_asked_for_and_verified(
        self, edge: OriginSide, name: Names, authority: Authority
    ) -> None:
        host = name("127.1.0.1")
        with Origin(tls=authority.context(host)) as origin:
            for method in ("GET", "POST"):
                assert edge.ask(origin.named(host), method, tls=True).status == 200
            assert {request.name for request in origin.requests} == {host}
            assert {request.value("host") for request in origin.requests} == {"www.example.com"}
            assert origin.alpn == ["http/1.1"] * 2

    def test_certificates_that_are_refused(
        self, edge: OriginSide, name: Names, authority: Authority, tmp_path: Path
    ) -> None:
        host = name("127.1.0.1")
        others = Authority(tmp_path, "another")
        for context in (
            authority.context("other.example.com"),
            authority.context("www.example.com"),  # The name in the Host field.
            authority.context(host, days=-1),
            others.context(host),
        ):
            with Origin(tls=context) as origin:
                at = origin.named(host)
                for method in ("GET", "POST"):
                    answer = edge.ask(at, method, tls=True)
                    assert answer.status == 503
                    assert answer.body == b"Error 503 Service Unavailable\n"
                assert not origin.requests
                assert "certificate verify failed" in edge.logged(at)

    def test_an_old_version(self, edge: OriginSide, name: Names, authority: Authority) -> None:
        host = name("127.1.0.1")
        context = authority.context(host)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            context.minimum_version = context.maximum_version = context.maximum_version.TLSv1_1
        with Origin(tls=context) as origin:
            assert edge.ask(origin.named(host), tls=True).status == 503

    @pytest.mark.parametrize("address", ["127.1.0.1", "::1"])
    def test_an_address_is_verified_and_not_asked_for(
        self, edge: OriginSide, authority: Authority, address: str
    ) -> None:
        with Origin(address, tls=authority.context(address)) as origin:
            for method in ("GET", "GET", "POST"):
                body = b"x" * 200_000 if method == "POST" else None
                assert edge.ask(origin.at, method, body=body, tls=True).body == b"ok"
            # RFC 6066, section 3: a server name is not an address.
            assert {request.name for request in origin.requests} == {None}
            assert [request.connection for request in origin.requests] == [1, 1, 2]
            assert origin.alpn == ["http/1.1"] * 2

    def test_certificates_that_do_not_have_the_address(
        self, edge: OriginSide, authority: Authority, tmp_path: Path
    ) -> None:
        others = Authority(tmp_path, "another")
        for context in (
            authority.context("127.1.0.2"),
            authority.context("::ffff:127.1.0.1"),
            authority.context("www.example.com"),
            authority.context("127.1.0.1", days=-1),
            others.context("127.1.0.1"),
        ):
            with Origin(tls=context) as origin:
                for method in ("GET", "POST"):
                    # If the connection ends without a response, the front answers with 502.
                    with contextlib.suppress(http.client.RemoteDisconnected):
                        assert edge.ask(origin.at, method, body=b"x", tls=True).status == 502
                assert not origin.requests

    def test_connections_to_several_addresses_are_not_mixed_with_tls(
        self, edge: OriginSide, authority: Authority
    ) -> None:
        one = authority.context("127.1.0.1")
        with (
            Origin(tls=one) as first,
            Origin("127.1.0.2", port=first.port, tls=one) as second,
        ):
            for _ in range(2):
                assert edge.ask(first.at, tls=True).status == 200
                assert edge.ask(second.at, tls=True).status == 502
            assert not second.requests

    def test_an_origin_without_tls(self, edge: OriginSide, name: Names) -> None:
        with Origin() as origin:
            assert edge.ask(origin.named(name("127.1.0.1")), tls=True).status == 503

    def test_connections_of_several_names_are_not_mixed(
        self, edge: OriginSide, name: Names, authority: Authority
    ) -> None:
        one, two, bad = (name("127.1.0.1", label=label) for label in ("one", "two", "bad"))
        contexts = {host: authority.context(host) for host in (one, two)}
        with Origin(tls=contexts[one], names=contexts) as origin:
            for _ in range(3):
                for host in (one, two):
                    at = origin.named(host)
                    assert edge.ask(at, path=f"/{host}", tls=True).status == 200
                assert edge.ask(origin.named(bad), tls=True).status == 503
        assert {request.path for request in origin.requests} == {f"/{one}", f"/{two}"}
        assert all(request.path == f"/{request.name}" for request in origin.requests)
        assert len({request.connection for request in origin.requests}) == 2

    def test_connections_of_several_addresses_are_not_mixed(self, edge: OriginSide) -> None:
        with (
            Origin() as first,
            Origin("127.1.0.2", port=first.port) as second,
            Origin("127.1.0.2") as third,
        ):
            for _ in range(3):
                for origin in (first, second, third):
                    assert edge.ask(origin.at).status == 200
            for origin in (first, second, third):
                assert [request.connection for request in origin.requests] == [1] * 3


class TestAwkwardOrigins:
    def test_wide_fields(self, edge: OriginSide) -> None:
        wide = b"x" * 60_000
        reply = b"HTTP/1.1 200 OK\r\nX-Wide: " + wide + b"\r\nContent-Length: 2\r\n\r\nok"
        with Origin(reply=sends(reply)) as origin:
            answer = edge.ask(origin.at, cookie="y" * 60_000)
        assert answer.value("x-wide") == wide.decode()
        assert origin.requests[0].value("cookie") == "y" * 60_000

    def test_chunks_with_trailers(self, edge: OriginSide) -> None:
        reply = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 7\r\n\r\n"
        )
        with Origin(reply=sends(reply)) as origin, edge.connect() as client:
            client.sendall(
                f"GET / HTTP/1.1\r\nHost: a\r\nx-p-origin: {origin.at}\r\n\r\n".encode()
            )
            received = b"".join(iter(lambda: client.recv(65536), b""))
        assert received.lower().endswith(b"\r\nx-sum: 7\r\n\r\n")
        assert b"one" in received and b"two" in received

    def test_a_body_that_ends_with_the_connection(self, edge: OriginSide) -> None:
        reply = sends(b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 200_000, keeps=False)
        with Origin(reply=reply) as origin:
            answer = edge.ask(origin.at)
        assert (len(answer.body), answer.is_whole) == (200_000, True)

    @pytest.mark.parametrize(
        "reply",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ],
        ids=["length", "chunked"],
    )
    def test_a_body_that_breaks_off(self, edge: OriginSide, reply: bytes) -> None:
        with Origin(reply=sends(reply, keeps=False)) as origin:
            answer = edge.ask(origin.at)
        assert (answer.body, answer.is_whole) == (b"half", False)
        assert len(origin.requests) == 1

    def test_several_cookies(self, edge: OriginSide) -> None:
        reply = (
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        )
        with Origin(reply=sends(reply)) as origin:
            answer = edge.ask(origin.at)
        cookies = [value for key, value in answer.fields if key == "set-cookie"]
        assert cookies == ["a=1", "b=2"]

    def test_a_slow_body(self, edge: OriginSide) -> None:
        def reply(connection: socket.socket, _request: Request) -> bool:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            for _ in range(5):
                time.sleep(0.4)
                connection.sendall(b"x")
            return True

        with Origin(reply=reply) as origin:
            assert edge.ask(origin.at).body == b"xxxxx"

    def test_a_large_request_is_streamed(self, edge: OriginSide) -> None:
        size = 20_000_000
        with Origin() as origin, edge.connect() as client:
            client.sendall(
                f"POST / HTTP/1.1\r\nHost: a\r\nx-p-origin: {origin.at}\r\n"
                f"Content-Length: {size}\r\n\r\n".encode()
            )
            for _ in range(20):
                client.sendall(bytes(size // 20))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert len(origin.requests[0].body) == size

    def test_a_websocket(self, edge: OriginSide) -> None:
        with Origin(reply=_upgrades) as origin:
            _check_websocket(edge, origin)


class TestInterimResponses:
    _EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    _PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"

    def test_they_are_dropped_on_request(self, edge: OriginSide) -> None:
        with Origin(reply=sends(self._EARLY, self._PROCESSING, OK)) as origin:
            assert _first_line(edge, origin) == b"HTTP/1.1 103 Early Hints"
            assert edge.ask(origin.at, **{"x-p-final": "1"}).body == b"ok"
            # The next ones need no field.
            assert edge.ask(origin.at).body == b"ok"
            assert edge.ask(origin.at, "HEAD").status == 200
        with Origin(reply=sends(self._EARLY, OK)) as other:
            assert _first_line(edge, other) == b"HTTP/1.1 103 Early Hints"

    def test_one_before_a_late_response(self, edge: OriginSide) -> None:
        def reply(connection: socket.socket, _request: Request) -> bool:
            connection.sendall(self._EARLY)
            time.sleep(0.3)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")
            connection.sendall(b"HTTP/1.1 103 " + bytes(4_999_987))
            return True

        with Origin(reply=reply) as origin:
            answer = edge.ask(origin.at, **{"x-p-final": "1"})
        assert (answer.status, len(answer.body), answer.is_whole) == (200, 5_000_000, True)

    def test_failures_are_as_without_them(self, edge: OriginSide) -> None:
        final = {"x-p-final": "1"}
        half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
        with Origin(reply=sends(self._EARLY, half, keeps=False)) as origin:
            answer = edge.ask(origin.at, **final)
            assert (answer.status, answer.body, answer.is_whole) == (200, b"half", False)
        with Origin(reply=lambda *_: False) as origin:
            assert edge.ask(origin.at, **final).status == 502
            assert "state=SH" in edge.logged(origin.at)
        with Origin(reply=lambda *_: bool(time.sleep(5))) as origin:
            assert edge.ask(origin.at, **final).body == b"Error 504 Gateway Timeout\n"
        assert edge.ask(f"127.1.0.1:{free_port()}", **final).status == 503

    def test_a_websocket(self, edge: OriginSide) -> None:
        with Origin(reply=_upgrades) as origin:
            _check_websocket(edge, origin, "x-p-final: 1\r\n")


class TestFields:
    def test_internal_fields_stay_inside(self, edge: OriginSide) -> None:
        reply = b"HTTP/1.1 200 OK\r\nX-P-Ttl: 9\r\nContent-Length: 0\r\n\r\n"
        with Origin(reply=sends(reply)) as origin:
            answer = edge.ask(origin.at, **{"x-p-anything": "1"})
        assert not [key for key, _ in origin.requests[0].fields if key.lower().startswith("x-p-")]
        assert answer.value("x-p-ttl") is None

    def test_a_connection_of_varnish_carries_one_request(self, edge: OriginSide) -> None:
        with Origin() as origin:
            assert edge.ask(origin.at).value("connection") == "close"
        assert edge.ask(origin.at).value("connection") == "close"

    def test_the_log_has_no_values_of_fields(self, edge: OriginSide) -> None:
        edge.ask("10.9.8.7:80", path="/?token=secret1", cookie="secret2")
        line = edge.logged("10.9.8.7:80")
        assert "secret" not in line
        assert "method=GET status=502" in line
