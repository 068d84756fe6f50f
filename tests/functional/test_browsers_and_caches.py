# SPDX-License-Identifier: Apache-2.0
"""Response headers for caches and browsers, allowed hosts and the access log."""

import logging

import pytest

from poppy.common.errors import ConfigError
from poppy.transport.pecan.driver import PecanTransport
from tests.functional import fakes

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"


@pytest.fixture
def stored(manager):
    manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service()


ANSWERS = [
    ("GET", "/v1.0/services", {}, 200),
    ("GET", SERVICE, {}, 200),
    ("HEAD", SERVICE, {}, 200),
    ("GET", SERVICE, {"If-None-Match": "*"}, 304),
    ("DELETE", SERVICE, {}, 202),
    ("POST", "/v1.0/services", {}, 415),
    ("PUT", SERVICE, {}, 405),
    ("GET", "/v1.0/services/nothing", {}, 400),
    ("GET", "/nothing", {}, 404),
    ("GET", "/v1.0/services", {"Accept": "text/html"}, 406),
    ("GET", "/v1.0/services", {"X-Project-ID": ""}, 400),
    ("OPTIONS", SERVICE, {}, 204),
    ("GET", "/", {}, 200),
    ("GET", "/v1.0/ping", {}, 204),
    ("GET", "/v1.0/openapi.json", {}, 200),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), ANSWERS)
class TestEveryResponse:
    @pytest.fixture
    def answer(self, loose, stored, method, path, headers, status):
        answer = loose.request(path, method=method, headers=headers, expect_errors=True)
        if answer.status_int != status:
            # Use the ETag of this document, since * does not match an existing one.
            tag = loose.get(path).headers["ETag"]
            answer = loose.get(path, headers={"If-None-Match": tag})
        assert answer.status_int == status
        return answer

    def test_is_private_to_its_client(self, answer):
        assert answer.headers["Cache-Control"] == "private, no-cache"
        vary = answer.headers["Vary"].split(", ")
        assert {"X-Auth-Token", "X-Project-ID"} <= set(vary)
        assert len(answer.headers.getall("Vary")) == 1

    def test_has_the_security_headers(self, answer):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        policy = answer.headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in answer.headers


def test_internal_error_is_private_to_its_client(app, manager):
    manager.services.error = RuntimeError("bug")
    answer = app.get(SERVICE, status=500)
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert "X-Project-ID" in answer.headers["Vary"]


def test_vary_is_merged_with_that_of_cors(make):
    page = "https://dashboard.example.com"
    answer = make(cors__allowed_origin=[page]).get("/v1.0/services", headers={"Origin": page})
    vary = answer.headers["Vary"].split(", ")
    assert {"Origin", "X-Auth-Token", "X-Project-ID"} <= set(vary)
    assert len(vary) == len(set(vary))


class TestHTTPS:
    def test_sends_strict_transport_security_over_https_only(self, make):
        app = make(middleware__enable_proxy_headers_parsing=True)
        secure = app.get("/", headers={"X-Forwarded-Proto": "https"})
        assert secure.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "Strict-Transport-Security" not in app.get("/").headers


class TestHosts:
    @pytest.fixture
    def asked(self, make, conf):
        """Return the status of a request for a host."""

        def asked(host, path="/v1.0/ping", headers=None, **options):
            conf.set_override("allowed_hosts", options.pop("allowed_hosts", []))
            app = make(lint=False, **{"access_log": True, **options})
            headers = {"Host": host, **(headers or {})}
            answer = app.get(path, headers=headers, expect_errors=True)
            if answer.status_int == 400:
                assert answer.json["message"] == "This host is not served here"
                assert answer.json["request_id"] == answer.headers["x-openstack-request-id"]
            return answer.status_int

        return asked

    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST:8888", "localhost.", "127.0.0.1:8888", "[::1]:8888"]
    )
    def test_loopback_is_served_without_authentication(self, asked, host):
        assert asked(host) == 204

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "localhost.evil.example", "evil.example:8888", "10.0.0.1", "alocalhost"],
    )
    def test_other_hosts_are_refused_without_authentication(self, asked, host):
        assert asked(host) == 400
        assert asked(host, "/v1.0/services") == 400

    def test_any_host_is_served_in_a_trusted_network(self, asked):
        assert asked("cdn.example.com", noauth_trusted_network=True) == 204

    @pytest.mark.parametrize(
        ("pattern", "served", "refused"),
        [
            ("example.com", ["example.com", "EXAMPLE.com:80"], ["a.example.com", "localhost"]),
            (".example.com", ["example.com", "a.b.example.com"], ["badexample.com"]),
            ("*.example.com", ["a.example.com"], ["example.com", "badexample.com"]),
            ("*", ["anything.example"], []),
        ],
    )
    def test_allowed_hosts_are_served(self, asked, pattern, served, refused):
        for host in served:
            assert asked(host, allowed_hosts=[pattern]) == 204
        for host in refused:
            assert asked(host, allowed_hosts=[pattern]) == 400

    def test_forwarded_host_of_a_proxy_is_checked(self, asked):
        options = {
            "allowed_hosts": ["cdn.example.com"],
            "middleware__enable_proxy_headers_parsing": True,
        }
        given = {"X-Forwarded-Host": "cdn.example.com"}
        assert asked("10.0.0.5:8888", headers=given, **options) == 204
        assert asked("cdn.example.com", headers={"X-Forwarded-Host": "evil"}, **options) == 400

    @pytest.mark.parametrize("entry", ["http://example.com", "example.com:80", "a b", "*x"])
    def test_invalid_allowed_hosts_are_a_config_error(self, conf, manager, entry):
        conf.set_override("allowed_hosts", [entry])
        with pytest.raises(ConfigError, match="allowed_hosts"):
            PecanTransport(conf, "pecan", manager=manager)


class TestWithoutAuthentication:
    @pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
    def test_other_addresses_than_loopback_are_refused(self, conf, manager, bind):
        transport = PecanTransport(conf, "pecan", manager=manager)
        conf.set_override("bind", bind, group="drivers:transport:pecan")
        conf.set_override("port", 0, group="drivers:transport:pecan")
        with pytest.raises(ConfigError, match="noauth_trusted_network = true"):
            transport.listen()
        conf.set_override("noauth_trusted_network", True)
        transport.listen().close()

    @pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
    def test_loopback_addresses_are_allowed(self, conf, manager, bind):
        transport = PecanTransport(conf, "pecan", manager=manager)
        conf.set_override("bind", bind, group="drivers:transport:pecan")
        conf.set_override("port", 0, group="drivers:transport:pecan")
        transport.listen().close()

    def test_default_roles_do_not_include_admin(self, make, conf):
        conf.clear_override("noauth_default_roles")
        app = make()
        app.get("/v1.0/services", status=200)
        app.get("/v1.0/admin/operations", status=403)
        app.post_json("/v1.0/flavors", {}, status=403)
        app.get("/v1.0/admin/operations", headers={"X-Roles": "reader"}, status=403)

    def test_default_roles_are_configurable(self, make):
        make(noauth_default_roles=["reader"]).delete(SERVICE, status=403)
        make(noauth_default_roles=["member"]).delete(SERVICE, status=202)


class TestAccessLog:
    def test_has_a_line_for_each_request(self, app, caplog):
        caplog.set_level(logging.INFO, "poppy.access")
        environ = {"REMOTE_ADDR": "192.0.2.7"}
        answer = app.get("/v1.0/services?marker=secret", extra_environ=environ, status=400)
        (record,) = (it for it in caplog.records if it.name == "poppy.access")
        line = record.getMessage()
        request_id = answer.headers["x-openstack-request-id"]
        assert line.startswith('192.0.2.7 "GET /v1.0/services" 400 ')
        assert line.endswith(f" ms project={fakes.PROJECT} request={request_id}")
        assert "secret" not in line

    def test_omits_possible_tokens(self, app, caplog):
        caplog.set_level(logging.INFO, "poppy.access")
        app.get(f"/v1.0/services/{'gAAAAAB' * 20}/x", status=404)
        (record,) = (it for it in caplog.records if it.name == "poppy.access")
        assert '"GET /v1.0/services/*/x" 404 ' in record.getMessage()

    def test_cannot_be_forged(self, loose, caplog):
        caplog.set_level(logging.INFO, "poppy.access")
        environ = {"REQUEST_METHOD": 'GET" 200\n', "REMOTE_ADDR": 'x" "\r\ny'}
        loose.get("/a%0a%0d%22%20200%c3%a9%1b", extra_environ=environ, expect_errors=True)
        (record,) = (it for it in caplog.records if it.name == "poppy.access")
        line = record.getMessage()
        assert line.isascii() and line.isprintable()
        assert line.count('"') == 2
        assert "/a%0A%0D%22%20200%C3%A9%1B" in line

    def test_can_be_disabled(self, make, caplog):
        caplog.set_level(logging.INFO, "poppy.access")
        make(access_log=False).get("/v1.0/services")
        assert not [it for it in caplog.records if it.name == "poppy.access"]


class TestETags:
    def test_do_not_depend_on_the_host(self, app, stored):
        tags = {
            app.get(SERVICE, headers={"Host": host}).headers["ETag"]
            for host in ("localhost", "cdn.example.com", "[2001:db8::1]:8888")
        }
        assert len(tags) == 1

    def test_are_valid_for_other_hosts(self, app, stored):
        tag = app.get(SERVICE, headers={"Host": "a.example"}).headers["ETag"]
        headers = {"Host": "b.example", "If-None-Match": tag}
        assert app.get(SERVICE, headers=headers).status_int == 304

    def test_depend_on_the_document(self, app, manager, stored):
        tag = app.get(SERVICE).headers["ETag"]
        manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service(revision=7)
        assert app.get(SERVICE).headers["ETag"] != tag


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("application/json;charset=UTF-8", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json; version=1; q=0.5", 200),
        ("text/html, application/json; charset=utf-8; q=0.9", 200),
        ("application/*; charset=utf-8", 200),
        ('application/json; a="x, text/html; q=1"', 200),
        ("application/json; charset=utf-8; q=0", 406),
        ("text/html; charset=utf-8", 406),
        ("application/xml;q=0.9", 406),
    ],
)
def test_media_type_parameters_in_accept_are_ignored(app, stored, accept, status):
    assert app.get(SERVICE, headers={"Accept": accept}, status=status).status_int == status


def test_options_lists_the_patch_formats(app):
    headers = app.options(SERVICE).headers
    assert headers["Accept-Patch"] == "application/json, application/json-patch+json"
    assert "Accept-Patch" not in app.options("/v1.0/services").headers


def test_options_lists_only_patch_formats_that_the_route_accepts(app):
    url = f"/v1.0/admin/services/provider_details/{fakes.SERVICE_ID}"
    listed = app.options(url).headers["Accept-Patch"]
    patch = {"Content-Type": "application/json-patch+json"}
    refused = app.request(url, method="PATCH", headers=patch, body=b"{}", status=415)
    assert refused.headers["Accept-Patch"] == listed == "application/json"
