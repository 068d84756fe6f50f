# SPDX-License-Identifier: Apache-2.0
"""Log delivery through the complete API, with a double of Keystone and Swift."""

import logging

import pytest

pytest.importorskip("keystoneauth1")

from keystoneauth1 import exceptions, session

from poppy.provider.base import Deployment
from tests.api.conftest import Api
from tests.functional.harness import PROJECT
from tests.real.swift import Swift

LOGS = {"log_delivery": {"enabled": True}}
ENABLE = [{"op": "replace", "path": "/log_delivery/enabled", "value": True}]
DISABLE = [{"op": "replace", "path": "/log_delivery/enabled", "value": False}]
TOKEN = {"X-Auth-Token": "tenants-secret-token"}


@pytest.fixture
def swift():
    with Swift() as server:
        server.tokens["tenants-secret-token"] = PROJECT
        server.regions[PROJECT] = ["dc1", "dc2"]
        yield server


@pytest.fixture
def delivering(tmp_path, swift):
    options = {"identity_url": f"{swift.url}/v3", "preferred_dcs": "dc9,dc2", "timeout": 2}
    made = Api(tmp_path, groups={"log_delivery": options})
    yield made
    made.close()


def post(api, **headers):
    return api.post(api.document(**LOGS), **headers)


def logs_of(api, path):
    links = api.call("GET", path).json["links"]
    return [link["href"] for link in links if link["rel"] == "log_delivery"]


def test_logs_go_to_a_container_of_the_tenant(delivering, swift):
    answer = post(delivering, **TOKEN)
    assert answer.status_code == 202, answer.text
    path = answer.headers["Location"].removeprefix("http://localhost")
    assert swift.containers == [f"/dc2/v1/AUTH_{PROJECT}/.CDN_ACCESS_LOGS"]
    url = swift.url + swift.containers[0]
    assert logs_of(delivering, path) == [url]
    delivering.deploy(path)
    assert logs_of(delivering, path) == [url]
    assert delivering.harness.get(path.rpartition("/")[2]).log_url == url


def test_patch_enables_and_disables_log_delivery(delivering, swift):
    path = delivering.create()
    delivering.deploy(path)
    assert swift.containers == []
    assert delivering.call("PATCH", path, ENABLE).status_code == 400
    assert delivering.call("PATCH", path, ENABLE, **TOKEN).status_code == 202
    delivering.deploy(path)
    assert len(logs_of(delivering, path)) == len(swift.containers) == 1
    assert delivering.call("PATCH", path, DISABLE).status_code == 202
    delivering.deploy(path)
    assert logs_of(delivering, path) == []


@pytest.mark.parametrize("headers", [{}, {"X-Auth-Token": ""}, {"X-Auth-Token": "expired"}])
def test_log_delivery_without_a_valid_token_is_refused(delivering, swift, headers):
    answer = post(delivering, **headers)
    assert answer.status_code == 400
    assert delivering.rows()["services"] == 0
    assert swift.containers == []


def test_project_without_an_object_store_is_refused(delivering, swift):
    swift.regions[PROJECT] = ["dc1"]
    answer = post(delivering, **TOKEN)
    assert answer.status_code == 400
    assert "object store" in answer.json["message"]


@pytest.mark.parametrize(("failing", "status"), [(503, 503), (429, 503), (403, 400)])
def test_object_store_errors_are_reported(delivering, swift, failing, status):
    swift.failing = failing
    assert post(delivering, **TOKEN).status_code == status
    assert delivering.rows()["services"] == 0
    swift.failing = None
    assert post(delivering, **TOKEN).status_code == 202


def test_object_store_that_is_down_is_a_503(delivering, swift):
    swift._server.server_close()
    delivering.harness.conf.set_override("timeout", 0.3, group="log_delivery")
    assert post(delivering, **TOKEN).status_code == 503


@pytest.mark.parametrize("problem", ["ConnectTimeout", "SSLError", "UnknownConnectionError"])
def test_unreachable_object_store_is_a_503(delivering, monkeypatch, problem):
    def put(*args, **kwargs):
        known = getattr(exceptions, problem)
        raise known("away", OSError()) if problem.startswith("Unknown") else known("away")

    monkeypatch.setattr(session.Session, "put", put)
    assert post(delivering, **TOKEN).status_code == 503


def test_token_is_neither_stored_nor_logged(delivering, swift, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    path = post(delivering, **TOKEN).headers["Location"]
    delivering.deploy(path)
    assert "tenants-secret-token" not in caplog.text
    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert any(file.name == "poppy.sqlite3" for file in files)
    assert all(b"tenants-secret-token" not in file.read_bytes() for file in files)


def delivered(api, provider, domain="www.example.com"):
    """Script a provider's next deployment, and return the URL of its logs."""
    url = f"https://s3.example.net/logs/{PROJECT}/a-service/{provider.name}/"
    provider.script = [Deployment("id-1", {domain: f"{domain}.example"}, log_url=url)]
    return url


def test_without_a_container_the_providers_say_where_the_logs_are(api):
    providers = [api.harness.cdn_a, api.harness.cdn_b]
    urls = [delivered(api, provider) for provider in providers]
    path = api.create(flavor_id="both", **LOGS)
    assert logs_of(api, path) == []
    api.deploy(path)
    assert logs_of(api, path) == urls
    assert api.call("PATCH", path, DISABLE).status_code == 202
    assert logs_of(api, path) == []
    service = api.deploy(path)
    assert {detail.log_url for detail in service.provider_details.values()} == {""}


def test_the_container_of_a_tenant_hides_the_operators_buckets(delivering, swift):
    url = delivered(delivering, delivering.harness.cdn_a)
    path = post(delivering, **TOKEN).headers["Location"].removeprefix("http://localhost")
    service = delivering.deploy(path)
    assert logs_of(delivering, path) == [swift.url + swift.containers[0]]
    assert service.provider_details["cdn-a"].log_url == url


def test_no_container_is_created_without_configuration(api):
    path = api.create(**LOGS)
    assert logs_of(api, path) == []
