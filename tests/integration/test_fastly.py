# SPDX-License-Identifier: Apache-2.0
"""End to end from the API to the double of Fastly, with the daemon as operators run it."""

import json
from pathlib import Path
from typing import Any

from poppy.common import config, driver
from poppy.storage.base import Storage
from tests.real.fastly import TOKEN, Fastly
from tests.real.poppy import PROJECT, Installation, wait

HTTPS = "secure.example.com"

DOCUMENT: dict[str, Any] = {
    "name": "site",
    "flavor_id": "standard",
    "domains": [
        {"domain": "www.example.com"},
        {"domain": HTTPS, "protocol": "https", "certificate": "sni"},
    ],
    "origins": [
        {"origin": "origin.example.net"},
        {
            "origin": "static.example.net",
            "port": 443,
            "ssl": True,
            "rules": [{"name": "static", "request_url": "/static/*"}],
        },
    ],
    "caching": [
        {"name": "default", "ttl": 3600},
        {"name": "news", "ttl": 30, "rules": [{"name": "news", "request_url": "/news/*"}]},
    ],
    "restrictions": [
        {
            "name": "office",
            "access": "blacklist",
            "rules": [
                {"name": "ip", "client_ip": "192.0.2.0/24"},
                {"name": "land", "geography": "Canada", "request_url": "/local/*"},
            ],
        }
    ],
}


def test_service_lifecycle(tmp_path: Path) -> None:
    with Fastly() as fastly:
        options = {
            "drivers": {"providers": "fastly"},
            "drivers:provider:fastly": {"token": TOKEN, "api_url": fastly.url, "timeout": 5},
        }
        poppy = Installation(tmp_path, {**options, "DEFAULT": {"debug": True}})
        with poppy.daemon("poppy-standalone"):
            poppy.wait_until_up()
            poppy.create_flavor("fastly")
            _refused(poppy)
            assert fastly.account.services == {}

            url = _post(poppy, DOCUMENT)
            record = f"create the CNAME record _acme-challenge.{HTTPS}"
            wait(lambda: record in _waits_for(poppy, url), 20)
            assert poppy.status(url) == "create_in_progress"
            (service,) = fastly.account.living()
            assert service.active is not None

            fastly.tls.set_state(HTTPS, "issued")
            # Delete it, instead of waiting a minute for the next poll.
            answer = poppy.session.delete(url, timeout=10)
            assert answer.status_code == 202, answer.text
            poppy.wait_for(url, "gone")
            assert fastly.account.living() == []
            assert fastly.tls.subscriptions == {}

            url = _post(poppy, {**DOCUMENT, "domains": DOCUMENT["domains"][:1]})
            poppy.wait_for(url, "deployed")
            _patch(poppy, url)
            poppy.wait_for(url, "deployed")
            (service,) = fastly.account.living()
            assert service.active is not None
            assert set(service.active.objects["domain"]) == {"new.example.com"}
            answer = poppy.session.delete(f"{url}/assets?url=/a&hard=false", timeout=10)
            assert answer.status_code == 202, answer.text
            wait(lambda: len(fastly.account.purges) == 1, 20)
            poppy.wait_for(url, "deployed")
            poppy.session.delete(url, timeout=10)
            poppy.wait_for(url, "gone")

            assert fastly.account.living() == []
            refused = [entry for entry in fastly.refused if entry.status != 404]
            assert refused == []
    assert TOKEN not in (tmp_path / "poppy.log").read_text()


def test_logs_are_linked_and_the_key_is_shown_nowhere(tmp_path: Path) -> None:
    secret = "the-secret-key-of-the-logs"
    store = {"log_bucket": "logs", "log_endpoint": "https://swift.example.net"}
    keys = {"log_access_key": "AKIALOGS", "log_secret_key": secret}
    document = {**DOCUMENT, "domains": DOCUMENT["domains"][:1]}
    with Fastly() as fastly:
        account = {"token": TOKEN, "api_url": fastly.url, "timeout": 5}
        options = {
            "DEFAULT": {"debug": True},
            "drivers": {"providers": "fastly"},
            "drivers:provider:fastly": {**account, **store, **keys},
        }
        poppy = Installation(tmp_path, options)
        with poppy.daemon("poppy-standalone"):
            poppy.wait_until_up()
            poppy.create_flavor("fastly")
            url = _post(poppy, {**document, "log_delivery": {"enabled": True}})
            poppy.wait_for(url, "deployed")
            (service,) = fastly.account.living()
            assert service.active is not None
            (endpoint,) = service.active.objects["logging/s3"].values()
            assert endpoint["secret_key"] == secret
            shown = poppy.session.get(url, timeout=10)
            links = [it["href"] for it in shown.json()["links"] if it["rel"] == "log_delivery"]
            assert links == [f"https://swift.example.net/logs/{endpoint['path']}"]
            operations = poppy.session.get(f"{url}/operations", timeout=10)
            admin = poppy.manage("services", "show", url.rpartition("/")[2])
            assert links[0] in admin.stdout
    for text in (shown.text, operations.text, admin.stdout, admin.stderr):
        assert secret not in text
    files = [file for file in tmp_path.rglob("*") if file.is_file() and file != poppy.config]
    assert any(file.name == "poppy.log" for file in files)
    assert all(secret.encode() not in file.read_bytes() for file in files)


def _refused(poppy: Installation) -> None:
    """Check that Fastly's restrictions on documents are applied to a POST."""
    origin = {"origin": "192.0.2.7", "port": 443, "ssl": True}
    answer = poppy.session.post(
        poppy.base + "/v1.0/services", json={**DOCUMENT, "origins": [origin]}, timeout=10
    )
    assert answer.status_code == 400
    assert (
        "Origin 192.0.2.7 with TLS needs verify_name, or hostheadertype custom"
        in answer.json()["message"]
    )


def _post(poppy: Installation, document: dict[str, Any]) -> str:
    answer = poppy.session.post(poppy.base + "/v1.0/services", json=document, timeout=10)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["Location"])


def _patch(poppy: Installation, url: str) -> None:
    change = [{"op": "replace", "path": "/domains", "value": [{"domain": "new.example.com"}]}]
    answer = poppy.session.patch(
        url,
        data=json.dumps(change),
        headers={"Content-Type": "application/json-patch+json"},
        timeout=10,
    )
    assert answer.status_code == 202, answer.text


def _waits_for(poppy: Installation, url: str) -> str:
    """Return the stored messages of the service's operations."""
    conf = config.new()
    conf(["--config-file", str(poppy.config)])
    storage: Storage = driver.load("storage", conf.drivers.storage, conf)
    try:
        found = storage.operations.list(PROJECT, url.rpartition("/")[2])
        return "; ".join(step.message or "" for entry in found for step in entry.steps)
    finally:
        storage.close()
