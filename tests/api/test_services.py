# SPDX-License-Identifier: Apache-2.0
"""Services through the complete API: responses and stored state."""

import threading

import pytest

from tests.functional.harness import PROJECT

DEFAULT_RULE = [{"name": "default", "request_url": "/*"}]


def test_minimal_document_is_stored_with_defaults(api):
    path = api.create()
    document = api.call("GET", path).json
    service_id = path.rpartition("/")[2]
    assert document.pop("created_at") == document.pop("updated_at")
    assert document == {
        "id": service_id,
        "project_id": PROJECT,
        "name": "site",
        "status": "create_in_progress",
        "flavor_id": "standard",
        "domains": [{"domain": "www.example.com", "protocol": "http"}],
        "origins": [
            {
                "origin": "origin.example.net",
                "port": 80,
                "ssl": False,
                "hostheadertype": "domain",
                "rules": DEFAULT_RULE,
            }
        ],
        "caching": [{"name": "default", "ttl": 86400, "rules": DEFAULT_RULE}],
        "restrictions": [],
        "log_delivery": {"enabled": False},
        "errors": [],
        "links": [
            {"href": f"http://localhost/v1.0/services/{service_id}", "rel": "self"},
            {"href": "http://localhost/v1.0/flavors/standard", "rel": "flavor"},
        ],
    }


def test_post_response_is_empty_with_a_location(api):
    answer = api.post(api.document())
    assert answer.status_code == 202
    assert answer.body == b""
    assert answer.headers["Location"].startswith("http://localhost/v1.0/services/")
    assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_deployed_service_shows_access_urls(api):
    path = api.create()
    api.deploy(path)
    document = api.call("GET", path).json
    assert document["status"] == "deployed"
    assert {"href": "www.example.com.cdn.example.net", "rel": "access_url"} in document["links"]


def test_unknown_flavor_is_refused(api):
    answer = api.post(api.document(flavor_id="nosuch"))
    assert answer.status_code == 400
    assert "nosuch" in answer.json["message"]
    assert api.rows()["services"] == 0


def test_unsupported_capabilities_are_refused(api, monkeypatch):
    monkeypatch.setattr(type(api.harness.cdn_a), "SUPPORTS", frozenset())
    rule = {"name": "only us", "geography": "US"}
    restriction = {"name": "here", "access": "whitelist", "rules": [rule]}
    for changes, offender in [
        ({"restrictions": [restriction]}, "geography"),
        ({"origins": [{"origin": "o.example.net", "ssl": True, "port": 443}]}, "TLS"),
        ({"origins": [{"origin": "2001:db8::1"}]}, "IPv6"),
        ({"log_delivery": {"enabled": True}}, "log delivery"),
        ({"origins": [{"origin": "o.example.net", "path": "/a"}]}, "paths of origins"),
        (
            {"domains": [{"domain": "a.example.com", "protocol": "https", "certificate": "san"}]},
            "san certificates",
        ),
    ]:
        answer = api.post(api.document(**changes))
        assert answer.status_code == 400
        assert offender in answer.json["message"]
        assert "cdn-a" in answer.json["message"]
    assert api.rows()["services"] == 0


def test_domain_belongs_to_one_service_in_all_projects(api):
    api.create("www.example.com")
    for project in (PROJECT, "another"):
        document = api.document(domains=[{"domain": "new.example.com"}])
        document["domains"].append({"domain": "www.example.com"})
        answer = api.post(document, project=project)
        assert answer.status_code == 400
        assert answer.json["message"] == "Domain www.example.com has already been taken"
    rows = api.rows()
    assert rows["services"] == rows["domains"] == rows["operations"] == 1
    api.create("new.example.com")


def test_only_one_of_concurrent_posts_for_a_domain_is_accepted(api):
    for number in range(10):
        domain = f"race{number}.example.com"
        barrier = threading.Barrier(6)
        answers = []

        def post(project, barrier=barrier, domain=domain, answers=answers):
            barrier.wait()
            answers.append(api.post(api.document(domain), project=project).status_code)

        threads = [threading.Thread(target=post, args=(f"project-{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [202] + [400] * 5
    assert api.rows() == {"services": 10, "domains": 10, "operations": 10, "poppy_jobs": 10}


def test_only_one_of_concurrent_changes_of_a_service_is_accepted(api):
    path = api.create()
    api.deploy(path)
    barrier = threading.Barrier(6)
    answers = []

    def change(number):
        patch = [{"op": "replace", "path": "/name", "value": f"name {number}"}]
        barrier.wait()
        answers.append((api.call("PATCH", path, patch).status_code, f"name {number}"))

    threads = [threading.Thread(target=change, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [202] + [400] * 5
    assert api.call("GET", path).json["name"] == min(answers)[1]


def test_number_of_services_per_project_is_limited(api):
    for number in range(20):
        api.create(f"n{number}.example.com")
    answer = api.post(api.document("one-more.example.com"))
    assert answer.status_code == 403
    assert "20" in answer.json["message"]
    api.create("one-more.example.com", project="another")


def test_list_pages_are_linked(api):
    created = [api.create(f"n{number}.example.com") for number in range(7)]
    seen, url = [], "/v1.0/services?limit=3"
    while url:
        page = api.call("GET", url).json
        seen += [f"/v1.0/services/{service['id']}" for service in page["services"]]
        links = {link["rel"]: link["href"] for link in page["links"]}
        url = links.get("next", "").removeprefix("http://localhost")
    assert seen == created, "in order of creation"


def test_other_projects_have_no_access(api):
    path = api.create()
    api.deploy(path)
    patch = [{"op": "replace", "path": "/name", "value": "mine"}]
    calls = [
        ("GET", path, None),
        ("PATCH", path, patch),
        ("DELETE", path, None),
        ("DELETE", path + "/assets?all=true", None),
    ]
    before = api.rows()
    for method, where, body in calls:
        assert api.call(method, where, body, project="another").status_code == 404
    assert api.call("GET", "/v1.0/services", project="another").json["services"] == []
    assert api.rows() == before
    assert api.call("GET", path).json["status"] == "deployed"


def test_patch_changes_the_document_and_shows_update_in_progress(api):
    path = api.create()
    api.deploy(path)
    patch = [
        {"op": "test", "path": "/project_id", "value": PROJECT},
        {"op": "replace", "path": "/caching/0/ttl", "value": 60},
        {"op": "add", "path": "/domains/-", "value": {"domain": "two.example.com"}},
    ]
    answer = api.call("PATCH", path, patch)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"http://localhost{path}"
    document = api.call("GET", path).json
    assert document["status"] == "update_in_progress"
    assert document["caching"][0]["ttl"] == 60
    assert [entry["domain"] for entry in document["domains"]] == [
        "www.example.com",
        "two.example.com",
    ]
    api.deploy(path)
    assert api.call("GET", path).json["status"] == "deployed"


@pytest.mark.parametrize(
    ("patch", "offender"),
    [
        ({"op": "replace"}, "not of type"),
        ([{"op": "change", "path": "/name"}], "change"),
        ([{"op": "remove", "path": "/name"}], "name"),
        ([{"op": "replace", "path": "/status", "value": "deployed"}], "/status"),
        ([{"op": "add", "path": "/status", "value": "deployed"}], "status"),
        ([{"op": "replace", "path": "/project_id", "value": "other"}], "project"),
        ([{"op": "remove", "path": "/project_id"}], "project"),
        ([{"op": "replace", "path": "/flavor_id", "value": "nosuch"}], "nosuch"),
        ([{"op": "replace", "path": "/domains/0/domain", "value": "example.com"}], "root domain"),
        ([{"op": "replace", "path": "/domains/0/domain", "value": "b.example.com"}], "taken"),
        ([{"op": "add", "path": "/domains/-", "value": {"domain": "www.example.com"}}], "www."),
        ([{"op": "test", "path": "/name", "value": "other"}], "/name"),
        ([{"op": "replace", "path": "", "value": None}], "[document]"),
    ],
)
def test_invalid_patch_is_refused_and_changes_nothing(shared_api, patch, offender):
    api = shared_api
    path = api.create("www.example.com")
    other = api.create("b.example.com", project="another")
    try:
        api.deploy(path)
        before = api.call("GET", path).json, api.rows()
        answer = api.call("PATCH", path, patch)
        assert answer.status_code == 400
        assert offender in str(answer.json["message"])
        assert (api.call("GET", path).json, api.rows()) == before
    finally:
        api.call("DELETE", path)
        api.call("DELETE", other, project="another")
        api.deploy(path)
        api.deploy(other, project="another")


def test_service_in_creation_cannot_be_changed_or_purged(api):
    path = api.create()
    patch = [{"op": "replace", "path": "/name", "value": "another"}]
    for method, where, body in [
        ("PATCH", path, patch),
        ("DELETE", path + "/assets?all=true", None),
    ]:
        answer = api.call(method, where, body)
        assert answer.status_code == 400
        assert "create_in_progress" in answer.json["message"]


def test_delete_is_accepted_at_any_time_and_repeatedly(api):
    path = api.create()
    for _ in range(3):
        answer = api.call("DELETE", path)
        assert answer.status_code == 202
        assert answer.body == b""
        assert api.call("GET", path).json["status"] == "delete_in_progress"
    api.deploy(path)
    assert api.call("GET", path).status_code == 404
    assert api.call("DELETE", path).status_code == 404
    api.create()


def test_purges_are_accepted_for_a_deployed_service(api):
    path = api.create()
    api.deploy(path)
    for query in ("all=true", "url=/a.png", "all=true&hard=true", "url=/b&hard=True"):
        answer = api.call("DELETE", f"{path}/assets?{query}")
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"http://localhost{path}"
        assert api.call("GET", path).json["status"] == "deployed"
        # Otherwise the next purge would join it.
        api.deploy(path)
    assert api.call("DELETE", f"{path}/assets?url=/c&hard=false").status_code == 202
    assert api.call("GET", path).json["status"] == "update_in_progress"
    api.deploy(path)
    assert [purge.url for purge in api.harness.cdn_a.purges] == [None, "/a.png", None, "/b", "/c"]
    assert [purge.hard for purge in api.harness.cdn_a.purges] == [True] * 4 + [False]


def test_soft_purge_is_refused_without_provider_support(api, monkeypatch):
    path = api.create()
    api.deploy(path)
    monkeypatch.setattr(type(api.harness.cdn_a), "SUPPORTS", frozenset())
    answer = api.call("DELETE", path + "/assets?all=true&hard=false")
    assert answer.status_code == 400
    assert "hard=true" in answer.json["message"]
    assert api.call("DELETE", path + "/assets?all=true&hard=true").status_code == 202


def test_flavor_in_use_cannot_be_deleted(api):
    path = api.create()
    assert api.call("DELETE", "/v1.0/flavors/standard").status_code == 409
    api.call("DELETE", path)
    api.deploy(path)
    assert api.call("DELETE", "/v1.0/flavors/standard").status_code == 204
    assert api.call("DELETE", "/v1.0/flavors/standard").status_code == 404


def test_flavor_with_an_unknown_provider_is_refused(api):
    links = [{"href": "http://example.com", "rel": "provider_url"}]
    body = {"id": "fast", "providers": [{"provider": "nosuch", "links": links}]}
    answer = api.call("POST", "/v1.0/flavors", body)
    assert answer.status_code == 400
    assert "nosuch" in answer.json["message"]


def test_shared_domain_keeps_its_shard(api):
    group = "drivers:dns:scripted"
    api.harness.conf.set_override("shared_ssl_num_shards", 1, group=group)
    shared = {"domain": "shop", "protocol": "https", "certificate": "shared"}
    path = api.create(domains=[shared])
    domain = api.call("GET", path).json["domains"][0]
    assert domain["domain"] == "shop.scdn0.secure.example.net"
    assert domain["certificate_status"] == "deployed"
    answer = api.post(api.document(domains=[shared]), project="another")
    assert answer.status_code == 400
    assert "shop" in answer.json["message"]
    api.deploy(path)
    patch = [{"op": "replace", "path": "/name", "value": "renamed"}]
    assert api.call("PATCH", path, patch).status_code == 202
    api.deploy(path)
    assert api.call("GET", path).json["domains"][0]["domain"] == domain["domain"]


def test_health_and_ping_of_a_healthy_installation(api):
    assert api.call("GET", "/v1.0/ping").status_code == 204
    document = api.call("GET", "/v1.0/health").json
    assert {kind: list(parts) for kind, parts in document.items()} == {
        "storage": [api.harness.storage.name],
        "dns": ["scripted"],
        "distributed_task": ["taskflow"],
        "providers": ["cdn-a", "cdn-b"],
    }
    for parts in document.values():
        for part in parts.values():
            path = part["links"]["href"].removeprefix("http://localhost")
            assert api.call("GET", path).json == {"online": "true"}


def test_provider_outage_shows_in_health_but_not_in_ping(api, monkeypatch):
    monkeypatch.setattr(api.harness.cdn_b, "health", lambda: False)
    api.harness.boot.manager.health.__init__(
        api.harness.storage,
        api.harness.boot.distributed_task,
        api.harness.boot.providers,
        api.harness.dns,
    )
    answer = api.call("GET", "/v1.0/health")
    assert answer.status_code == 503
    assert answer.json["providers"]["cdn-b"]["online"] == "false"
    assert api.call("GET", "/v1.0/ping").status_code == 204


class TestOptionalFields:
    FIELDS = {
        "delivery": {"compression": "gzip", "websockets": False},
        "redirects": [{"name": "r", "request_url": "/a/*", "location": "/$1", "status": 308}],
        "cors": {"allow_origins": ["https://app.example.com"]},
    }

    @pytest.fixture
    def path(self, api):
        path = api.create(**self.FIELDS)
        api.deploy(path)
        return path

    def _shown(self, api, path, patch):
        assert api.call("PATCH", path, patch).status_code == 202
        assert api.deploy(path).status == "deployed"
        document = api.call("GET", path).json
        return {name: document[name] for name in self.FIELDS if name in document}

    def test_a_patch_of_a_client_that_does_not_know_them_keeps_them(self, api, path):
        patch = [
            {"op": "replace", "path": "/name", "value": "renamed"},
            {"op": "add", "path": "/domains/-", "value": {"domain": "img.example.com"}},
            {"op": "replace", "path": "/caching", "value": [{"name": "c", "ttl": 5}]},
        ]
        assert self._shown(api, path, patch) == self.FIELDS

    def test_a_patch_adds_changes_and_removes_them(self, api, path):
        patch = [
            {"op": "add", "path": "/cors/max_age", "value": 60},
            {"op": "remove", "path": "/delivery/websockets"},
            {"op": "remove", "path": "/redirects/0/status"},
        ]
        assert self._shown(api, path, patch) == {
            "delivery": {"compression": "gzip"},
            "redirects": [{"name": "r", "request_url": "/a/*", "location": "/$1"}],
            "cors": {"allow_origins": ["https://app.example.com"], "max_age": 60},
        }
        assert (
            self._shown(api, path, [{"op": "remove", "path": f"/{name}"} for name in self.FIELDS])
            == {}
        )
