# SPDX-License-Identifier: Apache-2.0
"""The drivers' HTTP client, against a real server on loopback."""

import datetime
import http.server
import json
import socket
import threading

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from poppy.common import http as driver_http
from poppy.common import logs, tracing
from poppy.common.errors import PermanentError, RetryableError, Scope, TimedOut, Unauthorized


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, headers, body = self.server.answers[self.path.partition("?")[0]]
        if status is None:
            self.close_connection = True
            return
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.answers, made.seen = {}, []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def client(server):
    return driver_http.Client(
        "example",
        f"http://127.0.0.1:{server.server_port}/v1",
        headers={"Authorization": "secret"},
        timeout=(1.0, 1.0),
    )


def test_a_response_is_decoded_and_headers_are_sent(server, client):
    server.answers["/v1/a"] = (200, {}, b'{"x": 1}')
    assert client.json("GET", "/a", params={"q": "1"}) == {"x": 1}
    ((_, path, headers),) = server.seen
    assert path == "/v1/a?q=1"
    assert headers["Authorization"] == "secret"


def test_an_empty_answer_is_none(server, client):
    server.answers["/v1/a"] = (204, {}, b"")
    assert client.json("POST", "/a") is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_temporary_statuses_are_retryable(server, client, status):
    server.answers["/v1/a"] = (status, {"Retry-After": "17"}, b"try later")
    with pytest.raises(
        RetryableError, match=f"example answered GET with {status}: try later"
    ) as e:
        client.request("GET", "/a")
    assert e.value.retry_after == 17


@pytest.mark.parametrize("status", [301, 400, 404, 409, 422])
def test_other_statuses_are_permanent_unless_accepted(server, client, status):
    server.answers["/v1/a"] = (status, {"Location": "/elsewhere"}, json.dumps("no").encode())
    with pytest.raises(PermanentError, match=f"with {status}"):
        client.request("GET", "/a")
    assert client.request("GET", "/a", accept={status}).status_code == status


@pytest.mark.parametrize("status", [400, 429])
def test_a_secret_that_the_server_quotes_is_masked(server, client, status):
    logs.register_secrets(["the-secret-of-this-test"])
    server.answers["/v1/a"] = (status, {}, b"bad key: the-secret-of-this-test is too long")
    with pytest.raises((PermanentError, RetryableError), match="bad key.*is too long") as caught:
        client.request("GET", "/a")
    assert "the-secret-of-this-test" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_unauthorized(server, client, status):
    server.answers["/v1/a"] = (status, {}, json.dumps("no").encode())
    with pytest.raises(Unauthorized, match=f"with {status}"):
        client.request("GET", "/a")
    assert client.request("GET", "/a", accept={status}).status_code == status


SERVICE = "01890000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(
    ("path", "said", "scope"),
    [
        ("/service/abc123def", "Too many requests", Scope.PROVIDER),
        ("/service/abc123def", "Too many requests for service abc123def", Scope.SERVICE),
        ("/service/abc123def/purge", "abc123def: slow down", Scope.SERVICE),
        ("/service/abc123def", "Too many requests, id xabc123defy", Scope.PROVIDER),
        ("/service/search", "search is limited in v1 for this service", Scope.PROVIDER),
        ("/service", f"limit of service poppy-{SERVICE}", Scope.SERVICE),
    ],
)
def test_a_limit_that_names_an_object_has_service_scope(server, client, status, path, said, scope):
    server.answers[f"/v1{path}"] = (status, {}, said.encode())
    with pytest.raises(RetryableError) as caught:
        client.request("POST", path, json={"name": f"poppy-{SERVICE}"})
    assert caught.value.scope is scope


def test_a_missing_answer_has_provider_scope(server, client):
    server.answers["/v1/a"] = (None, {}, b"")
    with pytest.raises(RetryableError) as caught:
        client.request("GET", "/a")
    assert caught.value.scope is Scope.PROVIDER
    assert not isinstance(caught.value, TimedOut)


def test_an_invalid_request_has_service_scope(client):
    with pytest.raises(RetryableError) as caught:
        client.request("GET", "http://a..b.example:99999999/")
    assert caught.value.scope is Scope.SERVICE


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_a_late_or_interrupted_response_is_a_timeout(answer):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = driver_http.Client("example", base, timeout=(1.0, 0.2))

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                over.wait(10)

        over = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TimedOut) as caught:
            client.request("GET", "/a")
        over.set()
        thread.join()
    assert caught.value.scope is Scope.PROVIDER


def test_a_missing_answer_is_retryable_and_shows_no_secret(server, client):
    server.answers["/v1/a"] = (None, {}, b"")
    with pytest.raises(RetryableError, match="did not answer") as caught:
        client.request("GET", "/a?key=secret")
    assert "secret" not in str(caught.value)
    assert caught.value.retry_after is None


def test_an_html_response_is_retryable(server, client):
    server.answers["/v1/a"] = (200, {}, b"<html>")
    with pytest.raises(RetryableError, match="no JSON"):
        client.json("GET", "/a")


def test_a_missing_object_is_none_and_others_are_json_objects(server, client):
    server.answers["/v1/a"] = (200, {}, b'{"x": 1}')
    for status in (404, 410):
        server.answers["/v1/gone"] = (status, {}, b"")
        assert client.find("/gone") is None
    assert client.find("/a") == {"x": 1}
    for body in (b"", b"<html>", b"[1]"):
        server.answers["/v1/a"] = (200, {}, body)
        with pytest.raises(RetryableError, match="example answered GET with no JSON object"):
            client.find("/a")
    server.answers["/v1/a"] = (403, {}, b"")
    with pytest.raises(Unauthorized):
        client.find("/a")


def test_answers_reports_whether_a_server_responds(server, client):
    server.answers |= {"/v1/up": (200, {}, b""), "/v1/down": (503, {}, b"")}
    assert client.answers("/up")
    assert not client.answers("/down")


def test_limits_are_recorded(server, client):
    fields = {"X-RateLimit-Remaining": "9", "X-RateLimit-Reset": "1893456000"}
    server.answers["/v1/a"] = (200, fields, b"")
    client.request("GET", "/a")
    reset = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert client.quota == {"requests": driver_http.Quota(None, 9, reset)}


def test_a_driver_can_read_its_vendors_own_fields(server):
    fields = {"Writes-Left": "0", "Writes-Reset": "60", "X-RateLimit-Remaining": "9"}
    server.answers["/v1/a"] = (429, fields, b"")
    own = driver_http.QuotaFields("writes", "Writes-Limit", "Writes-Left", "Writes-Reset")
    client = driver_http.Client(
        "example",
        f"http://127.0.0.1:{server.server_port}/v1",
        quotas=lambda headers: driver_http.quotas(headers, [own]),
    )

    with pytest.raises(RetryableError) as caught:
        client.request("GET", "/a")

    assert list(client.quota) == ["writes"]
    assert client.quota["writes"].remaining == 0
    assert 58 < caught.value.retry_after <= 60


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        ("17 ", 17.0),
        ("-3", None),
        ("12.5", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_forms_of_retry_after(value, wait):
    assert driver_http.retry_after({"Retry-After": value}) == wait


def test_an_exhausted_limit_gives_its_reset_time():
    fields = {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}
    wait = driver_http.retry_after(fields)
    assert 58 < wait <= 60
    assert driver_http.retry_after({**fields, "X-RateLimit-Remaining": "1"}) is None


def test_invalid_quota_fields_are_ignored():
    assert driver_http.quotas({"X-RateLimit-Remaining": "many"}) == {}
    found = driver_http.quotas({"RateLimit-Remaining": "3", "RateLimit-Reset": "never"})
    assert found == {"requests": driver_http.Quota(None, 3, None)}


def test_a_request_is_traced_without_its_secrets(server, client, spans):
    server.answers["/v1/a"] = (503, {}, b"")
    server.answers["/v1/b"] = (404, {}, b"")
    with tracing.span("call", parent={}):
        with pytest.raises(RetryableError):
            client.request("GET", "/a?key=secret")
        client.request("POST", "/b", json={"key": "secret"}, accept={404})
    refused, gone, _call = spans.all()
    address = {
        "url.full": f"http://127.0.0.1:{server.server_port}/v1/a",
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
    }
    assert (refused.name, refused.kind) == ("GET", SpanKind.CLIENT)
    assert dict(refused.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "error.type": "503",
        **address,
    }
    assert (gone.name, gone.status.status_code) == ("POST", StatusCode.UNSET)
    assert gone.attributes["http.response.status_code"] == 404
    assert "secret" not in spans.text()
    assert all("traceparent" not in {name.lower() for name in it[2]} for it in server.seen)


def test_a_request_without_a_response_is_traced_as_a_failure(server, client, spans):
    server.answers["/v1/a"] = (None, {}, b"")
    with tracing.span("call", parent={}), pytest.raises(RetryableError):
        client.request("GET", "/a")
    assert spans.one("GET").attributes["error.type"] == "ConnectionError"
