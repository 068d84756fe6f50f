# SPDX-License-Identifier: Apache-2.0
"""Hostile clients that send raw bytes to a real poppy-server."""

import contextlib
import json
import re
import socket
import threading
import time

import pytest

from tests.real.poppy import Installation

PING = b"GET /v1.0/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"POST /v1.0/services HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
#: A request hidden in a body. It would delete a flavor, so it must never be answered.
HIDDEN = b"DELETE /v1.0/flavors/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """A connection to a server."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def slowly(self, data, pause):
        """Send byte by byte until the server answers; return the response."""
        self.socket.settimeout(pause)
        for at in range(len(data)):
            with contextlib.suppress(ConnectionError):
                self.socket.sendall(data[at : at + 1])
            with contextlib.suppress(TimeoutError, ConnectionError):
                return self.socket.recv(65536)
        raise AssertionError("all was taken, without an answer")

    def answer(self):
        """Read one response: status, header fields by lower-case name, and body."""
        while b"\r\n\r\n" not in self._rest:
            part = self.socket.recv(65536)
            assert part, "closed before an answer"
            self._rest += part
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (it.partition(": ") for it in lines)}
        length = int(fields.get("content-length", "0"))
        while len(self._rest) < length:
            self._rest += self.socket.recv(65536)
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), fields, body

    def everything(self):
        """Read until the server closes the connection, which it must do without a reset."""
        data = self._rest
        while part := self.socket.recv(65536):
            data += part
        return data


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with one process."""
    directory = tmp_path_factory.mktemp("server")
    installation = Installation(directory, {"drivers:transport:pecan": {"request_timeout": 2}})
    installation.sync()
    with installation.daemon("poppy-server"):
        installation.wait_until_up()
        yield installation
    installation.session.close()


@pytest.fixture
def port(server):
    return int(server.base.rpartition(":")[2])


def post(*fields, body=b"", host="localhost"):
    lines = ["POST /v1.0/services HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def get(*fields, target="/v1.0/ping", host="Host: localhost", version="HTTP/1.1"):
    lines = [f"GET {target} {version}", *([host] if host else []), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


REFUSED = {
    "length and coding": post(
        "Content-Length: 6", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN
    ),
    "coding and length": post(
        "Transfer-Encoding: chunked", "Content-Length: 6", body=b"0\r\n\r\n" + HIDDEN
    ),
    "coding twice": post(
        "Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=b"0\r\n\r\n" + HIDDEN
    ),
    "coding in a list": post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + HIDDEN),
    "coding with a tab": post("Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + HIDDEN),
    "coding before a colon": post("Transfer-Encoding : chunked", body=b"0\r\n\r\n" + HIDDEN),
    "coding in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + HIDDEN,
    "length twice": post("Content-Length: 1", "Content-Length: 1", body=b"x" + HIDDEN),
    "lengths that differ": post("Content-Length: 0", "Content-Length: 3", body=b"x" + HIDDEN),
    "length in a list": post("Content-Length: 1, 1", body=b"x" + HIDDEN),
    "length with a sign": post("Content-Length: +1", body=b"x" + HIDDEN),
    "negative length": post("Content-Length: -1", body=HIDDEN),
    "length with an underscore": post("Content-Length: 1_0", body=b"x" + HIDDEN),
    "hexadecimal length": post("Content-Length: 0x1", body=b"x" + HIDDEN),
    "empty length": post("Content-Length: ", body=HIDDEN),
    "upgrade with a body": post(
        "Connection: upgrade", "Upgrade: x", f"Content-Length: {len(HIDDEN)}", body=HIDDEN
    ),
    "chunk with an extension": CHUNKED + b"1;a=b\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "chunk with a bare LF": CHUNKED + b"1\nx\r\n0\r\n\r\n" + HIDDEN,
    "chunk with a bare CR": CHUNKED + b"1\rx\r\n0\r\n\r\n" + HIDDEN,
    "chunk of a negative size": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "chunk of a size with 0x": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "chunk of a size that overflows": CHUNKED + b"10000000000000001\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "chunk longer than its size": CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n" + HIDDEN,
    "no host": get(host=""),
    "two hosts": get("Host: localhost"),
    "empty host": get(host="Host: "),
    "host with a slash": get(host="Host: localhost/x"),
    "host with a space": get(host="Host: local host"),
    "host with markup": get(host="Host: <script>"),
    "host with credentials": get(host="Host: user@localhost"),
    "host with a comma": get(host="Host: localhost, evil.example"),
    "another host": get(host="Host: evil.example"),
    "another absolute host": get(target="http://evil.example/v1.0/ping"),
    "absolute target without Host": get(target="http://localhost/v1.0/ping", host=""),
    "absolute target of another scheme": get(target="ftp://localhost/v1.0/ping"),
    "absolute target with credentials": get(target="http://user@localhost/v1.0/ping"),
    "target without a slash": get(target="v1.0/ping"),
    "target *": get(target="*"),
    "target with a fragment": get(target="/v1.0/ping#x"),
    "target with a NUL": get(target="/v1.0/\0"),
    "target with other bytes": get(target="/v1.0/\xff"),
    "authority for a target": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "folded field": get("X: a\r\n b"),
    "folded first field": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\r\nHost: localhost\nX: b\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: localhost\n\n",
    "bare CR in a field": get("X: a\rY: b"),
    "bare CR after the line": b"GET / HTTP/1.1\rHost: localhost\r\n\r\n",
    "NUL in a field": get("X: a\0b"),
    "control character in a field": get("X: a\x01b"),
    "NUL in a name": get("X\0: a"),
    "space after a name": get("X : a"),
    "field without a name": get(": a"),
    "field without a colon": get("nothing"),
    "two spaces": b"GET  /v1.0/ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tabs": b"GET\t/v1.0/ping\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /v1.0/ping\r\n",
    "HTTP/0.9 by number": get(version="HTTP/0.9"),
    "HTTP/1.2": get(version="HTTP/1.2"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http in small letters": get(version="http/1.1"),
    "another protocol": get(version="RTSP/1.0"),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    "large fields": get("X: " + "x" * 70000),
    "many fields": get(*(f"X-{n}: x" for n in range(7000))),
    "large target": get(target="/" + "x" * 70000),
    "a line without an end": b"G" * 70000,
    "an expectation": post("Expect: 200-maybe", "Content-Length: 2", body=b"{}"),
    "too large": post("Content-Length: 1000000000"),
    "two projects": get("X-Project-ID: a", "X-Project-ID: b"),
    "two lines of roles": get("X-Roles: reader", "X-Roles: admin"),
    "two tokens": get("X-Auth-Token: a", "x-auth-token: b"),
    "two users": get("X-User-ID: a", "X-User-ID: a"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "in two parts"])
def test_ambiguous_request_is_refused_and_the_connection_closed(port, data, whole):
    with Client(port) as client:
        if whole:
            client.send(data + PING)
        else:
            client.send(data[:-3])
            time.sleep(0.02)
            with contextlib.suppress(ConnectionError):
                client.send(data[-3:])
        status, fields, body = client.answer()
        assert 400 <= status < 500 or (status == 501 and b"oding" in body), (status, body)
        assert fields["content-type"] == "application/json"
        assert json.loads(body)["request_id"] == fields["x-openstack-request-id"]
        if "This host is not served" not in body.decode():  # that request is valid HTTP
            assert fields["connection"] == "close"
            assert client.everything() == b"", "what follows must not be answered"


def test_refusal_does_not_echo_the_host(port):
    with Client(port) as client:
        client.send(get(host="Host: <script>evil.example"))
        assert b"evil" not in client.everything()
        assert b"waitress" not in client.send(b"").everything()


class TestValid:
    @pytest.mark.parametrize("end", [b"\r\n\r\n", b"\r\nX-Project-ID: 2\r\n\r\n"])
    def test_chunked_bodies_are_read_and_their_trailers_ignored(self, port, end):
        with Client(port) as client:
            client.send(CHUNKED.replace(b"Transfer", b"X-Project-ID: 1\r\nTransfer"))
            client.send(b"2\r\n{}\r\n00" + end)
            status, _, body = client.answer()
            assert status == 415 and b"Content-Type" in body
            assert client.send(PING).answer()[0] == 204

    def test_pipelined_requests_are_answered_in_order(self, port):
        home = get(target="/", host="Host: localhost")
        with Client(port) as client:
            client.send(PING + home + PING + home + PING)
            assert [client.answer()[0] for _ in range(5)] == [204, 200, 204, 200, 204]

    def test_long_pipeline_is_answered_completely(self, port):
        with Client(port) as client:
            threading.Thread(target=client.send, args=(PING * 3000,)).start()
            assert {client.answer()[0] for _ in range(3000)} == {204}

    def test_requests_after_204_and_304_use_the_same_connection(self, server, port):
        server.create_flavor()
        with Client(port) as client:
            flavor = get("X-Project-ID: 1", target="/v1.0/flavors/standard")
            tag = client.send(flavor).answer()[1]["etag"]
            again = get(
                "X-Project-ID: 1", f"If-None-Match: {tag}", target="/v1.0/flavors/standard"
            )
            for data, expected in ((again, 304), (PING, 204), (again, 304), (flavor, 200)):
                status, fields, _ = client.send(data).answer()
                assert status == expected
                assert "connection" not in fields
                assert ("content-length" in fields) is (status == 200)

    def test_links_follow_an_absolute_target_instead_of_host(self, server, port):
        with Client(port) as client:
            target = f"http://127.0.0.1:{port}/v1.0/flavors/standard"
            answer = client.send(get("X-Project-ID: 1", target=target)).answer()
            assert answer[0] in (200, 404)
            home = client.send(get(target=f"http://127.0.0.1:{port}/")).answer()
            assert f'"http://127.0.0.1:{port}/v1.0'.encode() in home[2]

    def test_http_1_0_needs_no_host_and_links_have_the_address(self, port):
        with Client(port) as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = client.everything()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert f'"http://127.0.0.1:{port}/v1.0'.encode() in answer

    def test_options_with_an_asterisk(self, port):
        with Client(port) as client:
            client.send(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.answer()[0] == 204

    @pytest.mark.parametrize("field", ["X_Project_ID", "X-Project_ID", "x_project_id"])
    def test_field_names_with_underscores_are_ignored(self, port, field):
        with Client(port) as client:
            alone = client.send(get(f"{field}: 1", target="/v1.0/flavors")).answer()
            assert alone[0] == 400 and b"Project ID must be provided" in alone[2]
            for first, second in ((field, "X-Project-ID"), ("X-Project-ID", field)):
                values = {field: "e vil", "X-Project-ID": "1"}  # the first is not a valid ID
                lines = [f"{first}: {values[first]}", f"{second}: {values[second]}"]
                assert client.send(get(*lines, target="/v1.0/flavors")).answer()[0] == 200

    def test_forwarding_fields_are_ignored(self, port):
        fields = ["X-Forwarded-Host: evil.example", "Forwarded: host=evil.example;proto=https"]
        fields += ["X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil"]
        with Client(port) as client:
            _, answered, body = client.send(get(*fields, target="/")).answer()
            assert b"evil" not in body and b"https://" not in body
            assert "strict-transport-security" not in answered

    def test_expect_continue_gets_100(self, port):
        head = post("Expect: 100-continue", "X-Project-ID: 1", "Content-Length: 2")
        with Client(port) as client:
            assert client.send(head).answer()[0] == 100
            assert client.send(b"{}").answer()[0] == 415

    def test_expect_continue_with_a_large_body_gets_413(self, port):
        with Client(port) as client:
            client.send(post("Expect: 100-continue", "Content-Length: 70000"))
            status, fields, body = client.answer()
            assert (status, fields["connection"]) == (413, "close")
            assert json.loads(body)["message"] == "The request body must not exceed 65536 bytes"

    def test_client_with_a_large_body_gets_the_response(self, port):
        """The connection is not reset while the client still sends."""
        with Client(port) as client:
            client.send(post("Content-Length: 500000", body=b" " * 500000))
            assert client.everything().startswith(b"HTTP/1.1 413 ")

    def test_half_closed_connection_gets_the_response(self, port):
        with Client(port) as client:
            client.send(PING)
            client.socket.shutdown(socket.SHUT_WR)
            assert client.everything().startswith(b"HTTP/1.1 204 ")


class TestSlow:
    def test_header_fields(self, port):
        with Client(port) as client:
            begin = time.monotonic()
            answer = client.slowly(PING * 10, pause=0.25)
            assert answer.startswith(b"HTTP/1.1 408 ") and b"\r\nConnection: close\r\n" in answer
            assert time.monotonic() - begin > 1

    def test_body(self, port):
        with Client(port) as client:
            client.send(post("Content-Length: 300"))
            assert client.slowly(b" " * 300, pause=0.25).startswith(b"HTTP/1.1 408 ")

    def test_chunks(self, port):
        with Client(port) as client:
            client.send(CHUNKED)
            assert client.slowly(b"1\r\nx\r\n" * 50, pause=0.25).startswith(b"HTTP/1.1 408 ")

    def test_1100_incomplete_requests_do_not_block_others(self, port):
        """The requests have incomplete header fields or incomplete bodies."""
        halves = (PING[:-2], post("Content-Length: 10", body=b"x"), CHUNKED + b"1\r\n")
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(Client(port)) for _ in range(1100)]
            for number, client in enumerate(slow):
                client.send(halves[number % len(halves)])
            for _ in range(12):
                with Client(port, timeout=20) as ordinary:
                    assert ordinary.send(PING).answer()[0] == 204
            # The server ends each of them with an answer.
            assert slow[0].answer()[0] == 408
            assert slow[-1].answer()[0] == 408
            with Client(port) as ordinary:
                assert ordinary.send(PING).answer()[0] == 204


def test_access_log_has_a_line_per_request(server, port):
    def lines():
        text = (server.directory / "poppy.log").read_text()
        return [line for line in text.splitlines() if " poppy.access " in line]

    with Client(port) as client:
        asked = "/v1.0/fl%0aavors%22%20x?token=verysecret"
        fields = client.send(get("X-Project-ID: 42", target=asked)).answer()[1]
        client.send(get("X-Project-ID: 42", target="/v1.0/flavors?a=verysecret")).answer()
        refused = client.send(get(host="Host: /")).answer()[1]
    text = (server.directory / "poppy.log").read_text()
    assert "verysecret" not in text
    (unknown,) = (it for it in lines() if fields["x-openstack-request-id"] in it)
    assert re.search(r'127\.0\.0\.1 "GET /v1\.0/fl%0Aavors%22%20x" 404 [0-9.]+ ms', unknown)
    known = [it for it in lines() if '"GET /v1.0/flavors" 200 ' in it][-1]
    assert "project=42" in known
    (bad,) = (it for it in lines() if refused["x-openstack-request-id"] in it)
    assert '127.0.0.1 "- -" 400 ' in bad
