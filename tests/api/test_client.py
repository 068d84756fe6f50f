# SPDX-License-Identifier: Apache-2.0
"""Hostile requests over HTTP to a server in another process.

The tests start the server, unless ``POPPY_TEST_API_URL`` names one (``http://host:port``);
``POPPY_TEST_API_TOKEN``, if set, is then sent as ``X-Auth-Token``. The tests leave nothing there.
"""

import json
import os
import socket
import urllib.parse

import pytest
import requests

from tests.real.poppy import PROJECT, Installation

HEADERS = {"X-Project-ID": PROJECT}
SERVICES = "/v1.0/services"
#: A header field that appears in a response only after a successful header injection.
EVIL = "X-Evil: 1"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The base URL of the API."""
    given = os.environ.get("POPPY_TEST_API_URL")
    if given:
        if "POPPY_TEST_API_TOKEN" in os.environ:
            HEADERS["X-Auth-Token"] = os.environ["POPPY_TEST_API_TOKEN"]
        yield given.rstrip("/")
        return
    installation = Installation(tmp_path_factory.mktemp("client"))
    with installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        yield installation.base


@pytest.fixture
def intact(base):
    """Check that the server still responds and that the test created no service."""

    def services():
        answer = requests.get(f"{base}{SERVICES}", headers=HEADERS, timeout=20)
        assert answer.status_code == 200
        return [service["id"] for service in answer.json()["services"]]

    before = services()
    yield
    assert services() == before


def exchange(base, head, body=b""):
    """Send bytes and return the status, the header fields as text and the body."""
    address = urllib.parse.urlsplit(base)
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        client.sendall(head + body)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
    fields, _, content = answer.partition(b"\r\n\r\n")
    return int(fields.split()[1]), fields.decode("latin-1"), content


def head(line, *fields, length=None):
    lines = [line, "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    lines += fields
    lines += [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def refused(answer, *statuses):
    """Check that a response is a standard error without injected header fields."""
    status, fields, content = answer
    assert status in statuses, (status, content[:300])
    document = json.loads(content)
    assert set(document) == {"message", "request_id"}
    assert f"x-openstack-request-id: {document['request_id']}" in fields.lower()
    assert EVIL.lower() not in fields.lower()


def document(**changes):
    return {
        "name": "site",
        "flavor_id": "standard",
        "domains": [{"domain": "hostile.example.com"}],
        "origins": [{"origin": "origin.example.net"}],
        **changes,
    }


def text(**changes):
    return json.dumps(document(**changes)).encode()


BODIES = {
    "latin-1": '{"name": "Zo\xeb"}'.encode("latin-1"),
    "UTF-16": json.dumps(document()).encode("utf-16"),
    "UTF-32": json.dumps(document()).encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + text(),
    "overlong encoding": text(name="AAA").replace(b"AAA", b"\xc1\x81AA"),
    "encoded surrogate": text(name="AAA").replace(b"AAA", b"\xed\xa0\x80AA"),
    "cut short": text()[:-1],
    "two documents": text() + text(),
    "comment": b"/* */" + text(),
    "deep array": b"[" * 30000 + b"]" * 30000,
    "deep object": b'{"a":' * 10000 + b"1" + b"}" * 10000,
    "deep inside": text(name="AAA").replace(b'"AAA"', b"[" * 20000 + b"]" * 20000),
    "same name twice": text().replace(b'{"name"', b'{"name": "other", "name"', 1),
    "same name twice, escaped": text().replace(b'{"name"', b'{"n\\u0061me": "x", "name"', 1),
    "NaN": text(name="AAA").replace(b'"AAA"', b"NaN"),
    "Infinity": text(name="AAA").replace(b'"AAA"', b"-Infinity"),
    "number too large": text(name="AAA").replace(b'"AAA"', b"1e400"),
    "number too long": text(name="AAA").replace(b'"AAA"', b"9" * 10000),
    "null character": text(name="si\x00te"),
    "null byte": text(name="AAA").replace(b"AAA", b"A\x00A"),
    "lone surrogate": text(name="AAA").replace(b"AAA", b"AA\\ud800"),
    "line feed in a name": text(name="si\r\nX-Evil: 1"),
    "prototype": text(__proto__={"admin": True}),
    "an array of it": b"[" + text() + b"]",
    "a string of it": json.dumps(text().decode()).encode(),
    "null": b"null",
    "nothing": b"",
    "domain with a line feed": text(domains=[{"domain": "a.example.com\r\nX-Evil: 1"}]),
    "domain with a null": text(domains=[{"domain": "a.example.com\x00.evil.example"}]),
    "full-width dot": text(domains=[{"domain": "a\uff0eexample.com"}]),
    "right to left": text(domains=[{"domain": "a\u202e.example.com"}]),
    "wildcard": text(domains=[{"domain": "*.example.com"}]),
    "origin of a file": text(origins=[{"origin": "file:///etc/passwd"}]),
    "origin with a path": text(origins=[{"origin": "origin.example.net/../admin"}]),
    "other's project": text(project_id="another"),
    "status": text(status="deployed"),
}


@pytest.mark.parametrize("name", BODIES)
def test_invalid_body_is_refused(base, intact, name):
    body = BODIES[name]
    line = f"POST {SERVICES} HTTP/1.1"
    fields = head(line, "Content-Type: application/json", length=len(body))
    refused(exchange(base, fields, body), 400)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["Content-Type: text/plain"], 415),
        (["Content-Type: application/json; charset=utf-16"], 415),
        (["Content-Type: application/x-www-form-urlencoded"], 415),
        (["Content-Type: application/json", "Content-Encoding: gzip"], 415),
        ([], 415),
    ],
)
def test_body_of_another_type_is_refused(base, intact, fields, status):
    body = text()
    line = f"POST {SERVICES} HTTP/1.1"
    refused(exchange(base, head(line, *fields, length=len(body)), body), status)


def test_large_body_is_refused(base, intact):
    body = text(name="x" * 200_000)
    line = f"POST {SERVICES} HTTP/1.1"
    fields = head(line, "Content-Type: application/json", length=len(body))
    refused(exchange(base, fields, body), 413)


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 10", "Content-Length: 11"],
        ["Content-Length: +2"],
        ["Content-Length: 0x2"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
    ],
)
def test_ambiguous_message_length_is_refused(base, intact, fields):
    line = f"POST {SERVICES} HTTP/1.1"
    smuggled = b"0\r\n\r\nGET /v1.0/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = exchange(base, head(line, "Content-Type: application/json", *fields), smuggled)
    refused(answer, 400, 501)
    assert answer[2].count(b"HTTP/1.1") == 0, "one request, one answer"


@pytest.mark.parametrize(
    "field",
    [
        "X-Project-ID: 1\r\n folded",
        "X-Project-ID: other",
        "X-Project-ID: a\x00b",
        "X-Project-ID: a,b",
        "X-User-ID: a\tb",
        f"X-User-ID: a\r{EVIL}",
        f"Accept: text/html\r\n\t{EVIL}",
        "Accept: text/html",
        f"Idempotency-Key: \x7f{EVIL}",
        "Host: evil.example/<script>",
        "Host: a b",
    ],
)
def test_invalid_header_fields_are_refused(base, intact, field):
    body = text()
    line = f"POST {SERVICES} HTTP/1.1"
    fields = head(line, field, "Content-Type: application/json", length=len(body))
    refused(exchange(base, fields, body), 400, 406)


@pytest.mark.parametrize(
    "path",
    [
        "/v1.0/services/../flavors",
        "/v1.0/services/%2e%2e/flavors",
        "/v1.0/services/..%2fflavors",
        "/v1.0//services",
        "//evil.example/v1.0/services",
        "/v1.0/services/%00",
        "/v1.0/services/%c0%ae%c0%ae/flavors",
        f"/v1.0/flavors/a%0d%0a{EVIL.replace(' ', '%20')}",
        f"/v1.0/flavors/a%E5%98%8A%E5%98%8D{EVIL.replace(' ', '%20')}",
        "/v1.0/flavors/%u0041",
        "/v1.0/flavors/" + "x" * 9000,
        "/v1.0/services/" + "1" * 5000,
        "/v1.0/services/__class__",
        "/v1.0/services.json",
        "/v1.0;x=1/services",
        "/V1.0/services",
        "/v1.0/another/services",
        "/v1.0/0123456789abcdef0123456789abcdef/services",
        "/v1.0/services?limit=%00",
        "/v1.0/services?limit=1&limit=2",
        "/v1.0/services?limit=1e1",
        "/v1.0/services?limit=%D9%A1",
        "/v1.0/services?marker=%ff",
        "/v1.0/services?marker=' or 1=1 --".replace(" ", "%20"),
        "http://evil.example/v1.0/nothing",
    ],
)
def test_unknown_and_invalid_paths_are_refused(base, intact, path):
    refused(exchange(base, head(f"GET {path} HTTP/1.1")), 400, 403, 404)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "GE\x00T", "X" * 5000])
def test_unknown_methods_are_refused(base, intact, method):
    # 501: the server does not recognize the method (RFC 9110, section 15.6.2).
    refused(exchange(base, head(f"{method} {SERVICES} HTTP/1.1")), 400, 405, 501)


def test_method_cannot_be_overridden(base, intact):
    field = "X-HTTP-Method-Override: POST"
    status, _, content = exchange(base, head(f"GET {SERVICES}?_method=POST HTTP/1.1", field))
    assert status == 200
    assert "services" in json.loads(content)
