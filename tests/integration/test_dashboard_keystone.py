# SPDX-License-Identifier: Apache-2.0
"""Sign in to the dashboard with a real Keystone."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import logging
import secrets
from types import SimpleNamespace

import pytest
import webtest

from poppy.transport.pecan.dashboard.sessions import COOKIE
from tests.api.conftest import Api
from tests.real.fixtures import keystone  # noqa: F401
from tests.real.poppy import free_port

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def people(keystone):
    """A project and its users."""
    name = f"ops-{secrets.token_hex(4)}"
    project = keystone.project(name)
    roles = ("admin", "member", "operator", "auditor")
    users = {role: f"{role}-{secrets.token_hex(4)}" for role in roles}
    ids = {
        "admin": keystone.user(project, "admin", name=users["admin"]),
        "member": keystone.user(project, "member", name=users["member"]),
        "operator": keystone.user(None, "admin", system=True, name=users["operator"]),
        "auditor": keystone.user(None, "reader", system=True, name=users["auditor"]),
    }
    return SimpleNamespace(project=project, project_name=name, users=users, ids=ids)


def poppy(directory, keystone, **changes):
    conf = keystone.conf
    conf["keystone_authtoken"] |= {"token_cache_time": -1, **changes}
    conf["drivers:transport:dashboard"] = {"enabled": True}
    return Api(directory, conf)


@pytest.fixture(scope="module")
def api(keystone, tmp_path_factory):
    made = poppy(tmp_path_factory.mktemp("keystone"), keystone)
    yield made
    made.close()


@pytest.fixture
def browser(api):
    return webtest.TestApp(api.harness.boot.transport.application)


def fill(browser, **fields):
    """Fill in the form and submit it."""
    form = browser.get("/dashboard/sign-in?next=/operations").forms[0]
    for name, value in fields.items():
        form[name] = value
    return form.submit(expect_errors=True)


@pytest.fixture
def sign_in(browser, people, keystone):
    def sign_in(who, **fields):
        given = {"user": people.users[who], "password": keystone.user_password}
        return fill(browser, **given, **fields)

    return sign_in


def test_an_admin_of_a_project_signs_in_by_name_and_password(
    browser, sign_in, people, keystone, caplog
):
    caplog.set_level(logging.DEBUG)
    answer = sign_in("admin", project=people.project_name)
    assert "Dashboard sign-in from" in caplog.text
    assert keystone.user_password not in caplog.text
    assert browser.cookies[COOKIE] not in caplog.text
    assert answer.headers["Location"] == "/dashboard/operations"
    assert "No unfinished operations" in answer.follow().text
    assert "Overview" in browser.get("/dashboard").text


@pytest.mark.parametrize("who", ["operator", "auditor"])
def test_system_scoped_users_need_no_project(sign_in, who):
    assert sign_in(who).follow().status_int == 200


def test_signing_out_revokes_the_token(browser, sign_in, keystone, people):
    sign_in("admin", project=people.project_name)
    token = browser.cookies[COOKIE]
    assert keystone.knows(token)
    browser.post("/dashboard/sign-out", status=303)
    assert not keystone.knows(token)
    headers = {"Cookie": f"{COOKIE}={token}"}
    assert "/sign-in" in browser.get("/dashboard", headers=headers, status=303).location


def test_signing_out_takes_effect_despite_the_token_cache(keystone, people, tmp_path):
    api = poppy(tmp_path, keystone, token_cache_time=300)
    browser = webtest.TestApp(api.harness.boot.transport.application)
    token = keystone.token(people.ids["admin"], people.project)
    fill(browser, token=token).follow(status=200)
    browser.post("/dashboard/sign-out", status=303)
    headers = {"Cookie": f"{COOKIE}={token}"}
    assert "/sign-in" in browser.get("/dashboard", headers=headers, status=303).location
    api.close()


def test_domains_can_be_named(sign_in, people):
    named = {"project": people.project_name, "project_domain": "Default"}
    assert sign_in("admin", user_domain="Default", **named).status_int == 303
    answer = sign_in("admin", user_domain="Elsewhere", **named)
    assert answer.status_int == 403


def test_a_token_signs_in(browser, keystone, people):
    token = keystone.token(people.ids["admin"], people.project)
    assert fill(browser, token=f" {token}\n").follow().status_int == 200
    assert browser.cookies[COOKIE] == token


def test_a_member_is_refused_with_the_policy_rule(browser, sign_in, people, keystone):
    answer = sign_in("member", project=people.project_name)
    assert answer.status_int == 403
    assert "cdn:dashboard:get" in answer.text
    assert COOKIE not in browser.cookies
    token = keystone.token(people.ids["member"], people.project)
    headers = {"Cookie": f"{COOKIE}={token}"}
    assert "cdn:dashboard:get" in browser.get("/dashboard", headers=headers, status=403).text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user": "nobody", "password": "x"}, "Wrong user, password, project or domain"),
        ({"user": "", "password": "x"}, "Enter a user and password"),
        ({"token": "gAAAAAB" + "x" * 100}, "The token is invalid"),
        ({"token": "<b>"}, "The token is malformed"),
    ],
)
def test_invalid_credentials_are_refused(browser, fields, words):
    answer = fill(browser, **fields)
    assert answer.status_int == 403
    assert words in answer.text
    assert COOKIE not in browser.cookies


def test_a_wrong_password_looks_like_a_wrong_project(browser, people, keystone):
    answers = [
        fill(browser, user=people.users["admin"], password="x", project=people.project_name),
        fill(
            browser, user=people.users["admin"], password=keystone.user_password, project="nowhere"
        ),
        fill(browser, user=people.users["admin"], password=keystone.user_password),
    ]
    assert [answer.status_int for answer in answers] == [403] * 3
    assert len({answer.text for answer in answers}) == 1


def test_revoking_the_token_ends_the_session(browser, keystone, people):
    token = keystone.token(people.ids["admin"], people.project)
    fill(browser, token=token).follow(status=200)
    keystone.revoke(token)
    assert "/sign-in" in browser.get("/dashboard", status=303).headers["Location"]


def test_expiry_of_the_token_ends_the_session(browser, keystone, people):
    token = keystone.expired_token(people.ids["admin"], people.project)
    headers = {"Cookie": f"{COOKIE}={token}"}
    assert "/sign-in" in browser.get("/dashboard", headers=headers, status=303).location
    assert "has expired" in fill(browser, token=token).text


def test_a_token_in_the_header_is_accepted(browser, keystone, people):
    token = keystone.token(people.ids["admin"], people.project)
    assert "Overview" in browser.get("/dashboard", headers={"X-Auth-Token": token}).text


def test_the_cookie_is_no_credential_for_the_api(browser, sign_in, people):
    sign_in("admin", project=people.project_name)
    browser.get("/v1.0/services", status=401)


def test_identity_headers_are_ignored(browser):
    headers = {"X-Project-ID": "1", "X-Roles": "admin"}
    assert "/sign-in" in browser.get("/dashboard", headers=headers, status=303).location


def test_an_unreachable_keystone_is_reported(keystone, people, tmp_path):
    away = f"http://127.0.0.1:{free_port()}/v3"
    api = poppy(tmp_path, keystone, auth_url=away, http_request_max_retries=0)
    browser = webtest.TestApp(api.harness.boot.transport.application)
    answer = fill(browser, user="x", password="y")
    assert answer.status_int == 503
    assert "The identity service does not answer" in answer.text
    headers = {"Cookie": f"{COOKIE}={keystone.token(people.ids['admin'], people.project)}"}
    assert browser.get("/dashboard", headers=headers, status=503).content_type == "text/html"
    api.close()
