# SPDX-License-Identifier: Apache-2.0
"""Mapping of the manager's errors to responses."""

import logging

import pytest

from poppy.common import errors
from poppy.transport.pecan.errors import FAULT
from tests.functional import fakes

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("no"), 400),
        (errors.SchemaInvalid(["[name]-too short"]), 400),
        (errors.DomainTaken("www.example.com"), 400),
        (errors.ServiceBusy("busy"), 400),
        (errors.LimitReached("1234", 20), 403),
        (errors.TooManyRequests("wait", 3), 429),
        (errors.NotFound("gone"), 404),
        (errors.InUse("used"), 409),
        (errors.Changed("changed"), 409),
        (errors.Unavailable("down"), 503),
        (errors.NotRunnable("inside"), 500),
        (errors.ConfigError("inside"), 500),
        (errors.RetryableError("inside"), 500),
        (errors.PoppyError("inside"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_status(app, manager, error, status):
    manager.services.error = error
    response = app.get(SERVICE, status=status)
    assert response.content_type == "application/json"
    assert response.json["request_id"] == response.headers["x-openstack-request-id"]
    if status == 500:
        assert response.json["message"] == FAULT
    elif not isinstance(error, errors.SchemaInvalid):
        assert response.json["message"] == str(error)


def test_schema_errors_are_listed(app, manager):
    manager.services.error = errors.SchemaInvalid(["[name]-<b> is too short", "[domains]-none"])
    assert app.post_json("/v1.0/services", {}, status=400).json["message"] == {
        "errors": [
            {"message": "[name]-&lt;b&gt; is too short"},
            {"message": "[domains]-none"},
        ]
    }


def test_client_input_is_escaped(app, manager):
    response = app.get("/v1.0/flavors/%3Cscript%3E&'", status=404)
    assert response.json["message"] == "There is no flavor '&lt;script&gt;&amp;''"


def test_unavailable_has_retry_after(app, manager):
    manager.services.error = errors.Unavailable("storage does not answer", retry_after=7)
    response = app.get(SERVICE, status=503)
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    "bug", [RuntimeError("secret"), KeyError("secret"), UnicodeDecodeError("utf-8", b"", 0, 1, "")]
)
def test_unexpected_error_is_logged_but_not_disclosed(app, manager, caplog, bug):
    manager.services.error = bug
    with caplog.at_level(logging.ERROR):
        response = app.get(SERVICE, status=500)
    request_id = response.headers["x-openstack-request-id"]
    assert response.json == {"message": FAULT, "request_id": request_id}
    assert len(response.headers.getall("x-openstack-request-id")) == 1
    record = next(record for record in caplog.records if request_id in record.getMessage())
    assert record.exc_info[1] is bug


def test_poppy_error_without_a_status_is_logged(app, manager, caplog):
    manager.services.error = errors.NotRunnable("secret")
    with caplog.at_level(logging.ERROR):
        response = app.get(SERVICE, status=500)
    assert "secret" not in response.text
    assert any(record.exc_info for record in caplog.records)


def test_next_request_is_served_after_an_unexpected_error(app, manager):
    manager.services.error = RuntimeError()
    app.get(SERVICE, status=500)
    manager.services.error = None
    app.get("/v1.0/services", status=200)
