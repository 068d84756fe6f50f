# SPDX-License-Identifier: Apache-2.0
"""Requests about services: the calls of the manager and the responses to clients."""

import pytest

from poppy.model.operations import Purge
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from tests.functional import fakes

SERVICES = "/v1.0/services"
SERVICE = f"{SERVICES}/{fakes.SERVICE_ID}"
BASE = "http://localhost/v1.0"
LOCATION = f"{BASE}/services/{fakes.SERVICE_ID}"


def shown(app, manager, **fields):
    """Return a service as GET shows it."""
    manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service(**fields)
    return app.get(SERVICE).json


def detail(status=ProviderStatus.DEPLOYED, urls=(), **fields):
    access_urls = tuple(AccessURL("www.mywebsite.com", "edge.example", url) for url in urls)
    return ProviderDetail(status=status, access_urls=access_urls, **fields)


class TestCreate:
    def test_is_accepted(self, app, manager):
        response = app.post_json(SERVICES, fakes.SPEC, status=202)
        assert response.location == LOCATION
        assert response.body == b""
        assert manager.services.calls[0][:3] == ("create", fakes.PROJECT, fakes.SPEC)

    @pytest.mark.parametrize("document", [[], None, "x", 1, True])
    def test_passes_documents_to_the_manager(self, app, manager, document):
        app.post_json(SERVICES, document, status=202)
        assert manager.services.calls[0][2] == document


class TestGet:
    def test_document(self, app, manager):
        document = shown(app, manager)
        assert document == {
            "id": fakes.SERVICE_ID,
            "project_id": fakes.PROJECT,
            "status": "deployed",
            **fakes.SPEC,
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "errors": [],
            "links": [
                {"href": LOCATION, "rel": "self"},
                {"href": f"{BASE}/flavors/standard", "rel": "flavor"},
                {"href": "www.mywebsite.com.cdn.example.net", "rel": "access_url"},
            ],
        }

    def test_keys_are_in_the_documented_order(self, app, manager):
        assert list(shown(app, manager)) == [
            "id",
            "project_id",
            "name",
            "status",
            "flavor_id",
            "domains",
            "origins",
            "caching",
            "restrictions",
            "log_delivery",
            "created_at",
            "updated_at",
            "errors",
            "links",
        ]

    def test_known_access_urls_are_shown_once(self, app, manager):
        details = {"a": detail(urls=["x.cdn", None]), "b": detail(urls=["x.cdn", "y.cdn"])}
        links = shown(app, manager, provider_details=details)["links"]
        assert [link["href"] for link in links if link["rel"] == "access_url"] == [
            "x.cdn",
            "y.cdn",
        ]

    def test_shows_errors(self, app, manager):
        failed = detail(ProviderStatus.FAILED, error_message="no", error_info="secret")
        document = shown(app, manager, provider_details={"a": failed, "b": detail()})
        assert document["status"] == "failed"
        assert document["errors"] == [{"message": "no"}]
        assert "secret" not in str(document)

    def test_shows_disabled(self, app, manager):
        assert shown(app, manager, disabled=True)["status"] == "disabled"

    @pytest.mark.parametrize(
        ("certificate", "known", "status"),
        [
            ("shared", [{}], "deployed"),
            ("san", [{}], "create_in_progress"),
            ("san", [{"www.mywebsite.com": "deployed"}], "deployed"),
            ("sni", [{"www.mywebsite.com": "deployed"}, {}], "deployed"),
            ("sni", [{"www.mywebsite.com": "cancelled"}], "cancelled"),
            (
                "sni",
                [{"www.mywebsite.com": "deployed"}, {"www.mywebsite.com": "failed"}],
                "failed",
            ),
            (
                "san",
                [{"www.mywebsite.com": "deployed"}, {"www.mywebsite.com": "create_in_progress"}],
                "create_in_progress",
            ),
            ("custom", [{"other.mywebsite.com": "deployed"}], "create_in_progress"),
        ],
    )
    def test_shows_certificate_status(self, app, manager, certificate, known, status):
        domain = {
            "domain": "www.mywebsite.com",
            "protocol": "https",
            "certificate": certificate,
        }
        details = {str(n): detail(certificates=states) for n, states in enumerate(known)}
        document = shown(app, manager, spec={"domains": [domain]}, provider_details=details)
        assert document["domains"] == [{**domain, "certificate_status": status}]

    def test_unknown_service_is_not_found(self, app):
        app.get(SERVICE, status=404)

    def test_service_of_another_project_is_not_found(self, app, manager):
        shown(app, manager)
        app.get(SERVICE, headers={"X-Project-ID": "999"}, status=404)

    def test_id_may_be_in_upper_case(self, app, manager):
        service_id = "0189ABCD-0000-7000-8000-00000000000F"
        manager.services.found[fakes.PROJECT, service_id.lower()] = fakes.service()
        app.get(f"{SERVICES}/{service_id}", status=200)

    @pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
    @pytest.mark.parametrize(
        "service_id", ["1", "x" * 36, f"{{{fakes.SERVICE_ID}}}", fakes.SERVICE_ID[:-1], "%C3%A9"]
    )
    def test_invalid_id_is_refused(self, loose, manager, method, service_id):
        loose.request(f"{SERVICES}/{service_id}", method=method, status=400)
        assert manager.services.calls == []


class TestList:
    def fill(self, manager, number):
        ids = [f"01890000-0000-7000-8000-{n:012}" for n in range(number)]
        for service_id in ids:
            manager.services.found[fakes.PROJECT, service_id] = fakes.service(service_id)
        return ids

    def test_empty(self, app):
        assert app.get(SERVICES).json == {"services": [], "links": []}

    def test_entries_are_whole_documents(self, app, manager):
        document = shown(app, manager)
        assert app.get(SERVICES).json["services"] == [document]

    def test_pages_can_be_walked(self, app, manager):
        ids = self.fill(manager, 5)
        seen, url = [], f"{SERVICES}?limit=2"
        while url:
            page = app.get(url).json
            seen += [entry["id"] for entry in page["services"]]
            url = page["links"][0]["href"] if page["links"] else None
        assert seen == ids

    def test_full_page_links_to_the_next(self, app, manager):
        ids = self.fill(manager, 12)
        assert app.get(SERVICES).json["links"] == [
            {"href": f"{BASE}/services?marker={ids[9]}&limit=10", "rel": "next"}
        ]

    @pytest.mark.parametrize("limit", ["1", "20", "007"])
    def test_limit(self, app, manager, limit):
        app.get(f"{SERVICES}?limit={limit}")
        assert manager.services.calls == [("list", fakes.PROJECT, None, int(limit))]

    @pytest.mark.parametrize(
        "limit", ["0", "21", "-1", "x", "", "1.0", "+1", "%201", "1_0", "%D9%A3", "9" * 5000]
    )
    def test_invalid_limit_is_refused(self, app, manager, limit):
        message = app.get(f"{SERVICES}?limit={limit}", status=400).json["message"]
        assert message == "Query parameter 'limit' must be a number of 1..20"
        assert manager.services.calls == []

    def test_limit_is_an_option(self, make, manager):
        app = make(limits__max_services_per_page=5)
        app.get(f"{SERVICES}?limit=6", status=400)
        app.get(SERVICES)
        assert manager.services.calls == [("list", fakes.PROJECT, None, 5)]

    @pytest.mark.parametrize("marker", ["", "x", "1234", fakes.SERVICE_ID[:-1]])
    def test_invalid_marker_is_refused(self, app, marker):
        app.get(f"{SERVICES}?marker={marker}", status=400)

    @pytest.mark.parametrize("query", ["limit=1&limit=2", f"marker={fakes.SERVICE_ID}&marker=x"])
    def test_repeated_parameter_is_refused(self, app, query):
        assert "more than once" in app.get(f"{SERVICES}?{query}", status=400).json["message"]


class TestUpdate:
    def test_is_accepted(self, app, manager):
        patch = [{"op": "replace", "path": "/name", "value": "other"}]
        response = app.patch_json(SERVICE, patch, status=202)
        assert response.location == LOCATION
        assert response.body == b""
        assert manager.services.calls[0][:4] == (
            "update",
            fakes.PROJECT,
            fakes.SERVICE_ID,
            patch,
        )


class TestDelete:
    def test_is_accepted(self, app, manager):
        response = app.delete(SERVICE, status=202)
        assert response.body == b""
        assert manager.services.calls[0][:3] == ("delete", fakes.PROJECT, fakes.SERVICE_ID)


class TestPurge:
    @pytest.mark.parametrize(
        ("query", "purge"),
        [
            ("url=/images/a.png", Purge("/images/a.png", hard=True)),
            ("url=images/a.png", Purge("/images/a.png", hard=True)),
            ("url=/a%253Fb&all=false", Purge("/a%3Fb", hard=True)),
            ("url=/a%3Fb%3Dc", Purge("/a?b=c", hard=True)),
            ("url=/a?u=http://x", Purge("/a?u=http://x", hard=True)),
            ("url=/a&url=/b", Purge("/a", True, ("/b",))),
            ("&".join(["url=/a"] * 100) + "&hard=false", Purge("/a", hard=False)),
            ("tag=a&tag=b", Purge(None, True, tags=("a", "b"))),
            ("prefix=/a/&hard=false", Purge(None, False, prefix="/a/")),
            ("host=www.mywebsite.com", Purge(None, True, host="www.mywebsite.com")),
            ("all=true", Purge(None, hard=True)),
            ("all=TRUE&hard=False", Purge(None, hard=False)),
            ("all=true&hard=true&x=y", Purge(None, hard=True)),
            ("url=/" + "x" * 2047, Purge("/" + "x" * 2047, hard=True)),
        ],
    )
    def test_is_accepted(self, app, manager, query, purge):
        response = app.delete(f"{SERVICE}/assets?{query}", status=202)
        assert response.location == LOCATION
        assert manager.services.calls[0][:4] == (
            "purge",
            fakes.PROJECT,
            fakes.SERVICE_ID,
            purge,
        )

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "all=false",
            "hard=true",
            "url=/a&all=true",
            "url=",
            "url=/%C3%A9",
            "url=/a%20b",
            "url=/a%0d%0aX:y",
            "url=/%00",
            "url=http://www.mywebsite.com/a",
            "url=/http://www.mywebsite.com/a",
            "&".join(["url=/a"] * 101),
            "tag=a&url=/a",
            "tag=a,b",
            "prefix=/a/&host=www.mywebsite.com",
            "prefix=/a/&prefix=/b/",
            "host=",
            "host=a&all=true",
            "url=/" + "x" * 2048,
            "all=yes",
            "all=",
            "all=1",
            "url=/a&hard=maybe",
            "url=/a&hard=",
            "url=/a&hard=true&hard=false",
        ],
    )
    def test_is_refused(self, app, manager, query):
        app.delete(f"{SERVICE}/assets?{query}", status=400)
        assert manager.services.calls == []

    def test_invalid_service_id_is_refused(self, app):
        app.delete("/v1.0/services/x/assets?all=true", status=400)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"urls": []},
            {"urls": ["http://www.mywebsite.com/a"]},
            {"urls": ["/a b"]},
            {"urls": ["/a"] * 101},
            {"urls": ["/a"], "hard": True},
        ],
    )
    def test_invalid_prewarm_is_refused(self, app, body):
        response = app.post_json(f"{SERVICE}/assets/prewarm", body, status=400)
        assert "url" in response.text or "hard" in response.text

    @pytest.mark.parametrize(
        ("query", "purge"),
        [
            ("", Purge(None, hard=True)),
            ("?hard=false", Purge(None, hard=False)),
            ("?url=/a", Purge("/a", hard=True)),
            ("?all=true", Purge(None, hard=True)),
        ],
    )
    def test_without_a_query_purges_everything_when_configured(self, make, manager, query, purge):
        app = make(limits__purge_without_query_is_all=True)
        app.delete(f"{SERVICE}/assets{query}", status=202)
        assert manager.services.calls[0][3] == purge

    @pytest.mark.parametrize("query", ["all=false", "url=/a&all=true", "all=", "url="])
    def test_contradictory_query_is_refused_when_configured(self, make, manager, query):
        app = make(limits__purge_without_query_is_all=True)
        app.delete(f"{SERVICE}/assets?{query}", status=400)
        assert manager.services.calls == []
