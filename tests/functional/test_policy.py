# SPDX-License-Identifier: Apache-2.0
"""Every route has a policy rule; the rules and the operator's policy file are enforced."""

import dataclasses
import itertools
import json
from unittest import mock

import pytest
import webtest

from poppy import policies
from poppy.common import config
from poppy.common.errors import ConfigError
from poppy.policies import enforcer
from poppy.transport.pecan import auth
from poppy.transport.pecan.controllers import v1
from poppy.transport.pecan.controllers.base import API, Settings
from poppy.transport.pecan.dashboard import app as dashboard
from poppy.transport.pecan.driver import PecanTransport
from poppy.transport.pecan.hooks import ContextHook
from poppy.transport.pecan.routes import PUBLIC, Answer, Route
from poppy.transport.pecan.routing import Router
from tests.functional import fakes
from tests.functional.fakes import refused

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"

#: Public routes. Each entry is a deliberate decision; every other route needs a rule.
ANYBODY = {
    # The handlers of these authenticate nodes of the operator's own edge.
    ("POST", "/edge/v1/join"),
    ("GET", "/edge/v1/changes"),
    ("PUT", "/edge/v1/report"),
    ("PUT", "/edge/v1/traffic"),
    ("POST", "/edge/v1/logs"),
    ("GET", "/"),
    ("GET", "/v1.0/ping"),
    ("GET", "/v1.0/openapi.json"),
    ("GET", "/v1.0/health"),
    ("GET", "/v1.0/health/storage/{name}"),
    ("GET", "/v1.0/health/dns/{name}"),
    ("GET", "/v1.0/health/distributed_task/{name}"),
    ("GET", "/v1.0/health/provider/{name}"),
    ("GET", "/dashboard/sign-in"),
    ("POST", "/dashboard/sign-in"),
    ("POST", "/dashboard/sign-out"),
    ("GET", "/dashboard/static/{name}"),
}


def documented():
    """Return the documented operations of the rules: {(method, template): rule}."""
    return {
        (operation["method"], operation["path"]): rule.name
        for rule in policies.list_rules()
        for operation in getattr(rule, "operations", ())
    }


ROUTES = (*v1.routes(), *dashboard.ROUTES)


class TestTable:
    def test_every_route_has_a_rule_that_documents_it(self):
        ruled = {
            (route.method, route.template): route.rule.name
            for route in ROUTES
            if (route.method, route.template) not in ANYBODY
        }
        assert ruled == documented()

    def test_only_listed_routes_are_public(self):
        found = {(route.method, route.template) for route in ROUTES if route.rule is PUBLIC}
        assert found == ANYBODY

    def test_head_and_options_need_no_extra_rights(self):
        for methods in Router(ROUTES).table.values():
            assert methods["OPTIONS"].rule is PUBLIC
            if "GET" in methods:
                assert methods["HEAD"] == methods["GET"]

    def test_rule_names_are_unique(self):
        names = [rule.name for rule in policies.list_rules()]
        assert len(set(names)) == len(names)

    def test_route_needs_a_rule(self):
        with pytest.raises(TypeError, match="rule"):
            Route(
                "GET /v1.0/new", ROUTES[0].handler, id="new", summary="", answers={200: Answer("")}
            )

    def test_route_needs_documented_answers(self):
        with pytest.raises(ValueError, match=r"GET /v1\.0/new has no documented answers"):
            Route("GET /v1.0/new", ROUTES[0].handler, PUBLIC, id="new", summary="", answers={})

    @pytest.mark.parametrize("target", [ROUTES[0].target, "LIST /v1.0/new", "/v1.0/new"])
    def test_route_with_an_unknown_or_declared_method_is_an_error(self, target):
        added = dataclasses.replace(ROUTES[0], target=target)
        with pytest.raises(ValueError, match=f"{target}: the method is unknown or declared"):
            Router([*ROUTES, added])

    def test_route_with_an_unregistered_rule_is_an_error(self, conf):
        rules = [it for it in policies.list_rules() if it.name != "cdn:services:list"]
        policy = enforcer.Policy(conf, rules)
        api = API(None, Settings(20, 65536, False), v1.routes(), None)
        with pytest.raises(ConfigError, match="cdn:services:list is not registered"):
            ContextHook(api, None, policy)

    def test_undefined_rule_allows_nothing(self, conf):
        policy = enforcer.Policy(conf, policies.list_rules())
        who = enforcer.Identity("1", None, ("admin", "member", "reader"))
        assert not policy.allows("cdn:nothing", who)


class TestNoAuth:
    """The client is trusted and is admin unless it sends other roles."""

    def call(self, app, method, path, roles, status):
        headers = {"X-Roles": roles} if roles is not None else {}
        body = fakes.FLAVOR if method == "POST" else None
        answer = app.request(
            path,
            method=method,
            headers={**headers, "Content-Type": "application/json"},
            body=json.dumps(body).encode() if body else b"",
            expect_errors=True,
        )
        assert answer.status_int == status, (method, path, roles, answer)
        if status >= 400:
            refused(answer, status)

    @pytest.mark.parametrize("roles", [None, "admin", "reader, admin", "Admin"])
    def test_admins_may_do_everything(self, app, manager, roles):
        self.call(app, "POST", "/v1.0/flavors", roles, 201)
        self.call(app, "DELETE", "/v1.0/flavors/standard", roles, 204)
        self.call(app, "DELETE", SERVICE, roles, 202)

    def test_members_change_services_only(self, app, manager):
        self.call(app, "DELETE", SERVICE, "member", 202)
        self.call(app, "GET", "/v1.0/services", "member", 200)
        self.call(app, "POST", "/v1.0/flavors", "member", 403)
        assert manager.flavors.found == {}

    def test_readers_change_nothing(self, app, manager):
        self.call(app, "GET", "/v1.0/services", "reader", 200)
        self.call(app, "HEAD", "/v1.0/services", "reader", 200)
        for method, path in [("DELETE", SERVICE), ("POST", "/v1.0/services")]:
            self.call(app, method, path, "reader", 403)
        assert [call[0] for call in manager.services.calls] == ["list", "list"]

    @pytest.mark.parametrize("roles", ["", ",", "other", "admins", "é"])
    def test_others_may_do_nothing(self, loose, roles):
        environ = {"HTTP_X_ROLES": roles}
        refused(loose.get("/v1.0", extra_environ=environ, expect_errors=True), 403)
        loose.get("/v1.0/ping", extra_environ=environ, status=204)

    @pytest.mark.parametrize("user", ["a b", "a\tb", "<b>", "x" * 256])
    def test_user_id_must_be_an_identifier(self, loose, user):
        environ = {"HTTP_X_USER_ID": user}
        answer = loose.get("/v1.0", extra_environ=environ, expect_errors=True)
        assert "X-User-ID" in refused(answer, 400)


class TestSystemScope:
    """A system-scoped token has no project; only an operator's token gives access."""

    @pytest.fixture
    def call(self, app, manager, monkeypatch):
        manager.certificates = mock.Mock()
        manager.certificates.get.return_value = []

        def call(method, role):
            who = enforcer.Identity(None, "1", (role,), system_scope="all")
            monkeypatch.setattr(auth.NoAuth, "identify", lambda self, request: who)
            path = "/v1.0/ssl_certificate"
            if method == "POST":
                return app.post_json(path, {}, expect_errors=True)
            return app.request(f"{path}/www.example.com", method=method, expect_errors=True)

        return call

    @pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
    @pytest.mark.parametrize("role", ["reader", "member"])
    def test_other_roles_have_no_access_to_certificates(self, call, manager, method, role):
        refused(call(method, role), 403)
        assert not manager.certificates.method_calls

    @pytest.mark.parametrize(("method", "status"), [("POST", 202), ("GET", 200), ("DELETE", 202)])
    def test_operators_have_access_to_all_certificates(self, call, manager, method, status):
        assert call(method, "admin").status_int == status
        ((_, args, _),) = manager.certificates.method_calls
        assert args[0] is None


class TestPolicyFile:
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "policy.yaml"

    @pytest.fixture
    def start(self, tmp_path, file, manager):
        """Start the application with a policy file."""

        def start():
            path = tmp_path / "poppy.conf"
            path.write_text(f"[oslo_policy]\npolicy_file = {file}\n")
            conf = config.load([], files=[str(path)])
            transport = PecanTransport(conf, "pecan", manager=manager)
            environ = {"HTTP_X_PROJECT_ID": fakes.PROJECT, "HTTP_X_ROLES": "support"}
            return webtest.TestApp(transport.application, extra_environ=environ)

        return start

    def test_changes_only_its_rules(self, start, file):
        file.write_text('"cdn:services:list": "role:support"\n')
        app = start()
        app.get("/v1.0/services", status=200)
        app.delete(SERVICE, status=403)

    def test_may_check_the_project(self, start, file):
        mine = f"role:support and project_id:{fakes.PROJECT}"
        file.write_text(f'"cdn:services:list": "{mine}"\n')
        app = start()
        app.get("/v1.0/services", status=200)
        app.get("/v1.0/services", headers={"X-Project-ID": "4321"}, status=403)

    def test_is_reloaded_when_it_changes(self, start, file, monkeypatch):
        clock = itertools.count(step=enforcer.MEMORY)
        monkeypatch.setattr(enforcer.time, "monotonic", lambda: next(clock))
        file.write_text('"cdn:services:list": "!"\n')
        app = start()
        app.get("/v1.0/services", status=403)
        file.write_text('"cdn:services:list": "role:support or role:other"\n')
        app.get("/v1.0/services", status=200)

    def test_decisions_are_cached(self, start, file, monkeypatch):
        file.write_text('"cdn:services:list": "role:support"\n')
        app = start()
        app.get("/v1.0/services", status=200)
        monkeypatch.setattr(enforcer.Policy, "_decide", None)
        app.get("/v1.0/services", status=200)

    def test_missing_file_is_an_error(self, start, file):
        with pytest.raises(ConfigError, match=f"policy_file = {file}"):
            start()

    @pytest.mark.parametrize(
        "content", ["{", "[1]", '"cdn:reader": "rule:nothing"', '"cdn:reader": "rule:cdn:reader"']
    )
    def test_invalid_file_is_an_error(self, start, file, content):
        file.write_text(content)
        with pytest.raises(ConfigError, match="policy"):
            start()
