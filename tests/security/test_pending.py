# SPDX-License-Identifier: Apache-2.0
"""A service that waits for a DNS record that never appears, with a daemon and Fastly's API.

The waiting update must not block a site that serves: the tenant can still purge and change it.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.fastly import TOKEN, Fastly
from tests.real.poppy import Installation

TYPO = "typo.example.com"
SITE: dict[str, Any] = {
    "name": "live",
    "flavor_id": "standard",
    "domains": [{"domain": "live.example.com"}],
    "origins": [{"origin": "o.example.net"}],
}
ADD_TYPO = [
    {
        "op": "add",
        "path": "/domains/-",
        "value": {"domain": TYPO, "protocol": "https", "certificate": "san"},
    }
]
TAKE_BACK = [{"op": "remove", "path": "/domains/1"}]


class Site:
    """A deployed service with an update that waits for the tenant's DNS record."""

    def __init__(self, poppy: Installation, fastly: Fastly) -> None:
        self.poppy = poppy
        self.fastly = fastly
        answer = poppy.session.post(poppy.base + "/v1.0/services", json=SITE, timeout=30)
        assert answer.status_code == 202, answer.text
        self.url = str(answer.headers["Location"])
        poppy.wait_for(self.url, "deployed")
        self.call("PATCH", ADD_TYPO)
        self.until(lambda: self.states()[-1] == "waiting")

    def call(self, method: str, body: Any = None, path: str = "", status: int = 202) -> None:
        answer = self.poppy.session.request(method, self.url + path, json=body, timeout=30)
        assert answer.status_code == status, answer.text

    def operations(self) -> list[dict[str, Any]]:
        """Return the service's operations, oldest first."""
        answer = self.poppy.session.get(f"{self.url}/operations", timeout=30)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["operations"]
        return found[::-1]

    def states(self) -> list[str]:
        return [it["state"] for it in self.operations()]

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, self.operations()
            time.sleep(0.1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Fastly() as fastly:
        options = {
            "drivers": {"providers": "fastly"},
            "drivers:provider:fastly": {"token": TOKEN, "api_url": fastly.url, "timeout": 20},
        }
        poppy = Installation(tmp_path, options)
        with poppy.daemon("poppy-standalone"):
            poppy.wait_until_up()
            poppy.create_flavor("fastly")
            yield Site(poppy, fastly)


def test_purge_is_done_while_the_update_waits(site: Site) -> None:
    site.call("DELETE", path="/assets?url=/a.css")
    site.until(lambda: site.states()[1:] == ["waiting", "succeeded"])
    assert len(site.fastly.account.purges) == 1
    assert site.poppy.status(site.url) == "update_in_progress"


def test_patch_supersedes_the_waiting_update(site: Site) -> None:
    assert site.fastly.tls.of(TYPO)
    site.call("PATCH", TAKE_BACK)
    site.poppy.wait_for(site.url, "deployed")
    assert site.states() == ["succeeded", "superseded", "succeeded"]
    (service,) = site.fastly.account.living()
    assert service.active is not None
    assert set(service.active.objects["domain"]) == {"live.example.com"}
    assert site.fastly.tls.of(TYPO) == [], "nothing is left that waits for the record"


def test_cancel_unblocks_the_service(site: Site) -> None:
    waiting = site.operations()[-1]
    site.call("POST", {"cancel": {}}, f"/operations/{waiting['id']}/action")
    assert site.poppy.status(site.url) == "failed"
    site.call("DELETE", path="/assets?all=true")
    site.until(lambda: site.states()[1:] == ["failed", "succeeded"])
    site.call("PATCH", TAKE_BACK)
    site.poppy.wait_for(site.url, "deployed")
    assert site.fastly.tls.of(TYPO) == []
    site.call("POST", {"cancel": {}}, f"/operations/{waiting['id']}/action", status=409)
