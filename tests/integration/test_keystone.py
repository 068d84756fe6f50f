# SPDX-License-Identifier: Apache-2.0
"""The whole API behind a real Keystone."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import re
import secrets
from types import SimpleNamespace

import pytest

from poppy.model import ids
from tests.api.conftest import Api
from tests.real.fixtures import keystone  # noqa: F401
from tests.real.poppy import free_port

pytestmark = pytest.mark.real

LINKS = [{"href": "http://example.com", "rel": "provider_url"}]
SYSTEM = {"system": {"all": True}}


def flavor():
    name = f"flavor-{secrets.token_hex(4)}"
    return {"id": name, "providers": [{"provider": "cdn-a", "links": LINKS}]}


@pytest.fixture(scope="module")
def people(keystone):
    """Two projects, and tokens of users with different roles."""
    ours, theirs = (keystone.project(f"{name}-{secrets.token_hex(4)}") for name in ("a", "b"))
    member = keystone.user(ours, "member")
    operator = keystone.user(None, "admin", system=True)
    return SimpleNamespace(
        ours=ours,
        theirs=theirs,
        member=member,
        tokens={
            "reader": keystone.token(keystone.user(ours, "reader"), ours),
            "member": keystone.token(member, ours),
            "admin": keystone.token(keystone.user(ours, "admin"), ours),
            "stranger": keystone.token(keystone.user(theirs, "member"), theirs),
            "nobody": keystone.token(keystone.user(ours, "service"), ours),
            "unscoped": keystone.token(member, None),
            "system": keystone.token(operator, SYSTEM),
            "auditor": keystone.token(keystone.user(None, "reader", system=True), SYSTEM),
        },
    )


def poppy(directory, keystone, **changes):
    """Return an API that uses this Keystone."""
    conf = keystone.conf
    conf["keystone_authtoken"] |= {"token_cache_time": -1, **changes}
    made = Api(directory, conf)
    made.headers = {}
    return made


@pytest.fixture(scope="module")
def api(keystone, tmp_path_factory):
    made = poppy(tmp_path_factory.mktemp("keystone"), keystone)
    yield made
    made.close()


@pytest.fixture
def call(api, people):
    """A function that sends a request with a user's token and checks error responses."""

    def call(who, method, path, body=None, **headers):
        token = people.tokens.get(who, who)
        if token is not None:
            headers["X-Auth-Token"] = token
        answer = api.call(method, path, body, **headers)
        if answer.status_code >= 400:
            assert set(answer.json) == {"message", "request_id"}
        return answer

    return call


def document(api, name=None):
    return api.document(f"{name or secrets.token_hex(4)}.example.com")


class TestTokens:
    def check_refused(self, answer, keystone):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'
        assert "X-Auth-Token" in answer.json["message"]

    def test_requests_without_a_token_are_refused(self, call, keystone):
        for path in ("/v1.0", "/v1.0/services", "/v1.0/flavors", "/v1.0/flavors/standard"):
            self.check_refused(call(None, "GET", path), keystone)

    def test_every_protected_route_needs_a_token(self, call, api, keystone):
        paths = api.call("GET", "/v1.0/openapi.json").json["paths"]
        for template, methods in paths.items():
            path = template.replace("{service_id}", ids.new())
            path = re.sub(r"{\w+}", "anything", path)
            for method, operation in methods.items():
                if {"token": []} in operation["security"]:
                    answer = api.app.request(path, method=method.upper(), expect_errors=True)
                    self.check_refused(answer, keystone)

    @pytest.mark.parametrize("token", ["", "x", "x" * 5000, "gAAAAAB" + "A" * 200, "é"])
    def test_invalid_tokens_are_refused(self, api, keystone, token):
        environ = {"HTTP_X_AUTH_TOKEN": token}
        answer = api.app.get("/v1.0/services", extra_environ=environ, expect_errors=True)
        self.check_refused(answer, keystone)

    def test_expired_tokens_are_refused(self, call, keystone, people):
        token = keystone.expired_token(people.member, people.ours)
        self.check_refused(call(token, "GET", "/v1.0/services"), keystone)

    def test_revoked_tokens_are_refused(self, call, keystone, people):
        token = keystone.token(people.member, people.ours)
        assert call(token, "GET", "/v1.0/services").status_code == 200
        keystone.revoke(token)
        self.check_refused(call(token, "GET", "/v1.0/services"), keystone)

    def test_unscoped_tokens_reach_no_project(self, call):
        assert call("unscoped", "GET", "/v1.0/services").status_code == 403
        assert call("unscoped", "GET", "/v1.0/flavors").status_code == 403

    @pytest.mark.parametrize("token", [None, "garbage"])
    def test_public_routes_need_no_token(self, call, token):
        for path in ("/", "/v1.0/ping", "/v1.0/health", "/v1.0/health/dns/scripted"):
            assert call(token, "GET", path).status_code in (200, 204)
        assert call(token, "OPTIONS", "/v1.0/services").status_code == 204
        assert call(token, "GET", "/v1.0/nothing").status_code == 404

    def test_identity_headers_of_clients_are_ignored(self, call, api, people):
        path = call("member", "POST", "/v1.0/services", document(api)).headers["Location"]
        path = path.removeprefix("http://localhost")
        forged = {
            "X-Project-ID": people.ours,
            "X-Tenant-Id": people.ours,
            "X-Roles": "admin,member,reader",
            "X-Role": "admin",
            "X-Identity-Status": "Confirmed",
            "X-Service-Identity-Status": "Confirmed",
            "X-Service-Roles": "service",
            "X-User-Id": "root",
            "X-Is-Admin-Project": "True",
            "OpenStack-System-Scope": "all",
        }
        assert call(None, "GET", path, **forged).status_code == 401
        assert call("stranger", "GET", path, **forged).status_code == 404
        assert call("stranger", "DELETE", path, **forged).status_code == 404
        assert call("stranger", "GET", "/v1.0/services", **forged).json["services"] == []
        assert call("reader", "DELETE", path, **forged).status_code == 403
        assert call("member", "POST", "/v1.0/flavors", flavor(), **forged).status_code == 403
        assert call("nobody", "GET", path, **forged).status_code == 403
        assert call("member", "GET", path).json["project_id"] == people.ours


class TestRoles:
    def test_readers_can_read(self, call):
        assert call("reader", "GET", "/v1.0").status_code == 200
        assert call("reader", "GET", "/v1.0/services").status_code == 200
        assert call("reader", "HEAD", "/v1.0/services").status_code == 200
        assert call("reader", "GET", "/v1.0/flavors").status_code == 200

    def test_readers_can_not_change_anything(self, call, api):
        path = call("member", "POST", "/v1.0/services", document(api)).headers["Location"]
        path = path.removeprefix("http://localhost")
        patch = [{"op": "replace", "path": "/name", "value": "mine"}]
        before = api.rows()
        for method, where, body in [
            ("POST", "/v1.0/services", document(api)),
            ("PATCH", path, patch),
            ("DELETE", path, None),
            ("DELETE", f"{path}/assets?all=true", None),
            ("POST", "/v1.0/flavors", flavor()),
            ("DELETE", "/v1.0/flavors/standard", None),
        ]:
            answer = call("reader", method, where, body)
            assert answer.status_code == 403
            assert "cdn:" in answer.json["message"]
        assert api.rows() == before

    def test_members_can_change_services_of_their_project(self, call, api):
        answer = call("member", "POST", "/v1.0/services", document(api))
        assert answer.status_code == 202
        path = answer.headers["Location"].removeprefix("http://localhost")
        assert call("reader", "GET", path).status_code == 200
        assert call("stranger", "GET", path).status_code == 404
        assert call("member", "DELETE", path).status_code == 202

    def test_members_can_not_change_flavors(self, call):
        assert call("member", "POST", "/v1.0/flavors", flavor()).status_code == 403
        assert call("member", "DELETE", "/v1.0/flavors/both").status_code == 403

    @pytest.mark.parametrize("who", ["admin", "system"])
    def test_admins_can_create_and_delete_flavors(self, call, who):
        made = flavor()
        assert call(who, "POST", "/v1.0/flavors", made).status_code == 201
        assert call(who, "DELETE", f"/v1.0/flavors/{made['id']}").status_code == 204

    def test_system_roles_apply_to_no_project(self, call):
        answer = call("system", "GET", "/v1.0/services")
        assert answer.status_code == 403
        assert "project" in answer.json["message"]


ADMIN_READS = (
    "/v1.0/admin/services?status=deployed",
    "/v1.0/admin/domains?provider_url=x.example.com",
    "/v1.0/admin/limits/42",
    "/v1.0/admin/certificates?status=deployed",
    "/v1.0/admin/operations",
)


class TestAuditor:
    """A system user with the role reader reads what operators read, but changes nothing."""

    @pytest.mark.parametrize("path", ADMIN_READS)
    def test_reads_what_operators_read(self, call, path):
        assert call("auditor", "GET", path).status_code == 200
        assert call("reader", "GET", path).status_code == 403
        assert call("member", "GET", path).status_code == 403

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PUT", "/v1.0/admin/limits/42", {"limit": 1}),
            ("POST", "/v1.0/admin/services/action", {"action": "delete", "project_id": "42"}),
            ("POST", "/v1.0/flavors", flavor()),
            ("DELETE", "/v1.0/flavors/both", None),
            ("DELETE", "/v1.0/ssl_certificate/www.example.com?cert_type=san", None),
        ],
    )
    def test_changes_nothing(self, call, api, method, path, body):
        before = api.rows()
        assert call("auditor", method, path, body).status_code == 403
        assert api.rows() == before


class TestProjectInTheURL:
    def test_project_of_the_token_is_accepted(self, call, people):
        assert call("member", "GET", f"/v1.0/{people.ours}/services").status_code == 200

    @pytest.mark.parametrize("who", ["stranger", "system", "unscoped"])
    def test_other_projects_are_refused(self, call, people, who):
        for path in ("services", "flavors"):
            answer = call(who, "GET", f"/v1.0/{people.ours}/{path}")
            assert answer.status_code == 403

    def test_project_is_in_links_when_configured(self, keystone, people, tmp_path):
        keystone_conf = keystone.conf
        keystone_conf["DEFAULT"]["project_id_in_url"] = True
        made = Api(tmp_path, keystone_conf)
        made.headers = {"X-Auth-Token": people.tokens["member"]}
        try:
            assert made.create().startswith(f"/v1.0/{people.ours}/services/")
        finally:
            made.close()


@pytest.mark.parametrize(
    "changes",
    [{"auth_url": "closed", "http_request_max_retries": 0}, {"password": "wrong"}],
    ids=["away", "refuses us"],
)
def test_keystone_failures_are_not_client_errors(keystone, people, tmp_path, changes):
    if changes.get("auth_url"):
        changes = {**changes, "auth_url": f"http://127.0.0.1:{free_port()}/v3"}
    made = poppy(tmp_path, keystone, **changes)
    made.headers = {"X-Auth-Token": people.tokens["member"]}
    try:
        answer = made.call("GET", "/v1.0/services")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert set(answer.json) == {"message", "request_id"}
        assert made.call("GET", "/v1.0/ping").status_code == 204
    finally:
        made.close()
