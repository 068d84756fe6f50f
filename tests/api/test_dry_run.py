# SPDX-License-Identifier: Apache-2.0
"""POST and PATCH with dry_run: the answer of the request itself, without its effects."""

import pytest

from poppy.dns.resolver import Resolver
from tests.api.conftest import Api

OTHER = "project-2"
DRY = "/v1.0/services?dry_run=true"
HTTPS = {"domain": "b.example.com", "protocol": "https", "certificate": "san"}


@pytest.fixture(params=["off", "txt"])
def owned(request, tmp_path):
    """An API with either kind of domain ownership."""
    made = Api(tmp_path, {"DEFAULT": {"domain_ownership": request.param}})
    yield made
    made.close()


def planned(api, path, *operations):
    answer = api.call("PATCH", f"{path}?dry_run=true", list(operations))
    assert answer.status_code == 200, answer.text
    return answer.json["plan"]


def replace(pointer, value):
    return {"op": "replace", "path": pointer, "value": value}


def test_plan_of_a_new_service(api):
    before = api.rows()
    document = api.document(flavor_id="both", domains=[{"domain": "a.example.com"}, HTTPS])
    answer = api.call("POST", DRY, document)
    assert answer.status_code == 200
    assert answer.json["valid"] is True
    plan = answer.json["plan"]
    assert plan["providers"] == [
        {"provider": "cdn-a", "action": "create"},
        {"provider": "cdn-b", "action": "create"},
    ]
    assert plan["dns"] == [
        {"domain": name, "name": f"{name}.cdn.example.net", "action": "create"}
        for name in ("a.example.com", "b.example.com")
    ]
    assert plan["certificates"] == [
        {"domain": "b.example.com", "certificate": "san", "action": "create"}
    ]
    assert api.rows() == before
    # The plan's document is what the request stores.
    path = api.create(**{key: value for key, value in document.items() if key != "name"})
    stored = api.call("GET", path).json
    assert {name: stored[name] for name in plan["service"] if name != "domains"} == {
        name: value for name, value in plan["service"].items() if name != "domains"
    }


def test_plan_of_a_change(api):
    path = api.create(flavor_id="both", domains=[{"domain": "a.example.com"}, HTTPS])
    api.deploy(path)
    before, shown = api.rows(), api.call("GET", path).json
    plan = planned(
        api,
        path,
        replace("/flavor_id", "standard"),
        replace("/domains", [{"domain": "a.example.com"}, {"domain": "c.example.com"}]),
    )
    assert {it["provider"]: it["action"] for it in plan["providers"]} == {
        "cdn-a": "update",
        "cdn-b": "remove",
    }
    assert {it["domain"]: it["action"] for it in plan["dns"]} == {
        "a.example.com": "update",
        "b.example.com": "remove",
        "c.example.com": "create",
    }
    assert [it["action"] for it in plan["certificates"]] == ["remove"]
    kept = planned(api, path, replace("/name", "renamed"))
    assert kept["service"]["name"] == "renamed"
    assert [it["action"] for it in kept["certificates"]] == ["keep"]
    assert api.rows() == before
    assert api.call("GET", path).json == shown


def test_empty_patch_plans_nothing(api):
    path = api.create()
    plan = planned(api, path)
    assert (plan["providers"], plan["dns"], plan["certificates"]) == ([], [], [])


def cases(api):
    """Yield requests of all kinds that the server refuses, or would delay."""
    taken = api.create("taken.example.com", project=OTHER)
    busy = api.create("busy.example.com")
    yield "POST", "/v1.0/services", {"name": "no"}
    yield "POST", "/v1.0/services", api.document(flavor_id="missing")
    yield "POST", "/v1.0/services", api.document("taken.example.com")
    yield "POST", "/v1.0/services", api.document("x.cdn.example.net")
    yield "POST", "/v1.0/services", api.document(domains=[{**HTTPS, "certificate": "shared"}])
    yield "PATCH", busy.replace(busy[-4:], "0000"), [replace("/name", "other")]
    yield "PATCH", busy, [replace("/project_id", OTHER)]
    yield "PATCH", busy, [replace("/domains/0/domain", "taken.example.com")]
    if api.harness.conf.domain_ownership == "off":
        api.deploy(taken, OTHER)
        assert api.call("DELETE", taken, project=OTHER).status_code == 202
        api.deploy(taken, OTHER)
        yield "POST", "/v1.0/services", api.document("taken.example.com")
    api.harness.storage.projects.set_limit("project-1", 1)
    yield "POST", "/v1.0/services", api.document("one.too.many.example.com")


def test_refused_as_the_request_itself(owned, monkeypatch):
    monkeypatch.setattr(Resolver, "texts", lambda *_: frozenset())
    found = 0
    for method, path, body in cases(owned):
        before = owned.rows()
        dry = owned.call(method, f"{path}?dry_run=true", body)
        assert owned.rows() == before
        real = owned.call(method, path, body)
        assert (dry.status_code, dry.json["message"]) == (real.status_code, real.json["message"])
        assert real.status_code >= 400
        found += 1
    assert found >= 9


def test_open_operations_count(tmp_path):
    storage = {"drivers:storage": {"max_open_operations_per_project": 1}}
    api = Api(tmp_path, storage)
    api.create()
    for path in (DRY, "/v1.0/services"):
        assert api.call("POST", path, api.document("b.example.com")).status_code == 429
    api.close()


def test_idempotency_key_must_be_valid(api):
    for path in (DRY, "/v1.0/services"):
        answer = api.call("POST", path, api.document(), **{"Idempotency-Key": "x" * 300})
        assert answer.status_code == 400


def test_precondition_holds(api):
    path = api.create()
    body = [replace("/name", "renamed")]
    answer = api.call("PATCH", f"{path}?dry_run=true", body, **{"If-Match": '"other"'})
    assert answer.status_code == 412


@pytest.mark.parametrize("value", ["", "yes", "1"])
def test_other_values_are_refused(api, value):
    answer = api.call("POST", f"/v1.0/services?dry_run={value}", api.document())
    assert answer.status_code == 400
    assert api.rows()["services"] == 0


def test_proof_ends_no_claim_of_another_project(tmp_path, monkeypatch):
    api = Api(tmp_path, {"DEFAULT": {"domain_ownership": "txt"}})
    squatter = api.create("a.example.com", project=OTHER)
    answer = api.call("POST", DRY, api.document("a.example.com"))
    assert "not proven" in answer.json["message"]
    value = answer.json["message"].partition("with the value ")[2].split()[0]
    monkeypatch.setattr(Resolver, "texts", lambda *_: frozenset({value}))
    assert api.call("POST", DRY, api.document("a.example.com")).status_code == 200
    claim = api.harness.storage.domains.get("a.example.com")
    assert claim.service_id == squatter.rpartition("/")[2]
    assert api.post(api.document("a.example.com")).status_code == 202
    api.close()
