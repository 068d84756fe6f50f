# SPDX-License-Identifier: Apache-2.0
"""The version and home documents, ping and health."""

import pytest

JSON = {"application/json": {}}


def test_version_document(app):
    assert app.get("/").json == {
        "versions": [
            {
                "id": "v1.0",
                "status": "CURRENT",
                "links": [{"href": "http://localhost/v1.0/", "rel": "self"}],
            }
        ]
    }


def test_home_document(app):
    assert app.get("/v1.0").json == {
        "resources": {
            "rel/services": {
                "href-template": "/services{?marker,limit}",
                "href-vars": {"marker": "param/marker", "limit": "param/limit"},
                "hints": {"allow": ["GET", "POST"], "formats": JSON},
            },
            "rel/flavors": {
                "href-template": "/flavors/{flavor_id}",
                "href-vars": {"flavor_id": "param/flavor_id"},
                "hints": {"allow": ["GET", "POST", "DELETE"], "formats": JSON},
            },
            "rel/health": {"href": "/health", "hints": {"allow": ["GET"], "formats": JSON}},
            "rel/ping": {"href": "/ping", "hints": {"allow": ["GET"], "formats": JSON}},
        }
    }


def test_ping(app):
    response = app.get("/v1.0/ping", status=204)
    assert response.body == b""
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("part", [("storage", "sqlalchemy"), ("distributed_task", "taskflow")])
def test_ping_fails_without_storage_or_job_board(app, manager, part):
    manager.health.parts[part[0]][part[1]] = False
    response = app.get("/v1.0/ping", status=503)
    assert "Retry-After" in response.headers


def test_health(app):
    def part(path):
        return {
            "online": "true",
            "links": {"href": f"http://localhost/v1.0/health/{path}", "rel": "self"},
        }

    assert app.get("/v1.0/health").json == {
        "storage": {"sqlalchemy": part("storage/sqlalchemy")},
        "dns": {"mock": part("dns/mock")},
        "distributed_task": {"taskflow": part("distributed_task/taskflow")},
        "providers": {"mock": part("provider/mock")},
    }


def test_health_links_can_be_followed(app):
    for parts in app.get("/v1.0/health").json.values():
        for part in parts.values():
            assert app.get(part["links"]["href"]).json == {"online": "true"}


def test_health_with_a_part_down(app, manager):
    manager.health.parts["providers"]["mock"] = False
    document = app.get("/v1.0/health", status=503).json
    assert document["providers"]["mock"]["online"] == "false"
    assert document["storage"]["sqlalchemy"]["online"] == "true"
    assert app.get("/v1.0/health/provider/mock", status=200).json == {"online": "false"}


@pytest.mark.parametrize("kind", ["storage", "dns", "distributed_task", "provider"])
def test_health_of_an_unknown_part(app, kind):
    app.get(f"/v1.0/health/{kind}/nothing", status=404)


def test_health_uses_the_documented_kind_for_providers(app, manager):
    manager.health.parts["provider"] = manager.health.parts.pop("providers")
    assert set(app.get("/v1.0/health").json) == {
        "storage",
        "dns",
        "distributed_task",
        "providers",
    }
