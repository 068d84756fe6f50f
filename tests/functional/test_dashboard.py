# SPDX-License-Identifier: Apache-2.0
"""The dashboard: access, content and safety of its pages."""

import datetime
import hashlib
import http.cookies
import re
import string
import subprocess
import sys
import time
from dataclasses import replace

import itsdangerous
import pytest
import webtest

from poppy.bootstrap import Bootstrap
from poppy.common import errors
from poppy.manager import overview
from poppy.manager import sessions as ended_sessions
from poppy.model.membership import Breaker, BreakerState, ProviderQuota, Worker
from poppy.model.operations import Purge, State, Step, StepState
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.specs import Domain
from poppy.testing.builders import make_operation, make_service, make_spec
from poppy.transport.pecan import guesses
from poppy.transport.pecan.dashboard import pages, sessions
from tests.functional.harness import PROJECT, Harness, ScriptedProvider

PASSWORD = "correct horse battery"
GROUP = "drivers:transport:dashboard"
PATHS = ("", "/operations", "/services", f"/services/{PROJECT}/x", "/find", "/edge", "/edge/n1")
HOSTILE = """<script>alert('1')</script>"&{{ 7 * 7 }}"""
DENIED = {"X-Project-ID": "1", "X-Roles": "member"}


@pytest.fixture(autouse=True)
def _no_caching(monkeypatch):
    monkeypatch.setattr(overview, "MEMORY", 0)


@pytest.fixture
def make(tmp_path):
    """Start Poppy with the dashboard enabled; keyword arguments are dashboard options."""
    made = []

    def make(groups=None, **options):
        given = {"enabled": True, "password": PASSWORD, **options}
        own = {GROUP: {name: it for name, it in given.items() if it is not None}}
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(Harness(directory, {**own, **(groups or {})}))
        return made[-1]

    yield make
    for it in made:
        it.close()


@pytest.fixture
def poppy(make):
    return make()


def browser(poppy):
    return webtest.TestApp(poppy.boot.transport.application)


@pytest.fixture
def stranger(poppy):
    """A browser that has not signed in."""
    return browser(poppy)


@pytest.fixture
def app(stranger):
    """A browser that has signed in."""
    sign_in(stranger)
    return stranger


def sign_in(app, password=PASSWORD, following="", **options):
    fields = {"password": password, "next": following}
    return app.post("/dashboard/sign-in", fields, **options)


def cookie_of(response):
    return http.cookies.SimpleCookie(response.headers["Set-Cookie"])[sessions.COOKIE]


def store(poppy, state=None, steps=(), service=None, age=0.0, **changes):
    """Store a service with an operation in the given state."""
    now = datetime.datetime.now(datetime.UTC)
    service = service or make_service()
    operation = make_operation(service, created_at=now - datetime.timedelta(seconds=age))
    poppy.storage.services.create(service, replace(operation, next_attempt_at=now), 10_000)
    if state not in (None, State.QUEUED):
        soon = now + datetime.timedelta(seconds=90)
        operation = poppy.storage.operations.begin(operation.key, "job", now, soon).operation
        operation = replace(operation, steps=steps, updated_at=now, **changes)
        if state is not State.RUNNING or steps:
            at = None if state.finished else soon
            operation = replace(operation, state=state, next_attempt_at=at)
            poppy.storage.operations.save(operation, changes.pop("details", None))
    return service, operation


class TestOff:
    def test_pages_are_not_found_by_default(self, tmp_path):
        poppy = Harness(tmp_path)
        app = browser(poppy)
        headers = {"X-Project-ID": "1"}
        for path in (*PATHS, "/sign-in", "/static/dashboard.css"):
            response = app.get(f"/dashboard{path}", headers=headers, status=404)
            assert response.content_type == "application/json"
        poppy.close()

    def test_package_is_not_imported_by_default(self, tmp_path):
        line = (
            "import sys; from poppy.common import config; from poppy.bootstrap import Bootstrap; "
            "Bootstrap(config.load(['--config-file', sys.argv[1]])).transport.application; "
            "print([it for it in sys.modules if 'pecan.dashboard' in it])"
        )
        loaded = []
        for value in ("false", "true"):
            path = tmp_path / "poppy.conf"
            path.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\n[{GROUP}]\nenabled = {value}\n")
            command = [sys.executable, "-c", line, str(path)]
            loaded.append(subprocess.run(command, capture_output=True, text=True, check=True))
        assert loaded[0].stdout == "[]\n"
        assert "poppy.transport.pecan.dashboard.pages" in loaded[1].stdout

    def test_api_is_unchanged_when_enabled(self, stranger):
        response = stranger.get("/v1.0/flavors", headers={"X-Project-ID": "1"})
        assert response.content_type == "application/json"
        policy = response.headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"
        assert stranger.get("/dashboards", status=404).content_type == "application/json"


class TestSignIn:
    @pytest.mark.parametrize("path", PATHS)
    def test_is_required_for_every_page(self, stranger, path):
        response = stranger.get(f"/dashboard{path}", status=303)
        assert response.body == b""
        assert response.headers["Location"].startswith("/dashboard/sign-in")
        page = response.follow()
        assert "Operator password" in page.text

    def test_returns_to_the_requested_page(self, stranger):
        response = stranger.get("/dashboard/operations?state=waiting&place=provider%3Aa")
        form = response.follow().forms[0]
        form["password"] = PASSWORD
        response = form.submit(status=303)
        expected = "/dashboard/operations?state=waiting&place=provider%3Aa"
        assert response.headers["Location"] == expected
        assert response.follow().status_int == 200

    @pytest.mark.parametrize(
        "following", ["//evil.example", "https://evil.example", "@evil.example", "/a\r\nX: y", "<"]
    )
    def test_never_redirects_to_other_sites(self, stranger, following):
        page = stranger.get("/dashboard/sign-in", {"next": following})
        assert page.forms[0]["next"].value == ""
        response = sign_in(stranger, following=following, status=303)
        assert response.headers["Location"] == "/dashboard"

    def test_needs_the_password(self, stranger, caplog):
        for wrong in ("", PASSWORD.upper(), PASSWORD + "x", "é"):
            response = sign_in(stranger, wrong, status=403)
            assert "Wrong password" in response.text
            assert "Set-Cookie" not in response.headers
        assert caplog.text.count("Refused dashboard sign-in from ") == 4
        assert PASSWORD.upper() not in caplog.text

    def test_cookie_is_hidden_from_scripts_and_other_sites(self, stranger):
        cookie = cookie_of(sign_in(stranger))
        assert cookie["httponly"]
        assert cookie["samesite"].lower() == "strict"
        assert cookie["path"] == "/dashboard"
        assert cookie["max-age"] == "28800"
        assert not cookie["secure"]
        assert PASSWORD not in cookie.value

    def test_cookie_is_secure_over_https(self, stranger):
        secure = {"wsgi.url_scheme": "https"}
        assert cookie_of(sign_in(stranger, extra_environ=secure))["secure"]

    def test_cookie_is_secure_behind_a_tls_proxy(self, make):
        forwarded = {"X-Forwarded-Proto": "https"}
        assert not cookie_of(sign_in(browser(make()), headers=forwarded))["secure"]
        believing = make({"oslo_middleware": {"enable_proxy_headers_parsing": True}})
        assert cookie_of(sign_in(browser(believing), headers=forwarded))["secure"]

    def test_warns_about_an_unencrypted_connection(self, stranger):
        warning = "This connection is not encrypted"
        there = {"Host": "cdn.example.org"}
        assert warning in stranger.get("/dashboard/sign-in", headers=there).text
        secure = {"wsgi.url_scheme": "https"}
        page = stranger.get("/dashboard/sign-in", headers=there, extra_environ=secure)
        assert warning not in page.text
        assert warning not in stranger.get("/dashboard/sign-in", headers={"Host": "[::1]:1"}).text

    def test_server_enforces_the_session_lifetime(self, make, monkeypatch):
        app = browser(make(session_lifetime=60))
        value = cookie_of(sign_in(app)).value
        later = time.time() + 61
        monkeypatch.setattr(sessions.time, "time", lambda: later)
        app.reset()
        assert "sign-in" in get_with(app, value).location

    @pytest.mark.parametrize("change", [lambda it: "9" + it, lambda it: it[:-1], lambda it: ""])
    def test_cookie_cannot_be_forged(self, stranger, change):
        value = cookie_of(sign_in(stranger)).value
        stranger.reset()
        assert get_with(stranger, value).status_int == 200
        assert get_with(stranger, change(value)).status_int == 303

    def test_cookie_is_not_signed_with_the_bare_password(self, stranger):
        value = cookie_of(sign_in(stranger)).value
        assert sessions._signer(PASSWORD).validate(value)
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        assert not itsdangerous.Signer(PASSWORD, **options).validate(value)

    def test_cookie_of_another_password_is_refused(self, make):
        value = cookie_of(sign_in(browser(make()))).value
        other = browser(make(password="another password"))
        assert get_with(other, value).status_int == 303

    def test_out_deletes_the_cookie(self, app):
        page = app.get("/dashboard")
        response = page.forms[1].submit(status=303)
        assert cookie_of(response)["max-age"] == "0"
        assert "sign-in" in app.get("/dashboard", status=303).location

    def test_out_ends_the_session_for_all_copies_of_the_cookie(self, poppy, stranger):
        value = cookie_of(sign_in(stranger)).value
        stranger.post("/dashboard/sign-out", status=303)
        assert get_with(stranger, value).status_int == 303
        # Another process of the same Poppy refuses it too.
        other = Bootstrap(poppy.conf)
        assert get_with(webtest.TestApp(other.transport.application), value).status_int == 303
        other.close()

    def test_out_ends_the_session_for_other_spellings_of_the_signature(self, poppy, stranger):
        value = cookie_of(sign_in(stranger)).value
        # The last character of the signature has two bits to spare.
        letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
        other = value[:-1] + letters[letters.index(value[-1]) ^ 1]
        assert get_with(browser(poppy), other).status_int == 200
        stranger.post("/dashboard/sign-out", status=303)
        for spelling in (value, other, f"{value}="):
            assert get_with(stranger, spelling).status_int == 303

    def test_out_keeps_other_sessions(self, poppy):
        mine, theirs = browser(poppy), browser(poppy)
        sign_in(mine)
        sign_in(theirs)
        mine.post("/dashboard/sign-out", status=303)
        theirs.get("/dashboard", status=200)

    @pytest.mark.parametrize("cookie", ["", "x", "9999999999.0123456789abcdef.00"])
    def test_a_stranger_cannot_fill_the_list_of_ended_sessions(self, poppy, stranger, cookie):
        headers = {"Cookie": f"{sessions.COOKIE}={cookie}"}
        stranger.post("/dashboard/sign-out", headers=headers, status=303)
        assert poppy.storage.documents.get(ended_sessions.NAME).content is None

    def test_ended_sessions_are_pruned_when_they_expire(self, poppy):
        now = time.time()
        manager = ended_sessions.SessionsManager(poppy.storage, lambda: now)
        manager.end("first", 60)
        assert manager.has_ended("first")
        now += 61
        manager.end("second", 60)
        content = poppy.storage.documents.get(ended_sessions.NAME).content
        assert len(content) == 1

    def test_guesses_are_throttled(self, poppy):
        app = browser(poppy)
        for _ in range(guesses.PER_ADDRESS):
            sign_in(app, "wrong", status=403)
        response = sign_in(app, PASSWORD, status=429)
        assert 1 <= int(response.headers["Retry-After"]) <= 300
        assert "Too many failed attempts" in response.text
        sign_in(app, PASSWORD, extra_environ={"REMOTE_ADDR": "192.0.2.7"}, status=303)

    def test_guesses_from_many_addresses_are_throttled_together(self, poppy):
        app = browser(poppy)
        for number in range(guesses.TOGETHER):
            sign_in(app, "wrong", extra_environ={"REMOTE_ADDR": f"192.0.2.{number}"}, status=403)
        sign_in(app, PASSWORD, extra_environ={"REMOTE_ADDR": "198.51.100.1"}, status=429)

    def test_addresses_of_an_ipv6_subscriber_share_a_count(self):
        counted = guesses.Guesses()
        for number in range(guesses.PER_ADDRESS):
            counted.failed(f"2001:db8::{number:x}")
        assert counted.wait("2001:db8::ffff:1")
        assert not counted.wait("2001:db8:0:1::1")

    @pytest.mark.parametrize("path", ["/dashboard/sign-in", "/dashboard/sign-out"])
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 303),
            ({"Origin": "https://localhost"}, 303),
            ({}, 303),
        ],
    )
    def test_is_refused_from_other_sites(self, stranger, path, headers, status):
        fields = {"password": PASSWORD}
        response = stranger.post(path, fields, headers=headers, status=status)
        assert ("Set-Cookie" in response.headers) == (status == 303)

    def test_form_is_validated(self, stranger):
        stranger.post_json("/dashboard/sign-in", {"password": PASSWORD}, status=415)
        sign_in(stranger, "x" * 70_000, status=413)
        bad = {"Content-Type": "application/x-www-form-urlencoded"}
        stranger.post("/dashboard/sign-in", "password=%ff", headers=bad, status=400)
        stranger.post("/dashboard/sign-in", "a=1&" * 200, headers=bad, status=400)
        stranger.post("/dashboard/sign-in", b"password=\xe9", headers=bad, status=400)

    def test_short_password_is_refused_at_start(self, make):
        with pytest.raises(errors.ConfigError, match="12 characters"):
            _ = make(password="short").boot.transport

    def test_cookie_is_no_credential_for_the_api(self, app):
        response = app.get("/v1.0/services", status=400)
        assert response.json["message"] == "The Project ID must be provided."


def get_with(app, value):
    headers = {"Cookie": f"{sessions.COOKIE}={value}"}
    return app.get("/dashboard", headers=headers, expect_errors=True)


class TestMiddleware:
    """Without Keystone and a password, auth middleware in front identifies the user."""

    @pytest.fixture
    def front(self, make):
        """A browser behind such middleware."""
        return browser(make(password=None))

    def test_allows_admins(self, front):
        headers = {"X-Project-ID": "1", "X-Roles": "admin"}
        assert "Overview" in front.get("/dashboard", headers=headers).text

    @pytest.mark.parametrize("path", PATHS)
    def test_others_are_refused(self, front, path):
        response = front.get(f"/dashboard{path}", headers=DENIED, status=403)
        assert response.content_type == "text/html"
        assert "cdn:dashboard:get" in response.text

    @pytest.mark.parametrize("headers", [DENIED, {"X-Project-ID": "1", "X-Roles": "admin"}])
    def test_headers_are_ignored_with_a_password(self, stranger, headers):
        assert "/sign-in" in stranger.get("/dashboard", headers=headers, status=303).location
        sign_in(stranger)
        stranger.get("/dashboard", headers=headers, status=200)

    def test_is_required_without_a_password(self, tmp_path):
        poppy = Harness(tmp_path, {GROUP: {"enabled": True}})
        app = browser(poppy)
        page = app.get("/dashboard", status=303).follow()
        assert "Sign-in is disabled" in page.text
        assert len(page.forms) == 0
        sign_in(app, "", status=403)
        assert get_with(app, "9999999999.").status_int == 303
        app.get("/dashboard", headers={"X-Project-ID": "1", "X-Roles": "admin"}, status=200)
        poppy.close()


class TestSafety:
    OTHERS = ("/sign-in", "/static/dashboard.css", "/static/no", "/nothing", "/find?q=-")

    @pytest.mark.parametrize("path", (*PATHS, *OTHERS))
    def test_every_response_has_the_security_headers(self, app, path):
        headers = app.get(f"/dashboard{path}", expect_errors=True).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["x-openstack-request-id"].startswith("req-")
        static = path == "/static/dashboard.css"
        assert headers["Cache-Control"] == ("no-cache" if static else "no-store")

    def test_a_file_of_the_current_version_is_cached(self, app):
        page = app.get("/dashboard/sign-in").text
        (name,) = set(re.findall(r"/dashboard(/static/dashboard.css[^\"]*)", page))
        kept = app.get(f"/dashboard{name}").headers["Cache-Control"]
        assert kept.startswith("public") and "immutable" in kept
        other = app.get("/dashboard/static/dashboard.css?v=other").headers
        assert other["Cache-Control"] == "no-cache"

    def test_pages_have_no_inline_or_external_resources(self, poppy, app):
        service, _ = store(poppy, State.FAILED)
        for path in (*PATHS[:3], f"/services/{service.project_id}/{service.service_id}"):
            page = app.get(f"/dashboard{path}").text
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)|javascript:", page)
            urls = re.findall(r'(?:src|href|action)="([^"]*)"', page)
            assert urls
            assert all(url.startswith(("/dashboard", "#")) for url in urls)

    def test_tenant_input_is_escaped(self, poppy, app):
        spec = replace(make_spec(["www.example.com"]), name=HOSTILE)
        detail = ProviderDetail(ProviderStatus.FAILED, HOSTILE, error_message=HOSTILE)
        service = make_service(spec=spec, provider_details={"mock": detail})
        step = Step("provider:mock", StepState.FAILED, HOSTILE)
        store(poppy, State.FAILED, (step,), service, error=HOSTILE)
        where = f"/services/{service.project_id}/{service.service_id}"
        for path in ("/services?status=failed", "/operations", where):
            page = app.get(f"/dashboard{path}")
            assert "<script>alert" not in page.text
            assert "{{ 7 * 7 }}" in page.text
            assert "&lt;script&gt;alert" in page.text
        assert "<script>" not in app.get("/dashboard/find", {"q": HOSTILE}, status=400).text

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_pages_are_read_only(self, app, method):
        for path in PATHS:
            app.request(f"/dashboard{path}", method=method, status=405)

    def test_cors_does_not_apply(self, make):
        poppy = make({"cors": {"allowed_origin": "*", "allow_credentials": True}})
        headers = {"Origin": "https://evil.example"}
        response = browser(poppy).get("/dashboard/sign-in", headers=headers)
        assert "Access-Control-Allow-Origin" not in response.headers

    def test_links_include_the_mount_point(self, poppy):
        app = browser(poppy)
        mounted = {"SCRIPT_NAME": "/cdn"}
        response = sign_in(app, extra_environ=mounted)
        assert cookie_of(response)["path"] == "/cdn/dashboard"
        assert response.headers["Location"] == "/cdn/dashboard"
        strange = {"SCRIPT_NAME": '/"><b>'}
        page = app.get("/dashboard/sign-in", extra_environ=strange, expect_errors=True)
        assert page.status_int == 400
        assert "<b>" not in page.text

    def test_an_internal_error_is_not_disclosed(self, poppy, app, monkeypatch):
        def fail():
            raise errors.PoppyError("secret")

        monkeypatch.setattr(poppy.boot.manager.overview, "work", fail)
        page = app.get("/dashboard/operations", status=500)
        assert "secret" not in page.text
        assert page.content_type == "text/html"

    def test_unreachable_storage_is_a_503(self, poppy, app, monkeypatch):
        def fail():
            raise errors.Unavailable("The store does not answer")

        monkeypatch.setattr(poppy.boot.manager.overview, "work", fail)
        page = app.get("/dashboard/operations", status=503)
        assert "The store does not answer" in page.text
        assert page.headers["Retry-After"]


class TestOverview:
    def test_of_an_empty_installation(self, app):
        page = app.get("/dashboard")
        assert "No worker is alive" in page.text
        drivers = ["provider:cdn-a", "provider:cdn-b", "dns:scripted"]
        assert rows(page, "Providers and DNS") == drivers

    def test_counts_services_by_status(self, poppy, app):
        for number, status in ((3, ProviderStatus.FAILED), (2, ProviderStatus.DEPLOYED)):
            for _ in range(number):
                details = {"mock": ProviderDetail(status)}
                store(poppy, State.SUCCEEDED, service=make_service(provider_details=details))
        text = plain(app.get("/dashboard"))
        assert "3 failed" in text
        assert "2 deployed" in text
        assert "0 disabled" in text

    def test_counts_are_capped(self, poppy, app, monkeypatch):
        monkeypatch.setattr(overview, "COUNTED", 2)
        for _ in range(3):
            store(poppy)
        assert "2 + create in progress" in plain(app.get("/dashboard"))

    def test_groups_operations_by_blocking_driver_and_kind(self, poppy, app):
        held = Step("provider:cdn-a", StepState.WAITING, "it is down")
        store(poppy, State.WAITING, (held,), age=7200)
        store(poppy, State.WAITING, (held, Step("provider:cdn-b")), age=600)
        store(poppy, State.RUNNING)
        store(poppy, State.QUEUED)
        store(poppy, State.FAILED, error="no")
        page = app.get("/dashboard")
        text = plain(page)
        assert "4 unfinished" in text
        assert "2 h since the oldest was requested" in text
        assert "1 failed" in text
        assert "provider:cdn-a – – 2 2 h" in text
        assert "provider:cdn-b – – 1 10 min" in text
        assert "create 1 1 2 2 h" in text

    def test_marks_incomplete_counts(self, poppy, app, monkeypatch):
        monkeypatch.setattr(overview, "LOOKED_AT", 2)
        for _ in range(3):
            store(poppy)
        assert "2+ unfinished" in plain(app.get("/dashboard"))
        assert "there may be more" in plain(app.get("/dashboard/operations"))

    def test_shows_live_and_silent_workers(self, poppy, app):
        now = datetime.datetime.now(datetime.UTC)
        alive = Worker("1", "host-a", 17, "9.9", "dc1", now, now, slots=8, busy=3, hung=1)
        silent = replace(alive, worker_id="2", host="host-b", seen_at=now - 2 * overview.ALIVE)
        for worker in (alive, silent):
            poppy.storage.membership.beat(worker)
        text = plain(app.get("/dashboard"))
        assert "host-a:17 alive 3 of 8" in text
        assert "host-b:17 silent" in text
        assert "Workers 1" in text
        assert "No worker is alive" not in text

    def test_shows_breakers_limits_and_quotas(self, poppy, app):
        now = datetime.datetime.now(datetime.UTC)
        opened = Breaker("provider:cdn-a").next(
            state=BreakerState.OPEN,
            until=now + datetime.timedelta(minutes=5),
            openings=2,
            reason="it said 503",
        )
        poppy.storage.membership.swap(opened)
        quota = ProviderQuota("cdn-b", "purges", 100, 7)
        worker = Worker("1", "h", 1, "9", "", now, now, 1, down=("cdn-a",), quotas=(quota,))
        poppy.storage.membership.beat(worker)
        poppy.cdn_b.healthy = False
        poppy.conf.set_override("rate_limit", 2.5, "drivers:provider:cdn-b")
        text = plain(app.get("/dashboard"))
        held = r"provider:cdn-a yes unreachable from h:1 open until .* opened 2 times it said 503"
        assert re.search(held, text)
        assert "provider:cdn-b no closed 2.5 calls/s, bursts of 10 purges: 7 of 100 left" in text

    def test_does_not_wait_for_a_hanging_provider(self, make, monkeypatch):
        monkeypatch.setattr(overview, "PATIENCE", 0.05)
        monkeypatch.setattr(ScriptedProvider, "health", lambda self: time.sleep(1) or True)
        poppy = make()
        app = browser(poppy)
        sign_in(app)
        began = time.monotonic()
        assert "provider:cdn-a unknown" in plain(app.get("/dashboard"))
        assert time.monotonic() - began < 1
        poppy.wait(lambda: "provider:cdn-a unknown" not in plain(app.get("/dashboard")), 5)


class TestOperations:
    def test_of_an_empty_installation(self, app):
        text = plain(app.get("/dashboard/operations"))
        assert "No unfinished operations" in text
        assert "No failed operations" in text

    @pytest.mark.parametrize("state", [it for it in State if it is not State.SUPERSEDED])
    def test_shows_an_operation_of_each_state(self, poppy, app, state):
        step = Step("provider:cdn-a", StepState.WAITING, "it is down")
        steps = (step,) if state is State.WAITING else ()
        service, operation = store(poppy, state, steps, error="because")
        page = app.get("/dashboard/operations")
        assert (service.service_id in page.text) == (state is not State.SUCCEEDED)
        where = f"/dashboard/services/{service.project_id}/{service.service_id}"
        own = app.get(where)
        assert operation.operation_id in own.text
        assert f"create {state}" in plain(own)
        if state is not State.SUCCEEDED:
            assert f'href="{where}#operation-{operation.operation_id}"' in page.text

    def test_are_filtered(self, poppy, app):
        step = Step("provider:cdn-a", StepState.WAITING, "it is down")
        waiting, _ = store(poppy, State.WAITING, (step,))
        queued, _ = store(poppy)
        for query, expected in (
            ("state=waiting", [waiting]),
            ("state=queued", [queued]),
            ("place=provider%3Acdn-a", [waiting]),
            ("place=not+begun", [queued]),
            ("kind=create", [waiting, queued]),
            ("kind=purge", []),
            ("kind=create&state=running", []),
        ):
            page = app.get(f"/dashboard/operations?{query}").text
            found = [it for it in (waiting, queued) if it.service_id in page]
            assert found == expected, query

    def test_long_lists_are_truncated(self, poppy, app, monkeypatch):
        monkeypatch.setattr(pages, "PAGE", 5)
        services = [store(poppy, age=100 - n)[0] for n in range(8)]
        page = app.get("/dashboard/operations").text
        shown = [it.service_id in page for it in services]
        assert shown == [True] * 5 + [False] * 3, "the oldest"
        assert "Showing the 5 oldest of 8" in page


class TestServices:
    def test_are_paged_by_status(self, poppy, app, monkeypatch):
        monkeypatch.setattr(pages, "PAGE", 3)
        ids = [store(poppy)[0].service_id for _ in range(7)]
        seen, page = [], app.get("/dashboard/services?status=create_in_progress")
        for _ in range(3):
            found = [it for it in ids if it in page.text]
            assert len(found) <= 3
            seen += found
            if "Next page" in page.text:
                page = page.click("Next page")
        assert seen == ids
        assert "First page" in page.text

    def test_invalid_queries_are_refused(self, app):
        assert "must be one of" in app.get("/dashboard/services?status=x", status=400).text
        app.get("/dashboard/services?marker=x", status=400)

    def test_default_to_failed_services(self, poppy, app):
        store(poppy)
        assert "No services with status “failed”" in app.get("/dashboard/services").text


class TestService:
    def test_shows_the_status_and_operations(self, poppy, app):
        service_id = poppy.create(name="my site", domain="a.example.com")
        poppy.dns.script = [errors.PermanentError("the zone is locked")]
        with poppy.working():
            poppy.settle(service_id)
        text = plain(app.get(f"/dashboard/services/{PROJECT}/{service_id}"))
        assert "my site failed" in text
        assert "a.example.com" in text
        assert "the zone is locked" in text
        assert "dns failed the zone is locked" in text
        operation = poppy.operations(service_id)[0]
        assert f"operations retry {PROJECT} {service_id} {operation.operation_id}" in text

    def test_shows_why_certificates_are_missing(self, poppy, app):
        domains = tuple(Domain(it, "https", "sni") for it in ("a.example.com", "b.example.com"))
        detail = ProviderDetail(
            ProviderStatus.DEPLOYED,
            certificates={"a.example.com": "create_in_progress", "b.example.com": "deployed"},
            certificate_messages={"a.example.com": "CAA <forbids> it"},
        )
        service = make_service(provider_details={"own": detail})
        service = replace(service, spec=replace(service.spec, domains=domains))
        store(poppy, State.SUCCEEDED, service=service)
        page = app.get(f"/dashboard/services/{service.project_id}/{service.service_id}")
        assert "sni own: create in progress CAA <forbids> it" in plain(page)
        assert "sni own: deployed" in plain(page)

    def test_history_is_paged_and_survives_deletion(self, poppy, app, monkeypatch):
        monkeypatch.setattr(pages, "HISTORY", 2)
        service_id = poppy.create()
        path = f"/dashboard/services/{PROJECT}/{service_id}"
        with poppy.working():
            poppy.settle(service_id)
            for _ in range(2):
                poppy.services.purge(PROJECT, service_id, Purge(None, hard=False), None)
                poppy.settle(service_id)
            poppy.services.delete(PROJECT, service_id, None)
            assert poppy.settle(service_id) is None
        page = app.get(path)
        assert "Deleted service" in page.text
        older = page.click("Older")
        kinds = re.findall("<strong>(create|purge|delete)</strong>", page.text + older.text)
        assert kinds == ["delete", "purge", "purge", "create"]

    def test_unknown_service_is_not_found(self, app):
        path = "/dashboard/services/1/01890000-0000-7000-8000-000000000001"
        assert app.get(path, status=404).content_type == "text/html"
        app.get("/dashboard/services/1/x", status=400)
        app.get("/dashboard/services/a%20b/01890000-0000-7000-8000-000000000001", status=400)

    def test_certificate_order_has_a_page(self, poppy, app):
        body = {"domain_name": "a.example.com", "cert_type": "san", "flavor_id": "standard"}
        body["project_id"] = PROJECT
        poppy.boot.manager.certificates.create(PROJECT, body, None)
        page = app.get("/dashboard/operations")
        page = page.click("create")
        assert "a.example.com" in page.text
        assert f"{PROJECT}#certificates" in page.text


class TestFind:
    def test_redirects_to_the_service_of_a_domain(self, poppy, app):
        service_id = poppy.create(domain="a.example.com")
        for text in ("a.example.com", " A.Example.COM ", f"{PROJECT}/{service_id}"):
            response = app.get("/dashboard/find", {"q": text}, status=303)
            assert response.location.endswith(f"/dashboard/services/{PROJECT}/{service_id}")
            response.follow(status=200)

    def test_lists_the_domains_of_a_provider_hostname(self, poppy, app):
        service_id = poppy.create(domain="a.example.com")
        with poppy.working():
            poppy.settle(service_id)
        page = app.get("/dashboard/find", {"q": "a.example.com.cdn-a.example"})
        assert service_id in page.click("a.example.com").follow().text

    @pytest.mark.parametrize(
        ("text", "status"),
        [("", 200), ("b.example.com", 404), ("not a domain", 400), ("1/x", 400), ("a b/c", 400)],
    )
    def test_reports_when_nothing_is_found(self, app, text, status):
        assert app.get("/dashboard/find", {"q": text}, status=status).content_type == "text/html"


class TestColours:
    """WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 to its background."""

    PAIRS = (
        *(("text", ground) for ground in ("page", "card")),
        *(("quiet", ground) for ground in ("page", "card")),
        *((colour, "card") for colour in ("link", "bad", "wait")),
        *((name, f"{name}-ground") for name in ("good", "busy", "wait", "bad", "off")),
        *(("bar-text", "bar"), ("card", "link"), ("text", "wait-ground"), ("wait", "wait-ground")),
    )

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_have_sufficient_contrast(self, stranger, scheme):
        style = stranger.get("/dashboard/static/dashboard.css").text
        blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
        assert len(blocks) == 2
        colours = {}
        for block in blocks[: 1 if scheme == "light" else 2]:
            colours |= re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)
        for text, ground in self.PAIRS:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def contrast(*colours):
    def luminance(colour):
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, bright = sorted(map(luminance, colours))
    return (bright + 0.05) / (dark + 0.05)


def plain(response):
    """Return a page's main text without markup and line breaks."""
    main = response.text.partition("<main")[2].partition("</main>")[0]
    text = re.sub(r"<[^>]*>", " ", f"<{main}")
    for name, character in (("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(name, character)
    return re.sub(r"\s+", " ", text)


def rows(response, label):
    """Return the row headers of a table."""
    table = re.search(rf'aria-label="{label}">(.*?)</table>', response.text, re.DOTALL)[1]
    return re.findall(r'<th scope="row">(.*?)</th>', table)
