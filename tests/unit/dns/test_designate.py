# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``designate``: authentication, and handling of refusals.

Records are tested on a real Designate. These tests need a Keystone in front of it, and answers
that a real server does not give on demand.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from poppy.common import tracing
from poppy.common.errors import (
    ConfigError,
    PermanentError,
    RetryableError,
    Scope,
    Unauthorized,
)
from poppy.dns.designate import Designate
from tests.spans import Spans
from tests.unit.dns.making import make_driver

NAME = "www.example.org.cdn.example.net"
CNAMES = {NAME: "edge.example.com"}
RECORDSETS = "/dns/v2/zones/z1/recordsets"


class Cloud(http.server.ThreadingHTTPServer):
    """A Keystone with one user, and a Designate with scripted answers.

    ``answers``: status, headers and body by method and path; ``asked``: the requests.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answers: dict[tuple[str, str], tuple[int, dict[str, str], Any]] = {
            ("GET", "/dns/v2/zones"): (200, {}, {"zones": [{"id": "z1"}]}),
            ("GET", RECORDSETS): (200, {}, {"recordsets": []}),
        }
        self.asked: list[tuple[str, str, str | None]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Cloud

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: Any, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        base = self.server.url
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, path, self.headers.get("X-Auth-Token")))
        if path == "/v3/auth/tokens":
            password = json.loads(body)["auth"]["identity"]["password"]["user"]["password"]
            if password != "right":
                self.reply(401, {"error": {"message": "no", "code": 401, "title": "no"}})
                return
            endpoint = {"url": f"{base}/dns", "interface": "public", "region": "R", "id": "e"}
            catalog = [{"type": "dns", "name": "designate", "id": "d", "endpoints": [endpoint]}]
            token = {"catalog": catalog, "expires_at": "2099-01-01T00:00:00.000000Z"}
            token |= {"methods": ["password"], "issued_at": "2026-01-01T00:00:00.000000Z"}
            token |= {"user": {"id": "u", "name": "poppy", "domain": {"id": "d", "name": "D"}}}
            self.reply(201, {"token": token}, **{"X-Subject-Token": "t0ken"})
        elif path in ("/v3", "/v3/"):
            links = [{"rel": "self", "href": f"{base}/v3/"}]
            self.reply(200, {"version": {"id": "v3.14", "status": "stable", "links": links}})
        elif (found := self.server.answers.get((self.command, path))) is None:
            self.reply(404, {"code": 404, "type": "zone_not_found", "message": "no such zone"})
        else:
            self.reply(found[0], found[2], **found[1])

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        thread = threading.Thread(target=cloud.serve_forever, args=(0.01,))
        thread.start()
        yield cloud
        cloud.shutdown()
        thread.join()


def driver_for(cloud: Cloud, **options: object) -> Designate:
    given = {
        "auth_type": "v3password",
        "auth_url": f"{cloud.url}/v3",
        "username": "poppy",
        "user_domain_id": "default",
        "password": "right",
        "project_name": "cdn",
        "project_domain_id": "default",
        **options,
    }
    return make_driver(Designate, **given)


def test_the_driver_logs_in_and_finds_its_service_in_the_catalog(cloud: Cloud) -> None:
    driver = driver_for(cloud)
    assert driver.health() is True
    assert driver.health() is True
    assert [path for _, path, _ in cloud.asked].count("/v3/auth/tokens") == 1
    assert cloud.asked[-1] == ("GET", "/dns/v2/zones", "t0ken")


def test_a_wrong_password_is_reported_but_not_shown(cloud: Cloud) -> None:
    driver = driver_for(cloud, password="wr0ng")
    with pytest.raises(Unauthorized, match="Keystone refuses") as caught:
        driver.ensure(CNAMES)
    assert "wr0ng" not in str(caught.value)
    assert driver.health() is False


def test_auth_type_is_required(cloud: Cloud) -> None:
    with pytest.raises(ConfigError, match="auth_type is missing"):
        driver_for(cloud, auth_type=None)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "error", "wait"),
    [
        (409, {}, "duplicate_recordset", RetryableError, 10),
        (413, {}, "over_quota", RetryableError, 10),
        (429, {"Retry-After": "7"}, "over_limit", RetryableError, 7),
        (503, {"Retry-After": "9"}, "service_unavailable", RetryableError, 9),
        (500, {}, "unknown", RetryableError, None),
        (400, {}, "invalid_recordset_location", PermanentError, None),
        (403, {}, "forbidden", Unauthorized, None),
    ],
)
def test_refusals(
    cloud: Cloud,
    status: int,
    headers: dict[str, str],
    kind: str,
    error: type[Exception],
    wait: float | None,
) -> None:
    cloud.answers["POST", RECORDSETS] = (status, headers, {"code": status, "type": kind})
    with pytest.raises(error, match=f"answered POST with {status}: {kind}") as caught:
        driver_for(cloud).ensure(CNAMES)
    assert getattr(caught.value, "retry_after", None) == wait


@pytest.mark.parametrize(
    ("status", "scope"),
    [
        (409, Scope.SERVICE),
        # An exhausted quota does not prevent deletes.
        (413, Scope.SERVICE),
        (429, Scope.PROVIDER),
        (503, Scope.PROVIDER),
        (403, Scope.PROVIDER),
    ],
)
def test_scopes_of_refusals(cloud: Cloud, status: int, scope: Scope) -> None:
    cloud.answers["POST", RECORDSETS] = (status, {}, {"code": status, "type": "kind"})
    with pytest.raises(RetryableError) as caught:
        driver_for(cloud).ensure(CNAMES)
    assert caught.value.scope is scope


def recordset(**changes: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "name": f"{NAME}.",
        "type": "CNAME",
        "records": ["edge.example.com."],
        "ttl": 300,
        "status": "ACTIVE",
        "action": "NONE",
        **changes,
    }


def test_a_correct_recordset_is_not_changed(cloud: Cloud) -> None:
    cloud.answers["GET", RECORDSETS] = (200, {}, {"recordsets": [recordset()]})
    driver_for(cloud).ensure(CNAMES)
    assert {method for method, path, _ in cloud.asked if path.startswith("/dns")} == {"GET"}


def test_a_recordset_in_error_is_written_again(cloud: Cloud) -> None:
    cloud.answers["GET", RECORDSETS] = (200, {}, {"recordsets": [recordset(status="ERROR")]})
    again = f"{RECORDSETS}/r1"
    cloud.answers["PUT", again] = (202, {}, recordset(status="PENDING", action="UPDATE"))
    with pytest.raises(RetryableError, match=f"could not propagate {NAME} to its name servers"):
        driver_for(cloud).ensure(CNAMES)
    assert cloud.asked[-1][:2] == ("PUT", again)


def test_a_missing_zone_is_searched_again(cloud: Cloud) -> None:
    driver = driver_for(cloud)
    del cloud.answers["GET", RECORDSETS]
    with pytest.raises(PermanentError, match="zone_not_found"):
        driver.ensure(CNAMES)
    cloud.answers["GET", "/dns/v2/zones"] = (200, {}, {"zones": [{"id": "z2"}]})
    cloud.answers["GET", "/dns/v2/zones/z2/recordsets"] = (200, {}, {"recordsets": [recordset()]})
    driver.ensure(CNAMES)


def test_a_zone_in_error_does_not_count_as_clean(cloud: Cloud) -> None:
    cloud.answers["GET", "/dns/v2/zones/z1"] = (200, {}, {"id": "z1", "status": "ERROR"})
    with pytest.raises(RetryableError, match="could not propagate the zone"):
        driver_for(cloud).remove([NAME])


def test_requests_are_traced_without_the_token(cloud: Cloud, spans: Spans) -> None:
    cloud.answers["GET", "/dns/v2/zones"] = (503, {}, {})
    driver = driver_for(cloud)
    with tracing.span("call", parent={}), pytest.raises(RetryableError):
        driver.ensure({"www.example.net": "edge.example.com"})
    told = dict(spans.named("GET")[0].attributes)
    assert told["url.full"] == f"{cloud.url}/dns/v2/zones"
    assert (told["http.response.status_code"], told["error.type"]) == (503, "503")
    assert not any(secret in spans.text() for secret in ("t0ken", "right"))


def test_an_unreachable_cloud_is_traced(spans: Spans) -> None:
    with Cloud() as cloud:
        driver = driver_for(cloud)
    with tracing.span("call", parent={}), pytest.raises(RetryableError):
        driver.ensure({"www.example.net": "edge.example.com"})
    assert spans.named("GET")[0].attributes["error.type"]
