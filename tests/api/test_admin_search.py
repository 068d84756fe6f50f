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


def follow_pages(api, url):
    """Return the names of the services on each page of a tenant's list."""
    pages = []
    while url:
        answer = api.call("GET", url)
        assert answer.status_code == 200, answer.text
        pages.append([service["name"] for service in answer.json["services"]])
        links = [link["href"] for link in answer.json["links"]]
        url = links[0].removeprefix("http://localhost") if links else ""
    return pages


def test_tenant_list_is_filtered_and_sorted_by_its_parameters(api):
    tags = (["prod", "a&b"], ["prod"], ["test", "a&b"], ["a&b", "prod", "x"])
    for number, some in enumerate(tags):
        api.create(f"n{number}.example.com", name=f"site {3 - number}", tags=some)
    api.create("plain.example.com", name="site 9")
    for query, pages in (
        ("name=site%203", [["site 3"]]),
        ("name=site", [[]]),
        ("tag=prod&tag=a%26b", [["site 3", "site 0"]]),
        ("tag=prod&tag=a%26b&limit=1", [["site 3"], ["site 0"], []]),
        ("tag=prod&sort=name&limit=2", [["site 0", "site 2"], ["site 3"]]),
        ("sort=created_at&tag=test", [["site 1"]]),
        (
            "sort=status,created_at:desc&limit=5",
            [["site 9", *(f"site {n}" for n in range(4))], []],
        ),
        ("flavor_id=no-such", [[]]),
        ("domain=n1.example.com&tag=prod", [["site 2"]]),
        ("domain=n1.example.com&tag=test", [[]]),
        ("status=deployed&tag=prod", [[]]),
    ):
        assert follow_pages(api, f"/v1.0/services?{query}") == pages, query


def test_a_patch_changes_tags_and_shows_in_lists(api):
    path = api.create(tags=["a"])
    api.deploy(path)
    for patch, tags in (
        ([{"op": "add", "path": "/tags/-", "value": "b"}], ["a", "b"]),
        ([{"op": "remove", "path": "/tags/0"}], ["b"]),
        ([{"op": "remove", "path": "/tags"}], None),
    ):
        assert api.call("PATCH", path, patch).status_code == 202
        api.deploy(path)
        assert api.call("GET", path).json.get("tags") == tags
        assert len(listed(api, "tag=b")) == (tags is not None)
    patch = [{"op": "add", "path": "/tags", "value": ["a", "a"]}]
    answer = api.call("PATCH", path, patch)
    assert answer.status_code == 400
    assert "[tags]-has an entry more than once" in answer.text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sort=size", "The sort key 'size' is none of created_at, name, status, updated_at"),
        ("sort=", "The sort key '' is none of"),
        ("sort=name:", "The sort key 'name:' is none of"),
        ("sort=name:up", "The sort key 'name:up' is none of"),
        ("sort=name,name:desc", "The sort key 'name' is given more than once"),
        ("sort=name&sort=status", "'sort' is given more than once"),
        ("name=a&name=b", "'name' is given more than once"),
        ("tag=", "The tag '' has not 1..64 characters"),
        ("tag=" + "a" * 65, "has not 1..64 characters"),
        ("&".join(f"tag={n}" for n in range(21)), "'tag' may be given up to 20 times"),
        ("sort=name&marker=00000000-0000-4000-8000-000000000000", "is not in the list"),
    ],
)
def test_an_invalid_filter_is_named(shared_api, query, message):
    answer = shared_api.call("GET", f"/v1.0/services?{query}")
    assert answer.status_code == 400
    assert message in answer.json["message"]


@pytest.mark.parametrize("query", ["status=nosuch", "status=", "domain=", "domain=a%20b"])
def test_invalid_list_filter_is_refused(shared_api, query):
    assert shared_api.call("GET", f"/v1.0/services?{query}").status_code == 400
