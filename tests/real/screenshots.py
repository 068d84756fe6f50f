# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.real.screenshots``: take the screenshots of ``doc/source/dashboard.rst``."""

import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.real.browser import chromium, prefer, resize
from tests.real.dashboard import Scene
from tests.real.poppy import wait

PLACE = Path(__file__).parents[2] / "doc/source/images"
#: Maximum size of a screenshot in bytes, to keep the documentation small.
LARGEST = 150_000

WIDE = (1040, 860)
PHONE = (390, 844)

_SITES = ("shop", "news", "media", "docs", "www", "static", "img", "play")


def main(directory: Path = PLACE) -> None:
    """Populate an installation and take the screenshots."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="poppy-screenshots-") as made, chromium() as browser:
        # Pages must not refresh while a screenshot is taken.
        scene = Scene(Path(made), 600, refresh=3600)
        with scene.running():
            waiting = _populate(scene)
            _take(scene, browser, waiting, directory)


def _populate(scene: Scene) -> str:
    """Create services, some of which fail or wait; return the URL of one that waits."""
    for name in _SITES:
        scene.deploy(f"{name}.example.com", name=f"{name} site")
    for name in ("cars", "books"):
        scene.deploy(f"{name}.example.org", "premium", name=name)
    scene.fastly.account.taken.add("taken.example.org")
    failed = scene.poppy.create_service(
        "taken.example.org", flavor_id="premium", name="a taken domain"
    )
    scene.poppy.wait_for(failed, "failed")
    kept = scene.deploy(
        "radio.example.org",
        "premium",
        name="radio",
        domains=[{"domain": "radio.example.org"}, {"domain": "live.radio.example.org"}],
        caching=[{"name": "default", "ttl": 3600}],
    )
    scene.poppy.session.delete(f"{kept}/assets?all=true", timeout=10)
    time.sleep(2)
    scene.break_fastly()
    patch = [{"op": "replace", "path": "/caching/0/ttl", "value": 60}]
    headers = {"Content-Type": "application/json-patch+json"}
    scene.poppy.session.patch(kept, json=patch, headers=headers, timeout=10)
    for name in ("games", "maps"):
        scene.poppy.create_service(f"{name}.example.org", flavor_id="premium", name=name)
    # Wait until the breaker has opened and the workers have reported it.
    time.sleep(6)
    return kept


def _take(scene: Scene, browser: webdriver.Chrome, waiting: str, directory: Path) -> None:
    prefer(browser, "light")
    resize(browser, *WIDE)
    browser.get(scene.url)
    _save(browser, directory / "dashboard-sign-in.png", 480)
    scene.sign_in(browser)
    wait(lambda: ">unknown<" not in browser.page_source or browser.refresh(), 20)
    _save(browser, directory / "dashboard-overview.png")
    prefer(browser, "dark")
    _save(browser, directory / "dashboard-overview-dark.png")
    browser.get(f"{scene.url}/operations")
    _save(browser, directory / "dashboard-operations.png")
    prefer(browser, "light")
    browser.get(f"{scene.url}/services?status=deployed")
    _save(browser, directory / "dashboard-services.png")
    browser.get(f"{scene.url}/find?q=radio.example.org")
    assert waiting.rpartition("/")[2] in browser.current_url
    _save(browser, directory / "dashboard-service.png", 1080)
    resize(browser, *PHONE)
    browser.get(scene.url)
    _save(browser, directory / "dashboard-phone.png", PHONE[1])


def _save(browser: webdriver.Chrome, path: Path, height: int | None = None) -> None:
    """Take a screenshot of the whole page, or of its upper part."""
    width = browser.execute_script("return window.innerWidth")
    bottom = browser.find_element(By.TAG_NAME, "body").rect["height"]
    resize(browser, width, height or round(bottom))
    assert browser.save_screenshot(str(path))
    resize(browser, width, 860)
    size = path.stat().st_size
    print(f"{path.name}: {size} bytes")
    if size > LARGEST:
        sys.exit(f"{path.name} is larger than {LARGEST} bytes")


if __name__ == "__main__":
    main()
