# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/limits`` through the complete API."""

import pytest

from tests.api.conftest import Api
from tests.functional.harness import PROJECT

LIMITS = "/v1.0/admin/limits"


def test_projects_have_the_default_limit_until_one_is_set(api):
    answer = api.call("GET", f"{LIMITS}/{PROJECT}")
    assert (answer.status_code, answer.json) == (200, {"limit": 20})
    answer = api.call("PUT", f"{LIMITS}/{PROJECT}", {"limit": 1})
    assert (answer.status_code, answer.body) == (201, b"")
    assert api.call("GET", f"{LIMITS}/{PROJECT}").json == {"limit": 1}
    assert api.call("GET", f"{LIMITS}/another").json == {"limit": 20}


def test_new_limit_is_enforced(api):
    api.create("a.example.com")
    api.call("PUT", f"{LIMITS}/{PROJECT}", {"limit": 1})
    answer = api.post(api.document("b.example.com"))
    assert answer.status_code == 403
    assert "1 services" in answer.json["message"]
    api.call("PUT", f"{LIMITS}/{PROJECT}", {"limit": 2})
    api.create("b.example.com")
    api.call("PUT", f"{LIMITS}/{PROJECT}", {"limit": 0})
    assert len(api.call("GET", "/v1.0/services").json["services"]) == 2


@pytest.mark.parametrize(
    "body", [{}, [], None, {"limit": -1}, {"limit": "5"}, {"limit": True}, {"limit": 1, "x": 1}]
)
def test_invalid_limit_is_refused(api, body):
    answer = api.call("PUT", f"{LIMITS}/{PROJECT}", body)
    assert answer.status_code in (400, 415)
    assert api.call("GET", f"{LIMITS}/{PROJECT}").json == {"limit": 20}


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_limit_of_an_invalid_project_id_is_refused(api, method):
    body = {"limit": 1} if method == "PUT" else None
    assert api.call(method, f"{LIMITS}/a%20b", body).status_code == 400


def test_tenant_sees_the_quota_of_its_project(api):
    assert api.call("GET", "/v1.0/quota").json == {
        "services": {"limit": 20, "used": 0},
        "operations": {"limit": 500, "used": 0},
        "rate": {"changes": [], "reads": []},
    }
    path = api.create("a.example.com")
    api.create("b.example.com", project="another")
    api.call("PUT", f"{LIMITS}/{PROJECT}", {"limit": 7})
    found = api.call("GET", "/v1.0/quota").json
    assert found["services"] == {"limit": 7, "used": 1}
    assert found["operations"]["used"] == 1
    api.deploy(path)
    assert api.call("GET", "/v1.0/quota").json["operations"]["used"] == 0


def test_the_quota_has_the_limits_on_requests(tmp_path):
    limits = {"max_changes_per_project": "2/hour", "max_reads_per_project": "100/minute; 5/hour"}
    api = Api(tmp_path, {"drivers:transport:limits": limits})
    try:
        for project in (PROJECT, "another"):
            api.call("POST", "/v1.0/services", {}, project=project, **{"X-Roles": "member"})
        found = api.call("GET", "/v1.0/quota", **{"X-Roles": "member"}).json["rate"]
    finally:
        api.close()
    assert found == {
        "changes": [{"limit": 2, "seconds": 3600, "used": 1}],
        "reads": [
            {"limit": 100, "seconds": 60, "used": 1},
            {"limit": 5, "seconds": 3600, "used": 1},
        ],
    }


def test_services_have_times(api):
    path = api.create("a.example.com")
    found = api.call("GET", path).json
    assert found["created_at"] == found["updated_at"]
    assert found["created_at"].endswith("Z")
