# SPDX-License-Identifier: Apache-2.0
"""Certificates through the complete API, from the order to its deletion."""

import pytest

from poppy.common import errors
from poppy.model import certificates
from poppy.provider.base import Issuance
from tests.functional.harness import PROJECT

ORDERS = "/v1.0/ssl_certificate"
ADMIN = "/v1.0/admin/certificates"
DOMAIN = "www.example.com"


def body(domain=DOMAIN, **changes):
    return {
        "flavor_id": "standard",
        "cert_type": "san",
        "domain_name": domain,
        "project_id": PROJECT,
        **changes,
    }


def order(api, domain=DOMAIN, project=PROJECT, **changes):
    answer = api.call("POST", ORDERS, body(domain, project_id=project, **changes), project=project)
    assert (answer.status_code, answer.body) == (202, b""), answer.text


def stored(api, domain=DOMAIN, cert_type="san"):
    return api.harness.storage.queries.by_claim(certificates.claim(domain, cert_type))


def settle(api, domain=DOMAIN, cert_type="san"):
    """Let a worker finish all operations of an order."""
    found = stored(api, domain, cert_type)
    with api.harness.working():
        return api.harness.settle(found.service_id, found.project_id)


def status_of(api, domain=DOMAIN):
    return api.call("GET", f"{ORDERS}/{domain}").json["status"]


def patched(api, value, domain=DOMAIN, query=""):
    patch = [{"op": "replace", "path": "/status", "value": value}]
    return api.call("PATCH", f"{ADMIN}/{domain}{query}", patch)


def test_order_is_stored_and_issued_by_a_worker(api):
    order(api)
    assert api.call("GET", f"{ORDERS}/{DOMAIN}").json == {
        "flavor_id": "standard",
        "domain_name": DOMAIN,
        "cert_type": "san",
        "cert_details": {"cdn-a": {"extra_info": {"status": "create_in_progress"}}},
        "status": "create_in_progress",
        "project_id": PROJECT,
    }
    assert api.harness.cdn_a.calls == []
    settle(api)
    document = api.call("GET", f"{ORDERS}/{DOMAIN}").json
    assert document["status"] == "deployed"
    assert document["cert_details"] == {
        "cdn-a": {"extra_info": {"serial": 7, "status": "deployed"}}
    }
    (certificate,) = api.harness.cdn_a.certificates
    assert certificate == certificates.Certificate(PROJECT, DOMAIN, "san", "standard")


def test_pending_issuance_is_polled_with_its_last_details(api):
    pending = Issuance("create_in_progress", {"enrollment": 3}, in_progress=True, poll_after=0.05)
    api.harness.cdn_a.script = [pending, errors.RetryableError("busy"), None]
    order(api)
    settle(api)
    assert status_of(api) == "deployed"
    (known,) = api.harness.cdn_a.certificates.values()
    assert (known.status, known.details) == ("create_in_progress", {"enrollment": 3})


def test_failed_order_has_a_reason_and_can_be_repeated(api):
    api.harness.cdn_a.script = [errors.PermanentError("the domain can't be validated")]
    order(api)
    settle(api)
    document = api.call("GET", f"{ORDERS}/{DOMAIN}").json
    assert document["status"] == "failed"
    info = document["cert_details"]["cdn-a"]["extra_info"]
    assert "can't be validated" in info["error"]
    order(api)
    assert status_of(api) == "create_in_progress"
    settle(api)
    assert status_of(api) == "deployed"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_final_status_of_the_provider_is_shown(api, state):
    api.harness.cdn_a.script = [Issuance(state)]
    order(api)
    settle(api)
    assert status_of(api) == state


def test_orders_are_separate_from_services(api):
    api.call("PUT", f"/v1.0/admin/limits/{PROJECT}", {"limit": 1})
    order(api)
    path = api.create(DOMAIN)
    settle(api)
    api.deploy(path)
    assert len(api.call("GET", "/v1.0/services").json["services"]) == 1
    for status in ("deployed", "create_in_progress"):
        found = api.call("GET", f"/v1.0/admin/services?status={status}").json
        assert all(entry["project_id"] == PROJECT for entry in found)
    order_id = stored(api).service_id
    assert api.call("GET", f"/v1.0/services/{order_id}").status_code == 404
    assert api.harness.dns.cnames.keys() == {f"{DOMAIN}.cdn.example.net"}


def test_domain_has_one_certificate_of_each_type(api):
    order(api)
    for project in (PROJECT, "another"):
        answer = api.call("POST", ORDERS, body(project_id=project), project=project)
        assert answer.status_code == 400
        assert "already" in answer.json["message"]
    order(api, cert_type="sni")
    found = api.call("GET", f"{ORDERS}/{DOMAIN}").json
    assert [entry["cert_type"] for entry in found] == ["san", "sni"]


def test_order_is_visible_only_to_its_project(api):
    order(api)
    assert api.call("GET", f"{ORDERS}/{DOMAIN}", project="another").status_code == 404
    url = f"{ORDERS}/{DOMAIN}?cert_type=san"
    assert api.call("DELETE", url, project="another").status_code == 400
    answer = api.call("POST", ORDERS, body("b.example.com"), project="another")
    assert answer.status_code == 400
    assert "project_id" in answer.json["message"]
    assert api.call("GET", f"{ORDERS}/{DOMAIN}").status_code == 200


def test_operators_see_all_orders(api):
    order(api)
    headers = {"X-Project-ID": "op", "X-Roles": "admin"}
    assert api.app.get(f"{ORDERS}/{DOMAIN}", headers=headers).json["project_id"] == PROJECT
    for roles in ("member", "reader"):
        answer = api.call("GET", f"{ORDERS}/{DOMAIN}", project="op", **{"X-Roles": roles})
        assert answer.status_code == 404


def test_deleted_order_is_removed_from_the_provider(api):
    order(api)
    settle(api)
    answer = api.call("DELETE", f"{ORDERS}/{DOMAIN}?cert_type=san")
    assert (answer.status_code, answer.body) == (202, b"")
    assert status_of(api) == "delete_in_progress"
    assert settle(api) is None
    assert api.call("GET", f"{ORDERS}/{DOMAIN}").status_code == 404
    assert api.harness.cdn_a.certificates == {}
    order(api)


def test_failed_delete_of_an_order_can_be_repeated(api):
    order(api)
    settle(api)
    api.harness.cdn_a.script = [errors.PermanentError("in use")]
    api.call("DELETE", f"{ORDERS}/{DOMAIN}?cert_type=san")
    settle(api)
    assert status_of(api) == "failed"
    api.call("DELETE", f"{ORDERS}/{DOMAIN}?cert_type=san")
    assert settle(api) is None


@pytest.mark.parametrize(
    "query", ["", "?cert_type=", "?cert_type=custom", "?cert_type=sni", "?cert_type=x"]
)
def test_delete_without_a_matching_order_is_refused(api, query):
    order(api)
    assert api.call("DELETE", f"{ORDERS}/{DOMAIN}{query}").status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"flavor_id": "nosuch"},
        {"cert_type": "custom"},
        {"cert_type": None},
        {"domain_name": "a_b.example.com"},
        {"domain_name": "x" * 260},
        {"domain_name": "www.cdn.example.net"},
        {"project_id": ""},
        {"project_id": "p" * 201},
        {"more": 1},
    ],
)
def test_invalid_order_is_refused(api, changes):
    assert api.call("POST", ORDERS, {**body(), **changes}).status_code == 400
    for name in body():
        lacking = {key: value for key, value in body().items() if key != name}
        assert api.call("POST", ORDERS, lacking).status_code == 400
    assert api.rows()["operations"] == 0


def test_order_is_refused_without_provider_support(api, monkeypatch):
    monkeypatch.setattr(type(api.harness.cdn_a), "SUPPORTS", frozenset())
    answer = api.call("POST", ORDERS, body())
    assert answer.status_code == 400
    assert "cdn-a" in answer.json["message"]


def test_invalid_domain_is_refused_and_unknown_domain_not_found(api):
    assert api.call("GET", f"{ORDERS}/a_b").status_code == 400
    assert api.call("GET", f"{ORDERS}/www.example.org").status_code == 404


def test_operators_list_orders_by_status(api):
    for project, domain in (("p", "a.example.com"), ("q", "b.example.com")):
        order(api, domain, project)
    api.harness.cdn_a.script = [errors.PermanentError("no")]
    settle(api, "a.example.com")
    settle(api, "b.example.com")
    by_status = {
        status: api.call("GET", f"{ADMIN}?status={status}").json
        for status in (*certificates.STATES, "delete_in_progress")
    }
    found = {
        entry["domain_name"]: (entry["project_id"], status)
        for status, entries in by_status.items()
        for entry in entries
    }
    assert {project for project, _ in found.values()} == {"p", "q"}
    assert sorted(status for _, status in found.values()) == ["deployed", "failed"]
    order(api, "c.example.com")
    order(api, "d.example.com")
    url, seen = f"{ADMIN}?status=create_in_progress&limit=1", []
    while url:
        answer = api.call("GET", url)
        seen += [entry["domain_name"] for entry in answer.json]
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<http://localhost")
    assert sorted(seen) == ["c.example.com", "d.example.com"]
    assert api.call("GET", f"{ADMIN}?status=nosuch").status_code == 400
    assert api.call("GET", ADMIN).status_code == 400


def test_operator_sets_the_status_of_a_certificate(api):
    order(api)
    settle(api)
    for value in ("cancelled", "failed", "deployed"):
        answer = patched(api, value)
        assert (answer.status_code, answer.body) == (204, b"")
        assert status_of(api) == value
        (listed,) = api.call("GET", f"{ADMIN}?status={value}").json
        assert listed["domain_name"] == DOMAIN
    calls = len(api.harness.cdn_a.calls)
    assert patched(api, "create_in_progress").status_code == 204
    settle(api)
    assert len(api.harness.cdn_a.calls) == calls + 1


def test_certificate_status_cannot_be_set_during_an_operation(api):
    order(api)
    assert patched(api, "deployed").status_code == 400
    assert patched(api, "create_in_progress").status_code == 400


def test_patch_of_several_certificates_requires_a_type(api):
    order(api)
    order(api, cert_type="sni")
    settle(api)
    settle(api, cert_type="sni")
    assert patched(api, "failed").status_code == 400
    assert patched(api, "failed", query="?cert_type=sni").status_code == 204
    found = api.call("GET", f"{ORDERS}/{DOMAIN}").json
    assert [entry["status"] for entry in found] == ["deployed", "failed"]
    assert patched(api, "failed", query="?cert_type=x").status_code == 404


@pytest.mark.parametrize(
    "patch",
    [
        {},
        [],
        [{"op": "replace", "path": "/status", "value": "nosuch"}],
        [{"op": "add", "path": "/status", "value": "failed"}],
        [{"op": "replace", "path": "/project_id", "value": "failed"}],
        [{"op": "replace", "path": "/status", "value": "failed"}] * 2,
    ],
)
def test_invalid_patch_of_a_certificate_is_refused(api, patch):
    order(api)
    settle(api)
    assert api.call("PATCH", f"{ADMIN}/{DOMAIN}", patch).status_code == 400
    assert status_of(api) == "deployed"


def test_patch_of_an_unknown_certificate_is_not_found(api):
    assert patched(api, "failed", "nobodys.example.com").status_code == 404


def test_certificate_status_of_a_service_comes_from_its_provider(api):
    domain = {"domain": DOMAIN, "protocol": "https", "certificate": "san"}
    path = api.create(domains=[domain])
    (shown,) = api.call("GET", path).json["domains"]
    assert shown == {**domain, "certificate_status": "create_in_progress"}
    api.harness.cdn_a.certificate_status = "deployed"
    api.deploy(path)
    (shown,) = api.call("GET", path).json["domains"]
    assert shown["certificate_status"] == "deployed"
