# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real browser, with running daemons and a failing provider."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.real.browser import chromium, prefer, resize
from tests.real.dashboard import PASSWORD, Scene
from tests.real.poppy import wait

pytestmark = pytest.mark.real

HOSTILE = "<img src=x onerror=\"document.title='taken over'\"><script>alert(1)</script>"
PHONE = (390, 844)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Daemons with two services, one with a hostile name."""
    made = Scene(tmp_path_factory.mktemp("dashboard"), 0.5)
    with made.running():
        made.deploy("www.example.com", name=HOSTILE)
        made.deploy("play.example.org", "premium", name="play")
        yield made


@pytest.fixture(scope="module")
def shared_browser():
    with chromium() as made:
        yield made


@pytest.fixture
def browser(shared_browser):
    """A browser without cookies. Its console must be empty at the end."""
    shared_browser.get_log("browser")
    forget(shared_browser)
    resize(shared_browser, 1280, 900)
    yield shared_browser
    # In particular, no violations of the Content-Security-Policy.
    assert complaints(shared_browser) == []
    shared_browser.get("about:blank")


def forget(browser):
    """Delete all cookies, from any page. Cookies ignore ports."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})


def complaints(browser):
    """Return the console messages since the last call."""
    return [it["message"] for it in browser.get_log("browser")]


def text(browser):
    """Return the visible text of the page's content."""
    return browser.find_element(By.TAG_NAME, "main").text


def reads(browser, *expected):
    """Wait until the page shows all expected texts, without reloading it."""
    wait(lambda: all(it in text(browser) for it in expected), 20)


def mark(browser):
    """Set a variable in the page that a reload would clear."""
    browser.execute_script("window.marked = true")


def is_marked(browser):
    return browser.execute_script("return window.marked === true")


def test_an_operator_signs_in_browses_and_signs_out(scene, browser):
    browser.get(f"{scene.url}/services?status=deployed")
    assert "/sign-in" in browser.current_url
    browser.find_element(By.NAME, "password").send_keys("a wrong password", Keys.ENTER)
    reads(browser, "Wrong password.")
    (refusal,) = complaints(browser)
    assert "status of 403" in refusal
    browser.find_element(By.NAME, "password").send_keys(PASSWORD, Keys.ENTER)
    wait(lambda: browser.current_url == f"{scene.url}/services?status=deployed", 10)
    browser.find_element(By.LINK_TEXT, "play").click()
    reads(browser, "play.example.org.cdn.example.net", "succeeded")
    browser.find_element(By.LINK_TEXT, "Overview").click()
    reads(browser, "provider:fastly", "alive")
    browser.find_element(By.LINK_TEXT, "Edge").click()
    reads(browser, "There are no nodes.")
    browser.find_element(By.NAME, "q").send_keys("play.example.org", Keys.ENTER)
    reads(browser, "play.example.org.cdn.example.net")
    cookie = browser.get_cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        True,
        "Strict",
        "/dashboard",
    )
    assert browser.execute_script("return document.cookie") == ""
    browser.find_element(By.CSS_SELECTOR, ".out button").click()
    wait(lambda: browser.current_url == f"{scene.url}/sign-in", 10)
    browser.get(scene.url)
    assert "/sign-in" in browser.current_url


def test_an_open_page_follows_an_operation(scene, browser):
    scene.sign_in(browser, "/operations")
    reads(browser, "No unfinished operations.")
    mark(browser)
    scene.break_fastly()
    url = scene.poppy.create_service("maps.example.org", flavor_id="premium")
    reads(browser, "waiting", "fastly did not answer")
    assert is_marked(browser)
    browser.find_element(By.LINK_TEXT, "create").click()
    reads(browser, "create in progress", "provider:fastly waiting")
    browser.find_element(By.LINK_TEXT, "Overview").click()
    reads(browser, "1 unfinished", "provider:fastly no open")
    mark(browser)
    scene.repair_fastly()
    reads(browser, "0 unfinished", "provider:fastly yes closed")
    assert is_marked(browser)
    assert scene.poppy.status(url) == "deployed"


def test_a_permanent_failure_shows_its_reason(scene, browser):
    scene.sign_in(browser, "/operations")
    reads(browser, "No failed operations.")
    scene.fastly.account.taken.add("taken.example.org")
    scene.poppy.create_service("taken.example.org", flavor_id="premium")
    reads(browser, "failed", "belongs to another customer")
    browser.find_element(By.LINK_TEXT, "create").click()
    opened = browser.find_element(By.CSS_SELECTOR, "details.operation")
    assert opened.get_attribute("open"), "the link's target"
    command = opened.find_element(By.TAG_NAME, "code").text
    scene.fastly.account.taken.clear()
    assert command.startswith("poppy-manage operations retry ")
    assert scene.poppy.manage(*command.split()[1:]).returncode == 0
    reads(browser, "deployed", "create succeeded")
    opened = browser.find_element(By.CSS_SELECTOR, "details.operation")
    assert opened.get_attribute("open"), "still open after a refresh"


def test_tenant_input_is_not_executed(scene, browser):
    scene.sign_in(browser, "/services?status=deployed")
    assert HOSTILE in text(browser)
    browser.find_element(By.PARTIAL_LINK_TEXT, "taken over").click()
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith(HOSTILE)
    browser.find_element(By.CSS_SELECTOR, "#document summary").click()
    assert "onerror" in browser.find_element(By.CSS_SELECTOR, "#document code").text
    shown = browser.find_element(By.ID, "seen").text
    wait(lambda: browser.find_element(By.ID, "seen").text != shown, 10)
    assert browser.title == f"{HOSTILE} · Poppy"
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []


def test_pause_stops_refreshing(scene, browser):
    scene.sign_in(browser)
    pause = browser.find_element(By.ID, "pause")
    pause.click()
    assert pause.get_attribute("aria-pressed") == "true"
    shown = browser.find_element(By.ID, "seen").text
    asleep = browser.execute_async_script("setTimeout(arguments[0], 2500, 'slept')")
    assert (asleep, browser.find_element(By.ID, "seen").text) == ("slept", shown)
    pause.click()
    wait(lambda: browser.find_element(By.ID, "seen").text != shown, 10)


def test_an_open_page_redirects_to_sign_in_when_the_session_ends(scene, browser):
    scene.sign_in(browser, "/operations")
    forget(browser)
    wait(lambda: "/sign-in" in browser.current_url, 10)
    browser.find_element(By.NAME, "password").send_keys(PASSWORD, Keys.ENTER)
    wait(lambda: browser.current_url == f"{scene.url}/operations", 10)


def test_keyboard_navigation(scene, browser):
    scene.sign_in(browser)
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert focused.text == "Skip to content"
    focused.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.tag_name == "main"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert "create in progress" in browser.switch_to.active_element.text
    # A refresh keeps the focus.
    shown = browser.find_element(By.ID, "seen").text
    wait(lambda: browser.find_element(By.ID, "seen").text != shown, 10)
    assert "create in progress" in browser.switch_to.active_element.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(scene, browser, scheme):
    prefer(browser, scheme)
    scene.sign_in(browser)
    resize(browser, *PHONE)
    (service,) = scene.poppy.session.get(
        f"{scene.poppy.base}/v1.0/services?domain=www.example.com", timeout=10
    ).json()["services"]
    own = f"/services/{service['project_id']}/{service['id']}"
    for path in ("", "/operations", "/services?status=deployed", own, "/find", "/edge"):
        browser.get(scene.url + path)
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= PHONE[0], path
    ground = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    brightness = sum(map(float, ground.partition("(")[2].rstrip(")").split(",")[:3])) / 3
    assert (brightness > 128) == (scheme == "light")


def test_an_open_page_reports_an_unreachable_server(tmp_path, shared_browser):
    scene = Scene(tmp_path, 0.5)
    with scene.running():
        forget(shared_browser)
        scene.sign_in(shared_browser)
    trouble = "This page is out of date"
    wait(lambda: trouble in shared_browser.find_element(By.ID, "trouble").text, 10)
    assert "Overview" in text(shared_browser)
    shared_browser.get("about:blank")
