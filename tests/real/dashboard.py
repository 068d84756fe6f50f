# SPDX-License-Identifier: Apache-2.0
"""A Poppy whose dashboard is on, with two providers of which one can be told to fail."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.real.fastly import LOST_REQUEST, NONE, TOKEN, Fastly
from tests.real.poppy import Installation, wait

PASSWORD = "of-the-operator-of-tests"


class Scene:
    """The daemons, and Fastly's double, which they believe to be Fastly.

    Attributes:
        poppy: with the flavors ``standard`` (mock) and ``premium`` (fastly).
        fastly: in this process.
        url: of the dashboard.
    """

    def __init__(self, directory: Path, pause: float, **dashboard: Any) -> None:
        """Start nothing yet.

        Args:
            directory: for all that they keep.
            pause: seconds for which Fastly is left alone once it has failed.
            dashboard: options of its group.
        """
        self.fastly = Fastly()
        self._directory = directory
        self._options: dict[str, dict[str, Any]] = {
            "drivers": {"providers": "mock, fastly"},
            "drivers:provider:fastly": {
                "token": TOKEN,
                "timeout": 2,
                "rate_limit": 20,
                "max_concurrent_calls": 8,
                "breaker_failures": 1,
                "breaker_pause": pause,
            },
            "drivers:storage": {"max_services_per_project": 1000},
            "drivers:distributed_task:taskflow": {
                "heartbeat_interval": 1,
                "retry_base": 1,
                "retry_ceiling": 2,
                "workers": 2,
            },
            "drivers:transport:dashboard": {
                "enabled": True,
                "password": PASSWORD,
                "refresh": 1,
                **dashboard,
            },
            "DEFAULT": {"datacenter": "ams"},
        }
        self.poppy: Installation
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """With a server and workers, as processes."""
        with self.fastly:
            self._options["drivers:provider:fastly"]["api_url"] = self.fastly.url
            self.poppy = Installation(self._directory, self._options)
            self.url = f"{self.poppy.base}/dashboard"
            made = self.poppy.manage("db", "sync")
            assert made.returncode == 0, made.stderr
            with self.poppy.daemon("poppy-server"), self.poppy.daemon("poppy-worker"):
                self.poppy.wait_until_up()
                for flavor, provider in (("standard", "mock"), ("premium", "fastly")):
                    self._add_flavor(flavor, provider)
                yield
            self.poppy.session.close()

    def _add_flavor(self, name: str, provider: str) -> None:
        links = [{"href": "http://www.example.com", "rel": "provider_url"}]
        body = {"id": name, "providers": [{"provider": provider, "links": links}]}
        answer = self.poppy.session.post(f"{self.poppy.base}/v1.0/flavors", json=body, timeout=10)
        assert answer.status_code == 201, answer.text

    def break_fastly(self) -> None:
        """From now on it does not answer."""
        self.fastly.fault = lambda _: LOST_REQUEST

    def repair_fastly(self) -> None:
        """It answers again."""
        self.fastly.fault = lambda _: NONE

    def deploy(self, domain: str, flavor: str = "standard", **changes: Any) -> str:
        """Create a service and wait for it; gives its URL."""
        url = self.poppy.create_service(domain, flavor_id=flavor, **changes)
        self.poppy.wait_for(url, "deployed")
        return url

    def sign_in(self, browser: webdriver.Chrome, path: str = "") -> None:
        """Come to a page by way of the form, as an operator does."""
        browser.get(self.url + path)
        browser.find_element(By.NAME, "password").send_keys(PASSWORD)
        browser.find_element(By.CSS_SELECTOR, "button.main").click()
        wait(lambda: browser.current_url == self.url + path, 10)
