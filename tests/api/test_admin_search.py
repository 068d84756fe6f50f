# SPDX-License-Identifier: Apache-2.0
"""Search for services: the routes for operators and the filters of a tenant's list."""

import pytest

SERVICES = "/v1.0/admin/services"
DOMAINS = "/v1.0/admin/domains"


def id_of(path):
    return path.rpartition("/")[2]


def follow(api, url):
    """Return all entries of a list, following Link headers."""
    entries = []
    while url:
        answer = api.call("GET", url)
        assert answer.status_code == 200, answer.text
        entries += answer.json
        link = answer.headers.get("Link", "")
        assert link == "" or link.endswith('>; rel="next"')
        url = link.partition(">")[0].removeprefix("<http://localhost")
    return entries


def test_operators_list_services_by_status_in_all_projects(api):
    created = {
        (project, id_of(api.create(f"{project}{n}.example.com", project=project)))
        for project in ("p", "q")
        for n in range(3)
    }
    deployed = api.create("deployed.example.com", project="p")
    for project, service_id in {*created, ("p", id_of(deployed))}:
        api.deploy(service_id, project)
    expected = [
        {"project_id": project, "service_id": service_id, "status": "deployed"}
        for project, service_id in {*created, ("p", id_of(deployed))}
    ]
    by_id = lambda entry: entry["service_id"]  # noqa: E731
    for url in (f"{SERVICES}?status=deployed", f"{SERVICES}?status=deployed&limit=2"):
        assert sorted(follow(api, url), key=by_id) == sorted(expected, key=by_id)
    assert api.call("GET", f"{SERVICES}?status=failed").json == []
    api.call("DELETE", deployed, project="p")
    (deleting,) = api.call("GET", f"{SERVICES}?status=delete_in_progress").json
    assert deleting["service_id"] == id_of(deployed)


@pytest.mark.parametrize(
    "query",
    ["", "?status=", "?status=nosuch", "?status=failed&limit=0", "?status=failed&marker=x"],
)
def test_service_search_requires_a_valid_status(shared_api, query):
    assert shared_api.call("GET", f"{SERVICES}{query}").status_code == 400


def test_operators_find_the_service_of_a_domain(api):
    path = api.create("www.example.com", project="somebody")
    answer = api.call("GET", f"{DOMAINS}/www.example.com")
    assert answer.status_code == 200
    assert answer.json == api.call("GET", path, project="somebody").json
    assert api.call("GET", f"{DOMAINS}/WWW.example.com").json == answer.json
    assert api.call("GET", f"{DOMAINS}/other.example.com").status_code == 404


@pytest.mark.parametrize(
    "domain", ["a" * 64 + ".example.com", "x." * 130 + "com", "a_b", "-a.com"]
)
def test_search_with_an_invalid_domain_is_refused(shared_api, domain):
    assert shared_api.call("GET", f"{DOMAINS}/{domain}").status_code == 400


def test_operators_find_domains_by_provider_url(api):
    path = api.create("www.example.com", project="somebody")
    api.deploy(path, "somebody")
    url = f"{DOMAINS}?provider_url=www.example.com.cdn-a.example"
    answer = api.call("GET", url)
    assert (answer.status_code, answer.json) == (200, ["www.example.com"])
    assert api.call("GET", f"{DOMAINS}?provider_url=nobody.example.com").json == []
    assert follow(api, f"{url}&limit=1") == ["www.example.com"]
    api.call("DELETE", path, project="somebody")
    api.deploy(path, "somebody")
    assert api.call("GET", url).json == []


@pytest.mark.parametrize(
    "query", ["", "?provider_url=", "?provider_url=a%20b", "?provider_url=x&provider_url=y"]
)
def test_domain_search_requires_a_valid_provider_url(shared_api, query):
    assert shared_api.call("GET", f"{DOMAINS}{query}").status_code == 400


def listed(api, query, project=None):
    answer = api.call("GET", f"/v1.0/services?{query}", project=project)
    assert answer.status_code == 200, answer.text
    return [service["id"] for service in answer.json["services"]]


def test_tenant_list_is_filtered_by_status(api):
    paths = [api.create(f"n{n}.example.com") for n in range(3)]
    for path in paths:
        api.deploy(path)
    late = [id_of(api.create(f"late{n}.example.com")) for n in range(3)]
    assert listed(api, "status=deployed") == [id_of(path) for path in paths]
    answer = api.call("GET", "/v1.0/services?status=create_in_progress&limit=2")
    assert [service["id"] for service in answer.json["services"]] == late[:2]
    (link,) = answer.json["links"]
    following = api.call("GET", link["href"].removeprefix("http://localhost"))
    assert [service["id"] for service in following.json["services"]] == late[2:]
    assert listed(api, "status=deployed", project="another") == []


def test_tenant_list_is_filtered_by_domain(api):
    mine = id_of(api.create("mine.example.com"))
    api.create("theirs.example.com", project="another")
    assert listed(api, "domain=mine.example.com") == [mine]
    assert listed(api, "domain=mine.example.com&status=create_in_progress") == [mine]
    assert listed(api, "domain=mine.example.com&status=deployed") == []
    assert listed(api, f"domain=mine.example.com&marker={mine}") == []
    assert listed(api, "domain=theirs.example.com") == []
    assert listed(api, "domain=nobodys.example.com") == []


@pytest.mark.parametrize("query", ["status=nosuch", "status=", "domain=", "domain=a%20b"])
def test_invalid_list_filter_is_refused(shared_api, query):
    assert shared_api.call("GET", f"/v1.0/services?{query}").status_code == 400
