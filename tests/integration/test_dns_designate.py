# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``designate`` on a real Designate; results are resolved at its PowerDNS."""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping

import pytest

from poppy.common.errors import InProgressError, PermanentError, RetryableError
from poppy.common.retry import RetryPolicy
from poppy.dns import designate
from poppy.dns.base import DNSDriver
from poppy.testing.dns import DNSContract
from tests.real.designate import Designate
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX, free_port
from tests.unit.dns.making import make_driver

pytestmark = pytest.mark.real

EDGE = "edge.example.com"
_NUMBERS = itertools.count()


def fresh() -> str:
    """Return an unused name, since emptying the zones after each test would take longer."""
    return f"www.example{next(_NUMBERS)}.org.{SUFFIX}"


@pytest.fixture(scope="module")
def server() -> Iterator[Designate]:
    with Designate() as running:
        yield running


def driver_for(server: Designate, **options: object) -> designate.Designate:
    given = {
        "auth_type": "none",
        "endpoint_override": server.url,
        "suffix": SUFFIX,
        "shared_ssl_domain_suffix": SHARED_SUFFIX,
        **options,
    }
    return make_driver(designate.Designate, **given)


def take(server: Designate) -> str:
    """Return a new name with an A record."""
    (zone,) = [z for z in server.call("GET", "/zones")["zones"] if z["name"] == f"{SUFFIX}."]
    path, name = f"/zones/{zone['id']}/recordsets", fresh()
    server.call("POST", path, name=f"{name}.", type="A", records=["192.0.2.1"])
    # A driver that then removes a record would take this transfer for its own.
    server.wait_until_active()
    return name


class TestContract(DNSContract):
    # Each name takes a request, and a transfer to the name server takes a second or more.
    MANY = 3

    @pytest.fixture
    def driver(self, server: Designate) -> designate.Designate:
        self.server = server
        self.site = f"example{next(_NUMBERS)}.org"
        return driver_for(server)

    def taken(self, driver: DNSDriver) -> str:
        return take(self.server)

    def name(self, driver: DNSDriver, label: str) -> str:
        return driver.operator_name(f"{label}.{self.site}", None)

    def ensure(self, driver: DNSDriver, cnames: Mapping[str, str]) -> None:
        """Retry as a worker does, since SQLite may refuse one of two concurrent writers."""
        RetryPolicy(quick_attempts=10).call(functools.partial(super().ensure, driver, cnames))

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        return self.server.nameserver.resolve(name)

    def test_call_is_done_once_the_name_server_has_the_record(
        self, driver: designate.Designate
    ) -> None:
        name = fresh()
        with pytest.raises(InProgressError, match=f"propagating {name} to its name servers"):
            driver.ensure({name: EDGE})
        self.ensure(driver, {name: EDGE})
        assert self.server.nameserver.resolve(name) == EDGE
        with pytest.raises(InProgressError):
            driver.remove([name])
        self.remove(driver, [name])
        assert self.server.nameserver.resolve(name) is None

    def test_record_being_removed_is_created_again(self, driver: designate.Designate) -> None:
        name = fresh()
        self.ensure(driver, {name: EDGE})
        with pytest.raises(InProgressError):
            driver.remove([name])
        self.ensure(driver, {name: "other.example.com"})
        assert self.server.nameserver.resolve(name) == "other.example.com"

    def test_records_have_the_configured_ttl(self, server: Designate) -> None:
        name = fresh()
        self.ensure(driver_for(server, ttl=77), {name: EDGE})
        assert server.nameserver.ttl(name) == 77


def test_a_name_with_other_records_is_refused(server: Designate) -> None:
    driver, name = driver_for(server), take(server)
    with pytest.raises(PermanentError, match=rf"{name} can't be .* other records \(A\)"):
        driver.ensure({name: EDGE})
    with contextlib.suppress(InProgressError):
        driver.remove([name])
    assert [e["type"] for e in server.recordsets() if e["name"] == f"{name}."] == ["A"]


def test_missing_zone_is_reported(server: Designate) -> None:
    with pytest.raises(PermanentError, match="no zone for www.a.test.other.test"):
        driver_for(server, suffix="other.test").ensure({"www.a.test.other.test": EDGE})


def test_exhausted_quota_is_retryable(server: Designate) -> None:
    project = "noauth-project"
    quotas = server.call("GET", f"/quotas/{project}")
    server.call("PATCH", f"/quotas/{project}", zone_recordsets=1)
    try:
        with pytest.raises(RetryableError, match="over_quota"):
            driver_for(server).ensure({f"{n}.{SUFFIX}": EDGE for n in ("one", "two")})
    finally:
        server.call("PATCH", f"/quotas/{project}", zone_recordsets=quotas["zone_recordsets"])


def test_unreachable_server_is_retryable(server: Designate) -> None:
    driver = driver_for(server, endpoint_override=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RetryableError, match="can't be reached"):
        driver.ensure({fresh(): EDGE})
    assert driver.health() is False
