# SPDX-License-Identifier: Apache-2.0
"""A mistyped origin, an absurd Retry-After and a hanging provider, with real daemons."""

import datetime
import email.utils
import json
import threading
import time
from typing import Any

import pytest
import requests

from tests.real.fastly import LOST_REQUEST, TOKEN, Fastly
from tests.real.poppy import Installation, wait
from tests.real.unreliable import Unreliable

QUICK = {"dispatch_interval": 0.2, "retry_base": 0.5, "retry_ceiling": 1.0}
LATER = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
#: More cases are in tests/unit/common/test_waits.py.
ABSURD = [
    (429, "315360000"),
    (503, "99999999999"),
    (429, email.utils.format_datetime(LATER, usegmt=True)),
    (503, "inf"),
]


class Site:
    """A running Poppy as seen by tenants and the operator."""

    def __init__(self, directory: Any, groups: dict[str, dict[str, Any]]) -> None:
        self.poppy = Installation(directory, groups)
        self.poppy.sync()

    def flavor(self, name: str, provider: str) -> None:
        links = [{"href": "http://www.example.com", "rel": "provider_url"}]
        body = {"id": name, "providers": [{"provider": provider, "links": links}]}
        answer = self.poppy.session.post(f"{self.poppy.base}/v1.0/flavors", json=body, timeout=20)
        assert answer.status_code == 201, answer.text

    def create(self, project: str, domain: str, flavor: str, origin: str) -> str:
        """Create a service; return its URL."""
        body = {
            "name": "site",
            "flavor_id": flavor,
            "domains": [{"domain": domain}],
            "origins": [{"origin": origin}],
        }
        answer = requests.post(
            f"{self.poppy.base}/v1.0/services",
            json=body,
            headers={"X-Project-ID": project},
            timeout=20,
        )
        assert answer.status_code == 202, answer.text
        return str(answer.headers["Location"])

    def get(self, project: str, url: str) -> Any:
        return requests.get(url, headers={"X-Project-ID": project}, timeout=20)

    def operation(self, project: str, url: str) -> Any:
        """Return the latest operation of a service."""
        return self.get(project, f"{url}/operations").json()["operations"][0]

    def wait_for(self, project: str, url: str, status: str, timeout: float = 60) -> None:
        wait(lambda: self.get(project, url).json().get("status") == status, timeout)

    def wait_until_failed_once(self, project: str, url: str) -> Any:
        wait(lambda: self.operation(project, url)["state"] == "waiting", 60)
        return self.operation(project, url)

    def breakers(self) -> dict[str, Any]:
        found = json.loads(self.poppy.manage("breakers", "list", "-f", "json").stdout)
        return {it["driver"]: it for it in found}


@pytest.mark.parametrize(("status", "value"), ABSURD)
def test_absurd_retry_after_is_bounded(tmp_path, status, value):
    """The provider requests a wait of years; Poppy waits at most as long as the options allow."""
    with Fastly() as fastly, Unreliable(fastly.url) as front:
        front.headers = {"Retry-After": value}
        front.body = b'{"msg": "Too many requests"}'
        front.restart(lambda _number: status)
        groups = {
            "drivers": {"providers": "fastly"},
            "drivers:provider:fastly": {
                "token": TOKEN,
                "api_url": front.url,
                "breaker_pause": 1,
            },
            "drivers:distributed_task:taskflow": {**QUICK, "max_retry_after": 5},
        }
        site = Site(tmp_path, groups)
        with site.poppy.daemon("poppy-standalone"):
            site.poppy.wait_until_up()
            site.flavor("fastly", "fastly")
            url = site.create("aaaa", "www.example.com", "fastly", "origin.example.com")
            operation = site.wait_until_failed_once("aaaa", url)
            due = datetime.datetime.fromisoformat(operation["next_attempt_at"])
            assert (due - datetime.datetime.now(datetime.UTC)).total_seconds() < 10
            until = site.breakers()["provider:fastly"]["until"]
            if until is not None:
                left = datetime.datetime.fromisoformat(until) - datetime.datetime.now(datetime.UTC)
                assert left.total_seconds() <= 300
            # The provider works again; a reset saves the operator the rest of five minutes.
            front.restart()
            assert site.poppy.manage("breakers", "reset").returncode == 0
            site.wait_for("aaaa", url, "deployed")


def test_hanging_provider_leaves_slots_for_others(tmp_path):
    """While it accepts connections but never answers, another provider's service is deployed."""
    with Fastly() as fastly:
        hanging: list[float] = []
        over = threading.Event()

        def hang(_request: Any) -> Any:
            hanging.append(time.monotonic())
            over.wait(120)
            return LOST_REQUEST

        fastly.fault = hang
        groups = {
            "drivers": {"providers": "fastly, mock"},
            "drivers:provider:fastly": {"token": TOKEN, "api_url": fastly.url, "timeout": 30},
            "drivers:distributed_task:taskflow": QUICK,
        }
        site = Site(tmp_path, groups)
        with site.poppy.daemon("poppy-standalone"):
            site.poppy.wait_until_up()
            site.flavor("fastly", "fastly")
            site.flavor("mock", "mock")
            for number in range(20):
                site.create("aaaa", f"n{number}.example.com", "fastly", "origin.example.com")
            wait(lambda: len(hanging) >= 8, 60)
            began = time.monotonic()
            ours = site.create("bbbb", "www.example.org", "mock", "origin.example.com")
            site.wait_for("bbbb", ours, "deployed", 25)
            assert time.monotonic() - began < 25, "before the first call has timed out"
            assert len(hanging) == 8, "ten slots; one is kept for each other driver"
            over.set()
