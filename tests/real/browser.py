# SPDX-License-Identifier: Apache-2.0
"""A fresh Chromium driven by ChromeDriver."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.real import unavailable

#: Without a screen, and without requests to its vendor.
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en"),
)


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[webdriver.Chrome]:
    """Start a browser with one empty window; skip the test if there is none.

    Args:
        width: of the viewport, in CSS pixels.
        height: ditto.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        unavailable("there is no Chromium", "apt-get install chromium chromium-driver")
    directory = Path(tempfile.mkdtemp(prefix="poppy-chromium-"))
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={directory}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With the path given, selenium does not search for a driver.
    service = Service(executable_path=driver, env={**os.environ, "HOME": str(directory)})
    try:
        browser = webdriver.Chrome(options=options, service=service)
        try:
            resize(browser, width, height)
            yield browser
        finally:
            browser.quit()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    """Set the viewport to the size of another device."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def prefer(browser: webdriver.Chrome, scheme: str) -> None:
    """Emulate a preference for ``light`` or ``dark``."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
