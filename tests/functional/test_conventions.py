# SPDX-License-Identifier: Apache-2.0
"""Conventions of all resources: projects, media types, methods, paths, links, request ids."""

import re

import pytest

from poppy.transport.pecan.request import MAX_QUERY_PARAMETERS
from tests.functional import fakes
from tests.functional.fakes import refused

SERVICE = f"/v1.0/services/{fakes.SERVICE_ID}"
REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class TestProject:
    @pytest.mark.parametrize("path", ["/v1.0", "/v1.0/flavors", "/v1.0/services", SERVICE])
    def test_is_required(self, app, path):
        app.extra_environ = {}
        assert refused(app.get(path, status=400), 400) == "The Project ID must be provided."

    def test_must_not_be_empty(self, app):
        response = app.get("/v1.0/services", headers={"X-Project-ID": ""}, status=400)
        assert refused(response, 400) == "The Project ID must be provided."

    @pytest.mark.parametrize("path", ["/", "/v1.0/ping", "/v1.0/health", "/v1.0/health/dns/mock"])
    def test_is_not_required_for_public_resources(self, app, path):
        app.extra_environ = {}
        assert app.get(path).status_int in (200, 204)

    @pytest.mark.parametrize("project", ["a b", "a/b", "<b>", "a,b", "x" * 256, "é"])
    def test_must_be_an_identifier(self, loose, project):
        environ = {"HTTP_X_PROJECT_ID": project}
        assert "X-Project-ID" in refused(
            loose.get("/v1.0/services", extra_environ=environ, status=400), 400
        )

    @pytest.mark.parametrize(
        "project", ["1", "1234567", "0" * 64, "0123456789abcdef0123456789abcdef"]
    )
    def test_may_be_in_the_url(self, app, manager, project):
        app.get(f"/v1.0/{project}/services", headers={"X-Project-ID": project})
        assert manager.services.calls == [("list", project, None, 10)]

    @pytest.mark.parametrize("project", ["12a", "demo", "0123456789ABCDEF0123456789ABCDEF"])
    def test_in_the_url_must_be_digits_or_32_hex(self, app, project):
        response = app.get(
            f"/v1.0/{project}/services", headers={"X-Project-ID": project}, status=404
        )
        refused(response, 404)

    def test_alone_in_the_url_is_the_home_document(self, app):
        assert "resources" in app.get(f"/v1.0/{fakes.PROJECT}").json

    def test_in_the_url_must_match_the_header(self, app, manager):
        assert "in the URL" in refused(app.get("/v1.0/999/services", status=403), 403)
        assert manager.services.calls == []

    def test_in_the_url_does_not_replace_the_header(self, app):
        app.extra_environ = {}
        response = app.get("/v1.0/1234/services", status=400)
        assert refused(response, 400) == "The Project ID must be provided."

    def test_in_the_url_of_ping_is_ignored(self, app):
        app.get("/v1.0/999/ping", status=204)

    def test_may_have_dots_dashes_and_colons(self, app, manager):
        app.get("/v1.0/services", headers={"X-Project-ID": "a.b-C_d:1"})
        assert manager.services.calls[0][1] == "a.b-C_d:1"


class TestAccept:
    @pytest.mark.parametrize(
        "accept",
        [
            "*/*",
            "application/*",
            "application/json",
            "application/json;q=0.1, text/html",
            "text/html, */*;q=0.1",
            "application/json; charset=utf-8, */*",
            "not a header at all ,;q=",
            "",
        ],
    )
    def test_of_json_is_served(self, app, accept):
        response = app.get("/v1.0/services", headers={"Accept": accept})
        assert response.content_type == "application/json"
        assert app.get("/v1.0", headers={"Accept": accept}).content_type == "application/json"

    @pytest.mark.parametrize(
        "accept", ["text/html", "application/json;q=0", "application/xml", "text/*"]
    )
    def test_of_anything_else_is_refused(self, app, accept):
        refused(app.get("/v1.0/services", headers={"Accept": accept}, status=406), 406)

    def test_of_json_home_returns_the_home_document(self, app):
        response = app.get("/v1.0", headers={"Accept": "application/json-home"})
        assert response.content_type == "application/json-home"
        assert app.get("/v1.0").content_type == "application/json"

    def test_of_json_home_is_refused_elsewhere(self, app):
        app.get("/v1.0/flavors", headers={"Accept": "application/json-home"}, status=406)


class TestMethods:
    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("POST", "/", "GET, HEAD, OPTIONS"),
            ("POST", "/v1.0", "GET, HEAD, OPTIONS"),
            ("PUT", "/v1.0/services", "GET, POST, HEAD, OPTIONS"),
            ("POST", SERVICE, "GET, PATCH, DELETE, HEAD, OPTIONS"),
            ("PUT", SERVICE, "GET, PATCH, DELETE, HEAD, OPTIONS"),
            ("GET", f"{SERVICE}/assets", "DELETE, OPTIONS"),
            ("HEAD", f"{SERVICE}/assets", "DELETE, OPTIONS"),
            ("PATCH", "/v1.0/flavors/x", "GET, DELETE, HEAD, OPTIONS"),
            ("DELETE", "/v1.0/ping", "GET, HEAD, OPTIONS"),
            ("TRACE", "/v1.0/ping", "GET, HEAD, OPTIONS"),
            ("__class__", "/v1.0/ping", "GET, HEAD, OPTIONS"),
        ],
    )
    def test_unsupported_methods_are_refused(self, loose, method, path, allowed):
        response = loose.request(path, method=method, expect_errors=True)
        assert response.status_int == 405
        assert response.headers["Allow"] == allowed
        if method != "HEAD":
            refused(response, 405)

    def test_cannot_be_overridden(self, app):
        headers = {"X-HTTP-Method-Override": "DELETE"}
        app.get("/v1.0/flavors?_method=delete", headers=headers, status=200)

    @pytest.mark.parametrize("path", ["/", "/v1.0", "/v1.0/health", "/v1.0/services", SERVICE])
    def test_head_is_get_without_body(self, app, manager, path):
        manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service()
        head, get = app.head(path), app.get(path)
        assert head.status == get.status
        assert head.body == b""
        assert head.headers["Content-Length"] == get.headers["Content-Length"]

    def test_options_need_no_project(self, app):
        app.extra_environ = {}
        response = app.options(SERVICE, status=204)
        assert response.headers["Allow"] == "GET, PATCH, DELETE, HEAD, OPTIONS"


class TestPaths:
    @pytest.mark.parametrize("path", ["/v1.0", "/v1.0/services", "/v1.0/flavors", SERVICE])
    def test_may_end_with_a_slash(self, app, manager, path):
        manager.services.found[fakes.PROJECT, fakes.SERVICE_ID] = fakes.service()
        assert app.get(f"{path}/").json == app.get(path).json

    def test_of_post_may_end_with_a_slash(self, app):
        app.post_json("/v1.0/services/", {}, status=202)

    @pytest.mark.parametrize(
        "path",
        [
            "/v1.1",
            "/v2/services",
            "/v1.0/nothing",
            "/v1.0/services.json",
            "/v1.0.json",
            "/v1.0//services",
            "/v1.0/services//",
            "//v1.0/services",
            "/v1.0/../v1.0/services",
            "/v1.0/./services",
            "/v1.0/health/storage",
            "/v1.0/health/nothing/x",
            "/v1.0/health/providers/mock",
            "/v1.0/flavors/a%2Fb",
            "/v1.0/flavors/%00",
            "/v1.0/flavors/a%0d%0ab",
            "/v1.0/flavors/%ff%fe",
            "/%ff",
            "/v1.0/1/2/services",
            "/v1.0/__class__",
            "/v1.0/services/__init__",
            "/manager/services",
            "/index",
            "/_route",
            "/favicon.ico",
            "/v1.0/{name}",
        ],
    )
    def test_unknown_paths_are_not_found(self, loose, path):
        response = loose.get(path, expect_errors=True)
        refused(response, 400 if "__init__" in path else 404)

    def test_have_no_extensions(self, app, manager):
        app.get("/v1.0/flavors/standard.json", status=404)
        app.post_json("/v1.0/flavors", {**fakes.FLAVOR, "id": "a.json"}, status=201)
        assert app.get("/v1.0/flavors/a.json").json["id"] == "a.json"

    def test_empty_path_is_the_version_document(self, loose):
        assert "versions" in loose.do_request(loose.RequestClass.blank("")).json

    @pytest.mark.parametrize(
        "query",
        [
            "marker=%ff",
            "%ff=1",
            "a=1&" * (MAX_QUERY_PARAMETERS + 1),
            "limit=%00",
            "\xe9=1",
            "marker=\xc3\xa9",
        ],
    )
    def test_with_an_invalid_query_are_refused(self, loose, query):
        request = loose.RequestClass.blank("/v1.0/services", {"HTTP_X_PROJECT_ID": "1"})
        request.environ["QUERY_STRING"] = query
        response = loose.do_request(request, expect_errors=True)
        # The last query but one is not UTF-8; the last one is UTF-8 but not a UUID.
        refused(response, 400)

    def test_unknown_parameters_are_ignored(self, app):
        app.get("/v1.0/services?status=x&%C3%A9=%E2%98%83&;&=&&", status=200)


class TestLinks:
    def href(self, app, manager, **options):
        manager.flavors.create(fakes.FLAVOR)
        return app.get("/v1.0/flavors/standard", **options).json["links"][0]["href"]

    def test_use_the_host_of_the_request(self, app, manager):
        href = self.href(app, manager, headers={"Host": "cdn.example.org:8080"})
        assert href == "http://cdn.example.org:8080/v1.0/flavors/standard"

    def test_support_ipv6_hosts(self, app, manager):
        href = self.href(app, manager, headers={"Host": "[2001:db8::1]:8888"})
        assert href == "http://[2001:db8::1]:8888/v1.0/flavors/standard"

    @pytest.mark.parametrize(
        "host", ['a"><script>', "a b", "a/b", "a@b", "a:b", "", "a:80:80", "a, b", "é"]
    )
    def test_invalid_hosts_are_refused(self, loose, manager, host):
        environ = {"HTTP_HOST": host}
        refused(loose.get("/v1.0", extra_environ=environ, expect_errors=True), 400)

    def test_contain_the_project_when_configured(self, make, manager):
        app = make(project_id_in_url=True)
        assert self.href(app, manager) == "http://localhost/v1.0/1234/flavors/standard"
        location = app.post_json("/v1.0/services", {}, status=202).location
        assert location == f"http://localhost/v1.0/1234/services/{fakes.SERVICE_ID}"

    def test_omit_a_project_that_the_url_does_not_allow(self, make, manager):
        app = make(project_id_in_url=True)
        href = self.href(app, manager, headers={"X-Project-ID": "demo"})
        assert href == "http://localhost/v1.0/flavors/standard"

    def test_contain_the_mount_point(self, app, manager):
        href = self.href(app, manager, extra_environ={"SCRIPT_NAME": "/cdn"})
        assert href == "http://localhost/cdn/v1.0/flavors/standard"

    FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "cdn.example.org"}

    def test_ignore_forwarding_headers_by_default(self, app, manager):
        href = self.href(app, manager, headers=self.FORWARDED)
        assert href == "http://localhost/v1.0/flavors/standard"

    def test_honor_forwarding_headers_when_configured(self, make, manager):
        app = make(middleware__enable_proxy_headers_parsing=True)
        href = self.href(app, manager, headers=self.FORWARDED)
        assert href == "https://cdn.example.org/v1.0/flavors/standard"

    def test_honor_rfc_7239(self, make, manager):
        app = make(middleware__enable_proxy_headers_parsing=True)
        headers = {"Forwarded": "for=192.0.2.1;proto=https;host=cdn.example.org, for=192.0.2.2"}
        assert self.href(app, manager, headers=headers).startswith("https://cdn.example.org/v1.0")

    def test_honor_rfc_7239_with_a_port(self, make, manager):
        app = make(middleware__enable_proxy_headers_parsing=True)
        headers = {"Forwarded": 'proto="https";host="cdn.example.org:8443"'}
        assert self.href(app, manager, headers=headers).startswith("https://cdn.example.org:8443/")

    def test_honor_a_forwarded_prefix(self, make, manager):
        app = make(middleware__enable_proxy_headers_parsing=True)
        href = self.href(app, manager, headers={"X-Forwarded-Prefix": "/cdn/"})
        assert href == "http://localhost/cdn/v1.0/flavors/standard"

    @pytest.mark.parametrize("prefix", ["/\xff", "cdn", "/a b", '/"><script>', "//evil.example"])
    def test_invalid_prefixes_are_refused(self, make, prefix):
        app = make(lint=False, middleware__enable_proxy_headers_parsing=True)
        environ = {"HTTP_X_FORWARDED_PREFIX": prefix}
        refused(app.get("/v1.0", extra_environ=environ, expect_errors=True), 400)

    def test_honor_the_first_of_several_proxies(self, make, manager):
        app = make(middleware__enable_proxy_headers_parsing=True)
        headers = {"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "cdn.org, inner"}
        assert self.href(app, manager, headers=headers).startswith("https://cdn.org/v1.0")

    def test_invalid_schemes_are_refused(self, make):
        app = make(lint=False, middleware__enable_proxy_headers_parsing=True)
        headers = {"X-Forwarded-Proto": "javascript"}
        refused(app.get("/v1.0", headers=headers, expect_errors=True), 400)


class TestRequestId:
    @pytest.mark.parametrize("path", ["/", "/v1.0/ping", "/v1.0/services", "/nothing", SERVICE])
    def test_is_on_every_response(self, app, path):
        response = app.get(path, expect_errors=True)
        assert REQUEST_ID.fullmatch(response.headers["x-openstack-request-id"])

    def test_is_unique_to_each_request(self, app):
        ids = {app.get("/").headers["x-openstack-request-id"] for _ in range(5)}
        assert len(ids) == 5

    def test_reaches_the_manager(self, app, manager):
        response = app.delete(SERVICE)
        assert manager.services.calls[0][3] == response.headers["x-openstack-request-id"]

    def test_of_the_client_is_ignored(self, app):
        given = "req-00000000-0000-4000-8000-000000000000"
        headers = {"X-Openstack-Request-Id": given}
        assert app.get("/", headers=headers).headers["x-openstack-request-id"] != given
