# SPDX-License-Identifier: Apache-2.0
"""The application in its server, over real sockets."""

import contextlib
import json
import re
import socket
import threading
import time

import pytest

from poppy.common.errors import ConfigError
from poppy.transport.pecan import server
from poppy.transport.pecan.driver import PecanTransport
from tests.functional import fakes

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"


class Served:
    """A transport that serves in a thread, with clients that send raw bytes."""

    def __init__(self, transport):
        self.transport = transport
        self.socket = transport.listen()
        self.address = self.socket.getsockname()
        self.family = self.socket.family
        self.thread = threading.Thread(target=transport.serve, args=(self.socket,))
        self.thread.start()

    def stop(self):
        """Stop the server and return the time in seconds."""
        begin = time.monotonic()
        self.transport.stop()
        self.thread.join(timeout=15)
        assert not self.thread.is_alive()
        return time.monotonic() - begin

    @contextlib.contextmanager
    def connection(self):
        with socket.socket(self.family) as client:
            client.settimeout(5)
            client.connect(self.address[:2])
            yield client

    def exchange(self, *parts, pause=0.0):
        """Send parts one by one and return everything received until the server closes."""
        with self.connection() as client:
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
            return received(client)


def received(client):
    """Return everything until the other side closes."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            answer += part
    return answer


def request(method, path, *fields, body=b"", close=True):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"X-Project-ID: {fakes.PROJECT}"]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + body


def refused(answer, status):
    """Check that a response is a standard error and return its message."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.") and head.split()[1] == str(status).encode(), answer
    assert b"\r\ncontent-type: application/json\r\n" in head.lower(), head
    document = json.loads(body)
    assert set(document) == {"message", "request_id"}
    assert f"x-openstack-request-id: {document['request_id']}".encode() in head.lower()
    return document["message"]


@pytest.fixture
def serve(conf, manager):
    """Start a server with options; it is stopped at the end of the test."""
    running = []

    def serve(bind="127.0.0.1", **options):
        conf.set_override("noauth_trusted_network", bind == "::")
        conf.clear_override("allowed_hosts")
        transport = PecanTransport(conf, "pecan", manager=manager)
        group = "drivers:transport:pecan"
        conf.set_override("bind", bind, group=group)
        conf.set_override("port", 0, group=group)
        for name, value in options.items():
            conf.set_override(name, value, group=group)
        running.append(Served(transport))
        return running[-1]

    yield serve
    for served in running:
        if served.thread.is_alive():
            served.stop()


class TestListen:
    def transport(self, conf, manager, bind, port):
        conf.set_override("noauth_trusted_network", True)
        transport = PecanTransport(conf, "pecan", manager=manager)
        conf.set_override("bind", bind, group="drivers:transport:pecan")
        conf.set_override("port", port, group="drivers:transport:pecan")
        return transport

    @pytest.mark.parametrize(
        ("bind", "family"),
        [
            ("127.0.0.1", socket.AF_INET),
            ("0.0.0.0", socket.AF_INET),
            ("::1", socket.AF_INET6),
            ("::", socket.AF_INET6),
        ],
    )
    def test_on_an_address(self, conf, manager, bind, family):
        with self.transport(conf, manager, bind, 0).listen() as sock:
            assert sock.family == family
            assert sock.getsockname()[0] == bind
            assert sock.getsockname()[1] > 0

    @pytest.mark.parametrize("bind", ["192.0.2.1", "nothing.invalid"])
    def test_on_a_foreign_address_is_a_config_error(self, conf, manager, bind):
        with pytest.raises(ConfigError) as caught:
            self.transport(conf, manager, bind, 0).listen()
        assert f"[drivers:transport:pecan] bind = {bind}, port = 0" in str(caught.value)

    def test_on_a_port_in_use_is_a_config_error(self, conf, manager):
        with self.transport(conf, manager, "127.0.0.1", 0).listen() as sock:
            port = sock.getsockname()[1]
            with pytest.raises(ConfigError, match=f"port = {port}.*in use"):
                self.transport(conf, manager, "127.0.0.1", port).listen()

    def test_workers_default_to_the_number_of_cores(self, conf, manager):
        assert PecanTransport(conf, "pecan", manager=manager).workers >= 1


class TestRequests:
    def test_are_answered(self, serve, manager):
        manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service()
        answer = serve().exchange(request("GET", SERVICE))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nServer: poppy\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["id"] == fakes.SERVICE_ID

    @pytest.mark.parametrize("bind", ["::1", "::"])
    def test_are_answered_over_ipv6(self, serve, bind):
        answer = serve(bind).exchange(request("GET", "/v1.0/ping"))
        assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")

    def test_pipelined_requests_are_answered_in_order(self, serve):
        first = request("GET", "/", close=False)
        answer = serve().exchange(first + first + request("GET", "/"))
        assert answer.count(b"HTTP/1.1 200 OK") == 3

    def test_may_be_chunked(self, serve, manager):
        fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        body = b'4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'
        answer = serve().exchange(request("POST", "/v1.0/services", *fields, body=body))
        assert answer.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert manager.services.calls[0][2] == {"a": 1}

    @pytest.mark.parametrize("size", [65537, 2_000_000])
    def test_chunked_over_the_limit_are_refused(self, serve, manager, size):
        fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b" " * size)
        with serve().connection() as client, contextlib.suppress(ConnectionError):
            client.sendall(request("POST", "/v1.0/services", *fields))
            for start in range(0, len(body), 65536):
                client.sendall(body[start : start + 65536])
            refused(received(client), 413)
        assert manager.services.calls == []

    @pytest.mark.parametrize("size", [65537, 1_000_000_000_000])
    def test_with_a_content_length_over_the_limit_are_refused(self, serve, size):
        fields = ("Content-Type: application/json", f"Content-Length: {size}")
        refused(serve().exchange(request("POST", "/v1.0/services", *fields), b" " * 65537), 413)

    def test_bytes_beyond_the_content_length_are_not_read(self, serve, manager):
        fields = ("Content-Type: application/json", "Content-Length: 2")
        answer = serve().exchange(request("POST", "/v1.0/services", *fields, body=b'{}{"x": 1}'))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert [call[2] for call in manager.services.calls] == [{}]

    def test_shorter_than_the_content_length_are_not_answered(self, serve, manager):
        fields = ("Content-Type: application/json", "Content-Length: 5")
        with serve().connection() as client:
            client.sendall(request("POST", "/v1.0/services", *fields, body=b"{}"))
            client.shutdown(socket.SHUT_WR)
            client.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                assert received(client) == b""
        assert manager.services.calls == []

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n", 400),
            (b"GET /<script> HTTP/1.1\r\nX: <script>\rY: b\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx", 400),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
        ],
        ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
    )
    def test_invalid_http_is_refused_in_json(self, serve, content, status):
        message = refused(serve().exchange(content), status)
        assert "<script>" not in message

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v1.0/flavors/a%0d%0aSet-Cookie:%20x=1", 404),
            ("/v1.0/flavors/%00", 404),
            ("/v1.0/flavors/\xff", 400),
            ("/v1.0/flavors/%c3%28", 404),
            ("http://evil.example/v1.0/nothing", 400),
            ("http://localhost/v1.0/nothing", 404),
        ],
    )
    def test_paths_cannot_inject_headers(self, serve, path, status):
        answer = serve().exchange(request("GET", path))
        refused(answer, status)
        assert b"Set-Cookie" not in answer and b"evil" not in answer

    def test_with_two_project_headers_are_refused(self, serve):
        answer = serve().exchange(request("GET", "/v1.0/services", "X-Project-ID: 999"))
        refused(answer, 400)

    def test_underscores_in_header_names_are_not_dashes(self, serve):
        content = b"GET /v1.0/services HTTP/1.1\r\nConnection: close\r\nX_Project_ID: 1\r\n\r\n"
        refused(serve().exchange(content), 400)

    def test_forwarding_headers_are_ignored(self, serve):
        fields = ("X-Forwarded-Host: evil.example", "Forwarded: host=evil.example")
        assert b"evil" not in serve().exchange(request("GET", "/", *fields))

    def test_slow_request_does_not_block_others(self, serve):
        served = serve(threads=1)
        content = request("GET", "/v1.0/ping")
        with served.connection() as slow:
            slow.sendall(content[:20])
            begin = time.monotonic()
            assert served.exchange(content).startswith(b"HTTP/1.1 204")
            assert time.monotonic() - begin < 1
            slow.sendall(content[20:])
            assert received(slow).startswith(b"HTTP/1.1 204")

    def test_internal_error_has_one_request_id(self, serve, manager):
        manager.services.error = RuntimeError("secret")
        answer = serve().exchange(request("GET", SERVICE))
        refused(answer, 500)
        assert b"secret" not in answer
        assert len(re.findall(rb"(?i)x-openstack-request-id:", answer)) == 1


class TestStop:
    @pytest.fixture
    def slow(self, manager, monkeypatch):
        """A request that runs until its event is set."""
        started, go_on = threading.Event(), threading.Event()

        def get(project_id, service_id):
            started.set()
            assert go_on.wait(10)
            return fakes.service()

        monkeypatch.setattr(manager.services, "get", get)
        yield started, go_on
        go_on.set()

    def test_is_quick(self, serve):
        served = serve()
        served.exchange(request("GET", "/v1.0/ping"))
        assert served.stop() < 1

    def test_before_serving_prevents_serving(self, conf, manager):
        transport = PecanTransport(conf, "pecan", manager=manager)
        conf.set_override("port", 0, group="drivers:transport:pecan")
        transport.stop()
        transport.serve(transport.listen())

    def test_twice_is_allowed(self, serve):
        served = serve()
        served.stop()
        served.transport.stop()

    def test_does_not_wait_for_idle_connections(self, serve, monkeypatch):
        """Beyond the short period in which they may send one more request."""
        monkeypatch.setattr(server, "LINGER", 0.2)
        monkeypatch.setattr(server, "CLOSING", 0.1)
        served = serve()
        with served.connection() as idle, served.connection() as half:
            idle.sendall(request("GET", "/", close=False))
            assert idle.recv(12) == b"HTTP/1.1 200"
            half.sendall(b"GET / HT")
            assert served.stop() < 1

    def test_finishes_the_running_request(self, serve, slow):
        started, go_on = slow
        served = serve()
        with served.connection() as client:
            client.sendall(request("GET", SERVICE, close=False))
            assert started.wait(5)
            stopper = threading.Thread(target=served.stop)
            stopper.start()
            time.sleep(0.2)
            assert served.thread.is_alive()
            go_on.set()
            begin = time.monotonic()
            answer = received(client)
            stopper.join()
            assert time.monotonic() - begin < 1
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["id"] == fakes.SERVICE_ID

    def test_waits_no_longer_than_the_grace_period(self, serve, slow, monkeypatch):
        monkeypatch.setattr(server, "GRACE", 0.3)
        started, _ = slow
        served = serve()
        with served.connection() as client:
            client.sendall(request("GET", SERVICE))
            assert started.wait(5)
            assert 0.2 < served.stop() < 2
