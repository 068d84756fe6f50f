# SPDX-License-Identifier: Apache-2.0
"""Rate limits on the requests of a project."""

import time

import pytest

from poppy.common import errors
from tests.functional import fakes

CHANGES = "limits__max_changes_per_project"
READS = "limits__max_reads_per_project"


def create(app, project=fakes.PROJECT, **headers):
    return app.post_json(
        "/v1.0/services",
        fakes.SPEC,
        headers={"X-Project-ID": project, **headers},
        expect_errors=True,
    )


def read(app, project=fakes.PROJECT, **headers):
    return app.get(
        "/v1.0/services", headers={"X-Project-ID": project, **headers}, expect_errors=True
    )


def test_requests_are_not_limited_by_default(app):
    assert {create(app).status_int for _ in range(50)} == {202}


def test_too_many_requests_are_a_429_with_retry_after(make, manager):
    app = make(**{CHANGES: "3/minute"})
    assert [create(app).status_int for _ in range(4)] == [202, 202, 202, 429]
    refused = create(app)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert "limit of 3 change requests" in refused.json["message"]
    assert refused.json["request_id"] == refused.headers["x-openstack-request-id"]


def test_each_project_has_its_own_limit(make):
    app = make(**{CHANGES: "1/hour"})
    assert create(app).status_int == 202
    assert create(app).status_int == 429
    assert create(app, "another").status_int == 202


def test_reads_and_changes_are_counted_separately(make):
    app = make(**{CHANGES: "1/hour", READS: "2/hour"})
    assert [read(app).status_int for _ in range(3)] == [200, 200, 429]
    assert [create(app).status_int for _ in range(2)] == [202, 429]


def test_all_of_several_limits_apply(make):
    app = make(**{READS: "2/second; 3/hour"})
    assert read(app).status_int == 200
    statuses = [200, *(read(app).status_int for _ in range(400))]
    assert statuses.count(200) <= 3
    assert statuses[-1] == 429


def test_refused_requests_do_not_count(make):
    app = make(**{READS: "2/hour; 1/second"})
    assert read(app).status_int == 200
    # The hourly limit leaves one more request; refused requests do not use it up.
    deadline = time.monotonic() + 60
    while read(app).status_int != 200:
        assert time.monotonic() < deadline


def test_operators_are_not_limited(make):
    app = make(**{READS: "1/hour"})
    assert {read(app, **{"X-Roles": "admin"}).status_int for _ in range(5)} == {200}


def test_public_resources_are_not_limited(make):
    app = make(**{READS: "1/hour"})
    assert {app.get("/v1.0/ping").status_int for _ in range(5)} <= {200, 204}


@pytest.mark.parametrize("text", ["many", "5", "0/second", "-1/minute", "5/fortnight"])
def test_invalid_limit_is_a_config_error(make, text):
    with pytest.raises(errors.ConfigError, match="max_reads_per_project"):
        make(**{READS: text})


def test_too_many_unfinished_operations_are_a_429(app, manager, monkeypatch):
    def refuse(*_args, **_options):
        raise errors.TooManyRequests("Project p has 3 unfinished operations", 10)

    monkeypatch.setattr(manager.services, "create", refuse)
    refused = create(app)
    assert refused.status_int == 429
    assert refused.headers["Retry-After"] == "10"
    assert "3 unfinished operations" in refused.json["message"]
