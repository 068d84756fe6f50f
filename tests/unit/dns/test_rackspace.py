# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``rackspace``, on a double built from the documentation."""

import datetime
import logging
import threading
from collections.abc import Iterator

import pytest

from poppy.common import waits
from poppy.common.errors import (
    ConfigError,
    InProgressError,
    PermanentError,
    RetryableError,
    Scope,
    Unauthorized,
)
from poppy.dns.base import DNSDriver
from poppy.dns.rackspace import api
from poppy.dns.rackspace.driver import Rackspace
from poppy.testing.dns import DNSContract
from tests.unit.dns.making import make_driver
from tests.unit.dns.rackspace_double import CloudDNS, Fault

SUFFIX, SHARED_SUFFIX = "cdn.example.net", "secure.example.net"
NAME = f"www.example.org.{SUFFIX}"
EDGE = "edge.example.com"
DOMAIN = "2725233"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudDNS]:
    monkeypatch.setattr(api, "POLL", 0.01)
    with CloudDNS(SUFFIX, SHARED_SUFFIX) as cloud:
        thread = threading.Thread(target=cloud.serve_forever, args=(0.01,))
        thread.start()
        yield cloud
        cloud.shutdown()
        thread.join()


def driver_for(cloud: CloudDNS, **options: object) -> Rackspace:
    given = {
        "username": "poppy",
        "api_key": "s3cret",
        "auth_url": cloud.url,
        "suffix": SUFFIX,
        "shared_ssl_domain_suffix": SHARED_SUFFIX,
        **options,
    }
    return make_driver(Rackspace, **given)


class TestContract(DNSContract):
    MANY = 120

    @pytest.fixture
    def driver(self, cloud: CloudDNS) -> Rackspace:
        self.cloud = cloud
        return driver_for(cloud)

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        return self.cloud.cname(name)

    def taken(self, driver: DNSDriver) -> str:
        self.cloud.put(DOMAIN, "A", f"taken.{SUFFIX}", "192.0.2.1")
        return f"taken.{SUFFIX}"

    def stranger(self, driver: DNSDriver) -> DNSDriver:
        return driver_for(self.cloud, api_key="wr0ng")


def changes(cloud: CloudDNS) -> list[str]:
    return [method for method, path in cloud.asked if method != "GET" and "records" in path]


def test_one_job_per_domain(cloud: CloudDNS) -> None:
    shared = f"shop.scdn0.{SHARED_SUFFIX}"
    driver_for(cloud).ensure({NAME: EDGE, f"other.{SUFFIX}": EDGE, shared: EDGE})
    assert changes(cloud) == ["POST", "POST"]
    assert cloud.cname(shared) == EDGE


def test_a_correct_record_is_not_changed(cloud: CloudDNS) -> None:
    driver = driver_for(cloud)
    driver.ensure({NAME: EDGE})
    driver.ensure({NAME: EDGE})
    assert changes(cloud) == ["POST"]
    driver_for(cloud, ttl=600).ensure({NAME: EDGE})
    assert changes(cloud) == ["POST", "PUT"]


def test_ensure_waits_for_its_job(cloud: CloudDNS) -> None:
    cloud.looks = 3
    driver_for(cloud).ensure({NAME: EDGE})
    assert cloud.cname(NAME) == EDGE


def test_a_slow_job_is_checked_later(cloud: CloudDNS) -> None:
    driver = driver_for(cloud, job_timeout=0)
    cloud.looks = 1
    with pytest.raises(InProgressError, match="is running job job-"):
        driver.ensure({NAME: EDGE})
    # It ends between two polls.
    (job,) = cloud.jobs.values()
    job["work"]()
    driver.ensure({NAME: EDGE})
    assert changes(cloud) == ["POST"]


def test_a_repeated_job_is_not_a_failure(cloud: CloudDNS) -> None:
    """The first job ended between the driver's lookup and its second job."""
    driver = driver_for(cloud)
    answer = cloud.answer

    def overtaken(method: str, path: str, *rest: object) -> object:
        if method == "POST" and cloud.cname(NAME) is None:
            cloud.put(DOMAIN, "CNAME", NAME, EDGE)
        return answer(method, path, *rest)

    cloud.answer = overtaken
    with pytest.raises(RetryableError, match="created concurrently"):
        driver.ensure({NAME: EDGE})
    driver.ensure({NAME: EDGE})


def test_one_refused_name_prevents_all_changes_of_its_domain(cloud: CloudDNS) -> None:
    cloud.put(DOMAIN, "A", f"taken.{SUFFIX}", "192.0.2.1")
    driver = driver_for(cloud)
    with pytest.raises(PermanentError, match=f"taken.{SUFFIX} .*can't be made a CNAME"):
        driver.ensure({f"taken.{SUFFIX}": EDGE, NAME: EDGE})
    driver.remove([f"taken.{SUFFIX}"])
    assert [record["type"] for record in cloud.domains[DOMAIN].values()] == ["A"]


def test_deleting_a_missing_record_succeeds(cloud: CloudDNS) -> None:
    driver = driver_for(cloud)
    driver.ensure({NAME: EDGE, f"other.{SUFFIX}": EDGE})
    answer = cloud.answer

    def overtaken(method: str, path: str, *rest: object) -> object:
        if method == "DELETE":
            cloud.domains[DOMAIN].popitem()
        return answer(method, path, *rest)

    cloud.answer = overtaken
    driver.remove([NAME, f"other.{SUFFIX}"])
    assert cloud.domains[DOMAIN] == {}


def test_a_token_is_kept_until_it_is_refused(cloud: CloudDNS) -> None:
    driver = driver_for(cloud)
    driver.ensure({NAME: EDGE})
    driver.remove([NAME])
    assert cloud.asked.count(("POST", "/v2.0/tokens")) == 1
    cloud.tokens.clear()
    driver.ensure({NAME: EDGE})
    assert cloud.asked.count(("POST", "/v2.0/tokens")) == 2


def test_a_wrong_key_is_reported_but_not_shown(
    cloud: CloudDNS, caplog: pytest.LogCaptureFixture
) -> None:
    driver = driver_for(cloud, api_key="wr0ng")
    with caplog.at_level(logging.DEBUG), pytest.raises(Unauthorized, match="401") as caught:
        driver.ensure({NAME: EDGE})
    assert "wr0ng" not in str(caught.value) + caplog.text
    assert driver.health() is False


@pytest.mark.parametrize("code", [413, 429])
@pytest.mark.parametrize("field", ["Reply-After", "Retry-After"])
def test_rate_limits_are_retryable(cloud: CloudDNS, code: int, field: str) -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=40)
    value = later.isoformat(timespec="seconds") if field == "Reply-After" else "40"
    cloud.refuse["POST"] = [(Fault(code, "Over the limit."), {field: value})]
    with pytest.raises(RetryableError, match=f"{code}: Over the limit") as caught:
        driver_for(cloud).ensure({NAME: EDGE})
    assert 30 < caught.value.retry_after <= 40
    assert caught.value.scope is Scope.PROVIDER


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59Z", "5195-01-01T00:00:00+00:00"])
def test_an_absurd_limit_is_bounded(cloud: CloudDNS, value: str) -> None:
    cloud.refuse["POST"] = [(Fault(413, "Over the limit."), {"Reply-After": value})]
    with pytest.raises(RetryableError) as caught:
        driver_for(cloud).ensure({NAME: EDGE})
    assert caught.value.retry_after == waits.LONGEST


@pytest.mark.parametrize(
    ("code", "error"), [(400, PermanentError), (500, RetryableError), (503, RetryableError)]
)
def test_a_failed_job_reports_the_reason(
    cloud: CloudDNS, code: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Fault(code, "It failed.", "For this reason.")

    monkeypatch.setattr(cloud, "_add", fail)
    with pytest.raises(error, match=f"POST {code}: It failed.: For this reason"):
        driver_for(cloud).ensure({NAME: EDGE})


def test_a_missing_domain_is_searched_again(cloud: CloudDNS) -> None:
    driver = driver_for(cloud)
    driver.ensure({NAME: EDGE})
    cloud.names["77"] = cloud.names.pop(DOMAIN)
    cloud.domains["77"] = cloud.domains.pop(DOMAIN)
    with pytest.raises(PermanentError, match="404"):
        driver.remove([NAME])
    driver.remove([NAME])
    assert cloud.domains["77"] == {}


def test_a_suffix_without_a_domain_is_reported(cloud: CloudDNS) -> None:
    with pytest.raises(PermanentError, match="no zone for www.a.test.other.test"):
        driver_for(cloud, suffix="other.test").ensure({"www.a.test.other.test": EDGE})


@pytest.mark.parametrize(
    ("options", "words"),
    [({"api_key": None}, "username and api_key"), ({"ttl": 60}, "ttl is less than 300")],
)
def test_invalid_options_are_reported(
    cloud: CloudDNS, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        driver_for(cloud, **options)
