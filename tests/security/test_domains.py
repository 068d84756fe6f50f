# SPDX-License-Identifier: Apache-2.0
"""A hostile tenant tries to claim domains of other tenants and of the operator."""

import pytest

from poppy.model.operations import State
from tests.api.conftest import Api
from tests.functional.harness import PROJECT, ScriptedProvider
from tests.real.bind import EMPTY_ZONE, Bind

HOSTILE = "hostile-project"
DOMAIN = "www.example.org"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a factory of APIs with options of [DEFAULT]; their edge is edge.example.net."""
    monkeypatch.setattr(ScriptedProvider, "reserved_names", ("edge.example.net",))
    made = []

    def make(resolver=None, **options):
        groups = {"DEFAULT": {"domain_ownership_interval": 0.1, **options}}
        if resolver:
            groups["resolver"] = {"nameservers": resolver, "authoritative": "false"}
        made.append(Api(tmp_path, groups, max_age=made_up(options)))
        return made[-1]

    def made_up(options):
        return options.pop("max_age", 86400)

    yield make
    for api in made:
        api.harness.close()


def deleted(api, path):
    """Delete a service and wait until it is gone."""
    assert api.call("DELETE", path).status_code == 202
    api.deploy(path)
    assert api.call("GET", path).status_code == 404


class TestQuarantine:
    def test_deleted_domain_is_reserved_for_its_former_project(self, make):
        api = make()
        path = api.create(DOMAIN)
        api.deploy(path)
        deleted(api, path)
        answer = api.post(api.document(DOMAIN), project=HOSTILE)
        assert answer.status_code == 400
        message = answer.json["message"]
        assert message.startswith(f"Domain {DOMAIN} was released recently and is not available")
        assert PROJECT not in message
        key = {"Idempotency-Key": '"k-1"'}
        answer = api.post(api.document(DOMAIN), project=HOSTILE, **key)
        assert (answer.status_code, answer.json["message"]) == (400, message)
        other = api.create("www.example.com", project=HOSTILE)
        api.deploy(other, HOSTILE)
        patch = [{"op": "add", "path": "/domains/-", "value": {"domain": DOMAIN}}]
        answer = api.call("PATCH", other, patch, project=HOSTILE)
        assert (answer.status_code, answer.json["message"]) == (400, message)
        api.create(DOMAIN)

    def test_dropped_domain_is_reserved_for_its_project(self, make):
        api = make()
        path = api.create(domains=[{"domain": DOMAIN}, {"domain": "b.example.org"}])
        api.deploy(path)
        assert api.call("PATCH", path, [{"op": "remove", "path": "/domains/0"}]).status_code == 202
        api.deploy(path)
        answer = api.post(api.document(DOMAIN), project=HOSTILE)
        assert "was released recently" in answer.json["message"]
        api.create(DOMAIN)


class TestReservedNames:
    @pytest.mark.parametrize(
        "name",
        [
            *("edge.example.net", "www.edge.example.net", "EDGE.example.net", "edge.example.net."),
            *("www.victim.example.com.cdn.example.net", "shop.scdn0.secure.example.net"),
            *("notfound.example.net", "login.example.edu", "a.xn--bcher-kva.example"),
            *("a.BÜCHER.example", "a.bücher.example", "a。edge.example.net"),
        ],
    )
    def test_reserved_name_is_refused_in_any_spelling(self, make, name):
        api = make(reserved_domains="login.example.edu, .bücher.example")
        before = api.rows()
        answer = api.post(api.document(name), project=HOSTILE)
        assert answer.status_code == 400
        assert api.rows() == before
        path = api.create(DOMAIN)
        api.deploy(path)
        patch = [{"op": "add", "path": "/domains/-", "value": {"domain": name}}]
        assert api.call("PATCH", path, patch).status_code == 400
        order = {
            "flavor_id": "standard",
            "cert_type": "san",
            "domain_name": name,
            "project_id": HOSTILE,
        }
        answer = api.call("POST", "/v1.0/ssl_certificate", order, project=HOSTILE)
        assert answer.status_code == 400

    @pytest.mark.parametrize(
        "origin", ["edge.example.net", "X.Edge.example.NET", "www.a.example.com.cdn.example.net"]
    )
    def test_reserved_name_is_refused_as_an_origin(self, make, origin):
        api = make()
        answer = api.post(api.document(DOMAIN, origins=[{"origin": origin}]), project=HOSTILE)
        assert answer.status_code == 400
        assert "would return to the edge" in answer.json["message"]
        assert origin.lower() in answer.json["message"]


@pytest.mark.real
class TestProof:
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls):
        with Bind(**{"example.org": EMPTY_ZONE}) as server:
            yield server

    @pytest.fixture
    def bind(self, server):
        yield server
        for name, kind in server.records("example.org"):
            if kind == "TXT":
                server.change("example.org", (name, kind))

    @pytest.fixture
    def api(self, make, bind):
        return make(bind.address, domain_ownership="txt")

    def waits(self, api, path, project=PROJECT):
        """Run a worker until the service waits; return the service's document."""
        service_id = path.rpartition("/")[2]
        operations = api.harness.storage.operations
        with api.harness.working():
            api.harness.wait(
                lambda: any(
                    it.state is State.WAITING for it in operations.list(project, service_id)
                )
            )
        return api.call("GET", path, project=project).json

    def add(self, bind, record, name=None, value=None):
        text = f'"{value or record["value"]}"'
        bind.change("example.org", (name or record["name"], "TXT", text))

    def test_nothing_is_deployed_before_the_record_exists(self, api, bind):
        path = api.create(DOMAIN)
        (record,) = api.call("GET", path).json["dns_records"]
        assert record["name"] == f"_poppy-challenge.{DOMAIN}"
        assert (record["type"], record["purpose"]) == ("TXT", "ownership")
        assert (record["status"], record["checked_at"]) == ("missing", None)
        document = self.waits(api, path)
        (record,) = document["dns_records"]
        assert record["status"] == "missing"
        assert record["checked_at"]
        assert document["status"] == "create_in_progress"
        assert api.harness.cdn_a.calls == []
        assert api.harness.dns.cnames == {}
        reason = api.call("GET", f"{path}/operations").json["operations"][0]["reason"]
        assert record["name"] in reason
        assert record["value"] in reason
        self.add(bind, record)
        api.deploy(path)
        document = api.call("GET", path).json
        assert document["status"] == "deployed"
        assert document["dns_records"][0]["status"] == "ok"
        assert list(api.harness.dns.cnames) == [f"{DOMAIN}.cdn.example.net"]

    def test_running_worker_deploys_soon_after_the_record_exists(self, api, bind):
        path = api.create(DOMAIN)
        (record,) = api.call("GET", path).json["dns_records"]
        service_id = path.rpartition("/")[2]
        with api.harness.working():
            api.harness.wait(lambda: api.harness.is_waiting(service_id))
            self.add(bind, record)
            api.harness.settle(service_id)
        assert api.call("GET", path).json["status"] == "deployed"

    def test_record_at_the_registrable_domain_proves_all_subdomains(self, api, bind):
        path = api.create(DOMAIN)
        (record,) = api.call("GET", path).json["dns_records"]
        self.add(bind, record, "_poppy-challenge.example.org")
        api.deploy(path)
        other = api.create("a.b.example.org")
        api.deploy(other)
        assert api.call("GET", other).json["status"] == "deployed"

    def test_deployed_domain_is_not_checked_again(self, api, bind):
        path = api.create(DOMAIN)
        (record,) = api.call("GET", path).json["dns_records"]
        self.add(bind, record)
        api.deploy(path)
        bind.change("example.org", (record["name"], "TXT"))
        patch = [{"op": "add", "path": "/domains/-", "value": {"domain": "new.example.org"}}]
        assert api.call("PATCH", path, patch).status_code == 202
        document = self.waits(api, path)
        proofs = [it["status"] for it in document["dns_records"] if it["purpose"] == "ownership"]
        assert proofs == ["ok", "missing"]
        assert list(api.harness.dns.cnames) == [f"{DOMAIN}.cdn.example.net"]
        assert api.harness.cdn_a.calls == ["ensure"]

    def test_record_of_one_project_does_not_prove_another(self, api, bind):
        mine = api.create(DOMAIN)
        theirs = api.create("their.example.org", project=HOSTILE)
        (record,) = api.call("GET", mine).json["dns_records"]
        self.add(bind, record)
        # The hostile tenant copies the record from DNS to its own domain.
        self.add(bind, record, "_poppy-challenge.their.example.org")
        (record,) = self.waits(api, theirs, HOSTILE)["dns_records"]
        assert record["status"] == "wrong"
        assert "their.example.org.cdn.example.net" not in api.harness.dns.cnames

    def test_owner_takes_over_an_unproven_domain(self, api, bind):
        squat = api.create(DOMAIN, project=HOSTILE)
        self.waits(api, squat, HOSTILE)
        answer = api.post(api.document(DOMAIN))
        assert answer.status_code == 400
        assert "but not proven" in answer.json["message"]
        name, value = "_poppy-challenge.www.example.org", answer.json["message"].split()[-4]
        assert name in answer.json["message"]
        self.add(bind, {}, name, value)
        path = api.create(DOMAIN)
        api.deploy(path)
        assert api.call("GET", path).json["status"] == "deployed"
        api.deploy(squat, HOSTILE)
        document = api.call("GET", squat, project=HOSTILE).json
        assert document["status"] == "failed"
        assert "was revoked before it was proven" in document["errors"][0]["message"]
        # A change can't regain the domain, and a deletion does not affect the owner's record.
        patch = [{"op": "replace", "path": "/name", "value": "again"}]
        answer = api.call("PATCH", squat, patch, project=HOSTILE)
        assert (answer.status_code, answer.json["message"]) == (
            400,
            f"Domain {DOMAIN} has already been taken",
        )
        assert api.call("DELETE", squat, project=HOSTILE).status_code == 202
        api.deploy(squat, HOSTILE)
        assert f"{DOMAIN}.cdn.example.net" in api.harness.dns.cnames
        assert api.post(api.document(DOMAIN), project=HOSTILE).status_code == 400

    def test_proven_domain_can_not_be_taken_over(self, api, bind):
        path = api.create(DOMAIN)
        (record,) = api.call("GET", path).json["dns_records"]
        self.add(bind, record)
        api.deploy(path)
        answer = api.post(api.document(DOMAIN), project=HOSTILE)
        assert answer.json["message"] == f"Domain {DOMAIN} has already been taken"

    def test_proof_ends_the_quarantine_of_another_project(self, api, bind):
        path = api.create(DOMAIN)
        (record,) = api.call("GET", path).json["dns_records"]
        self.add(bind, record)
        api.deploy(path)
        deleted(api, path)
        answer = api.post(api.document(DOMAIN), project="new-owner")
        assert "was released recently" in answer.json["message"]
        other = api.create("other.example.org", project="new-owner")
        (record,) = api.call("GET", other, project="new-owner").json["dns_records"]
        self.add(bind, record, f"_poppy-challenge.{DOMAIN}")
        path = api.create(DOMAIN, project="new-owner")
        api.deploy(path, "new-owner")
        assert api.call("GET", path, project="new-owner").json["status"] == "deployed"

    def test_failure_at_max_age_names_the_record(self, make, bind):
        api = make(bind.address, domain_ownership="txt", max_age=1)
        path = api.create(DOMAIN)
        api.deploy(path)
        document = api.call("GET", path).json
        assert document["status"] == "failed"
        assert f"_poppy-challenge.{DOMAIN}" in document["errors"][0]["message"]
        assert api.harness.cdn_a.calls == []
        # An unproven domain has no quarantine: it is free once its service is deleted.
        deleted(api, path)
        api.create(DOMAIN, project=HOSTILE)

    def test_shared_domain_needs_no_proof(self, api, bind):
        api.harness.conf.set_override("shared_ssl_num_shards", 1, "drivers:dns:scripted")
        shared = {"domain": "shop", "protocol": "https", "certificate": "shared"}
        path = api.create(domains=[shared])
        assert "dns_records" not in api.call("GET", path).json
        api.deploy(path)
        assert api.call("GET", path).json["status"] == "deployed"


def test_without_proof_only_the_record_for_traffic_is_shown(make):
    api = make()
    path = api.create(DOMAIN)
    assert "dns_records" not in api.call("GET", path).json
    api.deploy(path)
    (record,) = api.call("GET", path).json["dns_records"]
    assert (record["purpose"], record["status"], record["checked_at"]) == (
        "traffic",
        "missing",
        None,
    )
    assert (record["type"], record["name"]) == ("CNAME", DOMAIN)
    assert record["value"] == f"{DOMAIN}.cdn.example.net"
