# SPDX-License-Identifier: Apache-2.0
"""Cross-origin requests of browsers (Fetch standard, section 3.2)."""

import pytest

from tests.functional import fakes

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"
PAGE = "https://dashboard.example.com"


@pytest.fixture
def browser(make):
    return make(cors__allowed_origin=[PAGE])


def preflight(app, method, *fields, origin=PAGE, path=SERVICE):
    app.extra_environ = {}
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    if fields:
        headers["Access-Control-Request-Headers"] = ", ".join(fields)
    answer = app.options(path, headers=headers)
    assert answer.status_int == 204
    return answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_allowed_origin_may_send_client_headers(browser, method):
    fields = ("X-Auth-Token", "X-Project-ID", "Content-Type", "If-Match", "Idempotency-Key")
    headers = preflight(browser, method, *fields)
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Access-Control-Allow-Methods"] == method
    assert headers["Access-Control-Allow-Headers"] == ",".join(fields)
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Origin" in headers["Vary"].split(", ")


@pytest.mark.parametrize(
    ("method", "fields", "origin"),
    [
        ("GET", ("X-Auth-Token",), "https://evil.example"),
        ("GET", ("X-Auth-Token",), "http://dashboard.example.com"),
        ("TRACE", (), PAGE),
        ("GET", ("X-User-ID",), PAGE),
    ],
)
def test_other_origins_methods_and_headers_are_not_allowed(browser, method, fields, origin):
    headers = preflight(browser, method, *fields, origin=origin)
    assert "Access-Control-Allow-Origin" not in headers


def test_response_headers_are_exposed(browser):
    answer = browser.post_json("/v1.0/services", {}, headers={"Origin": PAGE}, status=202)
    exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(",")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    for name in ("location", "etag", "x-openstack-request-id", "retry-after"):
        assert name in exposed
    for name in ("link", "allow", "accept-patch"):
        assert name in exposed


def test_allowed_origin_may_read_errors(browser, manager):
    headers = {"Origin": PAGE}
    refused = browser.get("/v1.0/nothing", headers=headers, status=404)
    assert refused.headers["Access-Control-Allow-Origin"] == PAGE
    manager.services.error = RuntimeError("a bug")
    fault = browser.get(SERVICE, headers=headers, status=500)
    assert fault.headers["Access-Control-Allow-Origin"] == PAGE
    assert fault.json["request_id"] == fault.headers["x-openstack-request-id"]


def test_cors_is_off_by_default(app):
    answer = app.get("/v1.0", headers={"Origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "Access-Control-Allow-Origin" not in preflight(app, "GET")
