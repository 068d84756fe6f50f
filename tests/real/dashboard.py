# SPDX-License-Identifier: Apache-2.0
"""A Poppy with the dashboard enabled and two providers, one of which can be made to fail."""

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
    """The daemons, and a fake Fastly API that they use.

    Attributes:
        poppy: the installation, with the flavors ``standard`` (mock) and ``premium`` (fastly).
        fastly: the fake, in this process.
        url: the dashboard's URL.
    """

    def __init__(self, directory: Path, pause: float, **dashboard: Any) -> None:
        """Prepare the options without starting anything.

        Args:
            directory: where the daemons store their state.
            pause: seconds that Fastly's circuit breaker stays open.
            dashboard: options of the dashboard's group.
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
        """Run a server and a worker process."""
        with self.fastly:
            self._options["drivers:provider:fastly"]["api_url"] = self.fastly.url
            self.poppy = Installation(self._directory, self._options)
            self.url = f"{self.poppy.base}/dashboard"
            self.poppy.sync()
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
        """Make Fastly stop answering."""
        self.fastly.fault = lambda _: LOST_REQUEST

    def repair_fastly(self) -> None:
        """Make Fastly answer again."""
        self.fastly.fault = lambda _: NONE

    def deploy(self, domain: str, flavor: str = "standard", **changes: Any) -> str:
        """Create a service, wait until it is deployed, and return its URL."""
        url = self.poppy.create_service(domain, flavor_id=flavor, **changes)
        self.poppy.wait_for(url, "deployed")
        return url

    def sign_in(self, browser: webdriver.Chrome, path: str = "") -> None:
        """Open a page through the sign-in form, as an operator does."""
        browser.get(self.url + path)
        browser.find_element(By.NAME, "password").send_keys(PASSWORD)
        browser.find_element(By.CSS_SELECTOR, "button.main").click()
        wait(lambda: browser.current_url == self.url + path, 10)
