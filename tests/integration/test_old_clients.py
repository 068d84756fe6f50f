# SPDX-License-Identifier: Apache-2.0
"""Clients of 2016 work on services with fields that they don't know, and keep these."""

import base64
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.old_clients import OldClient
from tests.real.poppy import PROJECT, Installation, wait

pytestmark = pytest.mark.real

#: Fields that no client of 2016 knows.
NEW: dict[str, Any] = {
    "delivery": {"compression": "gzip", "websockets": False},
    "redirects": [{"name": "r", "request_url": "/old/*", "location": "/new/$1"}],
    "headers": [{"name": "h", "response": {"set": {"X-A": "1"}}}],
    "cors": {"allow_origins": ["https://app.example.com"]},
    "error_pages": [{"name": "e", "status": [404], "path": "/404.html"}],
    "waf": {"policy": "policy-1"},
    "tags": ["prod", "shop"],
}
CACHING = [
    {
        "name": "pages",
        "ttl": 60,
        "rules": [{"name": "pages", "request_url": "/*"}],
        "mode": "respect_origin",
        "key": {"query": "none", "headers": ["Accept-Language"], "cookies": ["lang"]},
    }
]
SECRET = {"keys": [{"id": "one", "secret": "0123456789abcdef" * 2}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    directory: pathlib.Path = tmp_path_factory.mktemp("poppy")
    installation = Installation(directory, {"document_secrets": {"encryption_keys": key}})
    with installation.session, installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        installation.create_flavor()
        yield installation


@pytest.fixture(params=["openstack", "rackspace", "gophercloud"])
def client(request: pytest.FixtureRequest, server: Installation) -> Iterator[OldClient]:
    with OldClient(request.param, f"{server.base}/v1.0", PROJECT) as client:
        yield client


def test_an_old_client_keeps_new_fields(server: Installation, client: OldClient) -> None:
    domain = f"n{secrets.token_hex(4)}.example.com"
    url = server.create_service(domain, **NEW, caching=CACHING, signed_urls=SECRET)
    server.wait_for(url, "deployed")
    before = server.session.get(url, timeout=10).json()
    service_id = before["id"]

    seen = client.call("get", service_id)
    assert (seen["id"], seen["status"]) == (service_id, "deployed")
    assert [it["domain"] for it in seen["domains"]] == [domain]
    client.call("rename", service_id, "renamed")
    server.wait_for(url, "deployed")
    client.call("add_domain", service_id, f"img.{domain}")
    server.wait_for(url, "deployed")

    after = server.session.get(url, timeout=10).json()
    assert after["name"] == "renamed"
    assert [it["domain"] for it in after["domains"]] == [domain, f"img.{domain}"]
    assert {name: after[name] for name in NEW} == NEW
    assert after["caching"] == CACHING
    assert after["signed_urls"] == before["signed_urls"]

    client.call("purge", service_id, "/index.html")
    client.call("purge_all", service_id)
    purges = f"{url}/operations"
    wait(lambda: _states(server, purges, "purge") == {"succeeded"}, 30)
    client.call("delete", service_id)
    server.wait_for(url, "gone")


def test_a_new_client_adds_fields_to_an_old_one_s_service(
    server: Installation, client: OldClient
) -> None:
    client.call("ping")
    assert client.call("flavors") == ["standard"]
    domains = [f"n{secrets.token_hex(4)}.example.com" for _ in range(3)]
    created = [client.call("create", "old", "standard", it, "o.example.net") for it in domains]
    url = f"{server.base}/v1.0/services/{created[0]}"
    server.wait_for(url, "deployed")
    patch = [{"op": "add", "path": f"/{name}", "value": value} for name, value in NEW.items()]
    assert server.session.patch(url, json=patch, timeout=10).status_code == 202
    server.wait_for(url, "deployed")

    assert set(created).issubset(client.call("list"))
    assert client.call("get", created[0])["name"] == "old"
    for service_id in created:
        client.call("delete", service_id)
        server.wait_for(f"{server.base}/v1.0/services/{service_id}", "gone")


def _states(server: Installation, url: str, kind: str) -> set[str]:
    listed = server.session.get(url, timeout=10).json()["operations"]
    return {it["state"] for it in listed if it["action"] == kind}
