# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``powerdns`` on a real server; results are resolved."""

import contextlib
import logging
import time
from collections.abc import Iterator

import pytest

from poppy.common.errors import PermanentError, RetryableError, Unauthorized
from poppy.dns import powerdns
from poppy.dns.base import DNSDriver
from poppy.dns.steering import AddressPool
from poppy.testing.dns import DNSContract, TextContract
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX, free_port
from tests.real.poppy import wait
from tests.real.powerdns import PowerDNS
from tests.real.unreliable import Unreliable
from tests.unit.dns.making import make_driver

pytestmark = pytest.mark.real

EDGE = "edge.example.com"
NAME = f"www.example.org.{SUFFIX}"
SHARED = f"shop.scdn0.{SHARED_SUFFIX}"


@pytest.fixture(scope="module")
def running() -> Iterator[PowerDNS]:
    with PowerDNS() as running:
        yield running


@pytest.fixture
def server(running: PowerDNS) -> PowerDNS:
    running.clear()
    return running


def driver_for(server: PowerDNS, **options: object) -> powerdns.PowerDNS:
    given = {
        "urls": [server.url],
        "api_key": server.secret,
        "suffix": SUFFIX,
        "shared_ssl_domain_suffix": SHARED_SUFFIX,
        **options,
    }
    return make_driver(powerdns.PowerDNS, **given)


class TestContract(DNSContract, TextContract):
    @pytest.fixture
    def driver(self, server: PowerDNS) -> powerdns.PowerDNS:
        self.server = server
        return driver_for(server)

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        return self.server.resolve(name)

    def taken(self, driver: DNSDriver) -> str:
        return f"taken.{SUFFIX}"

    def stranger(self, driver: DNSDriver) -> DNSDriver:
        return driver_for(self.server, api_key="wr0ng")

    def texts(self, driver: DNSDriver, name: str) -> set[str]:
        return self.server.values(name, "TXT")

    def text_name(self, driver: DNSDriver) -> str:
        return f"_acme-challenge.scdn0.{SHARED_SUFFIX}"


def test_records_have_the_configured_ttl(server: PowerDNS) -> None:
    driver_for(server, ttl=77).ensure({NAME: EDGE})
    assert server.ttl(NAME) == 77


def test_edge_has_all_addresses_without_lua_records(server: PowerDNS) -> None:
    name, driver = f"edge.{SUFFIX}", driver_for(server)
    german = AddressPool("german", 5, ("DE",), (), ("192.0.2.1", "2001:db8::1"))
    rest, spare = AddressPool("rest", 1, (), (), ("192.0.2.2",)), ("192.0.2.3",)
    driver.ensure({name: EDGE})
    driver.ensure_edge(name, [german, rest, AddressPool("spare", 0, (), (), spare)], 30)
    assert server.values(name, "A") == {"192.0.2.1", "192.0.2.2"}
    assert server.values(name, "AAAA") == {"2001:db8::1"}
    assert server.resolve(name) is None
    with pytest.raises(PermanentError, match="no zone for edge.other.test"):
        driver.ensure_edge("edge.other.test", [rest], 30)


def test_one_request_per_zone(server: PowerDNS, caplog: pytest.LogCaptureFixture) -> None:
    driver = driver_for(server)
    with caplog.at_level(logging.DEBUG, "poppy.common.http"):
        driver.ensure({NAME: EDGE, f"other.{SUFFIX}": EDGE, SHARED: EDGE})
    assert caplog.text.count("PATCH 204") == 2
    assert server.resolve(SHARED) == EDGE
    assert server.secret not in caplog.text


@pytest.mark.parametrize("zone", [SUFFIX, f"{SUFFIX}."])
def test_configured_zones_are_not_looked_up(
    server: PowerDNS, caplog: pytest.LogCaptureFixture, zone: str
) -> None:
    driver = driver_for(server, zones=["example.net", zone])
    with caplog.at_level(logging.DEBUG, "poppy.common.http"):
        driver.ensure({NAME: EDGE})
        driver.remove([NAME])
        driver.ensure({NAME: EDGE})
    assert caplog.text.count("GET 200") == 1, "only the zone's settings, once"
    assert server.resolve(NAME) == EDGE
    with pytest.raises(PermanentError, match="has no zone example.net"):
        driver.ensure({f"www.{SHARED_SUFFIX}": EDGE})


def test_each_change_increases_the_serial_number(server: PowerDNS) -> None:
    driver = driver_for(server)
    serials = [server.serial(SUFFIX)]
    for change in (lambda: driver.ensure({NAME: EDGE}), lambda: driver.remove([NAME])):
        change()
        serials.append(server.serial(SUFFIX))
    assert serials[0] < serials[1] < serials[2]
    assert driver.remarks() == []


@pytest.fixture
def unset(server: PowerDNS) -> Iterator[PowerDNS]:
    """The server with the zone as ``pdnsutil create-zone`` leaves it."""
    server.pdnsutil("set-meta", SUFFIX, "SOA-EDIT-API")
    yield server
    server.pdnsutil("set-meta", SUFFIX, "SOA-EDIT-API", "DEFAULT")
    server.pdnsutil("set-kind", SUFFIX, "native")


REPAIR = f"pdnsutil set-meta {SUFFIX} SOA-EDIT-API DEFAULT"


def test_names_that_secondaries_would_not_get_are_refused(unset: PowerDNS) -> None:
    unset.pdnsutil("set-kind", SUFFIX, "master")
    driver = driver_for(unset)
    serial, records = unset.serial(SUFFIX), unset.records()
    for call in (lambda: driver.ensure({NAME: EDGE}), driver.remarks):
        with pytest.raises(PermanentError, match=rf"zone {SUFFIX} \(Master\).* Run: {REPAIR}$"):
            call()
    assert (unset.serial(SUFFIX), unset.records()) == (serial, records)

    unset.pdnsutil(*REPAIR.split()[1:])
    driver.ensure({NAME: EDGE})
    assert unset.serial(SUFFIX) > serial
    assert unset.resolve(NAME) == EDGE


def test_names_are_removed_although_secondaries_do_not_notice(
    unset: PowerDNS, caplog: pytest.LogCaptureFixture
) -> None:
    driver_for(unset).ensure({NAME: EDGE})
    unset.pdnsutil("set-kind", SUFFIX, "master")
    driver_for(unset).remove([NAME])
    assert unset.resolve(NAME) is None
    assert "(Master), so secondaries" in caplog.text


def test_native_zone_without_growing_serial_number_is_logged_once(
    unset: PowerDNS, caplog: pytest.LogCaptureFixture
) -> None:
    driver, serial = driver_for(unset), unset.serial(SUFFIX)
    driver.ensure({NAME: EDGE})
    driver.remove([NAME])
    assert caplog.text.count(REPAIR) == 1
    assert unset.serial(SUFFIX) == serial
    (remark,) = driver.remarks()
    assert remark.endswith(REPAIR)


def test_proxy_may_hide_the_settings_of_a_zone(
    server: PowerDNS, caplog: pytest.LogCaptureFixture
) -> None:
    with Unreliable(server.url) as proxy:
        driver = driver_for(server, urls=[proxy.url], zones=[SUFFIX])
        proxy.restart(lambda number: 403 if number == 1 else "ok")
        driver.ensure({NAME: EDGE})
        assert [call.split()[0] for call in proxy.calls] == ["PATCH"]
    assert f"can't check that the serial number of zone {SUFFIX}. grows" in caplog.text
    assert server.resolve(NAME) == EDGE


def test_missing_zone_is_reported(server: PowerDNS) -> None:
    with pytest.raises(PermanentError, match="no zone for www.a.test.other.test"):
        driver_for(server, suffix="other.test").ensure({"www.a.test.other.test": EDGE})


@pytest.mark.parametrize(("label", "rdtype"), [("taken", "A"), ("odd", "HINFO")])
def test_name_with_other_records_refuses_all_changes_of_its_zone(
    server: PowerDNS, label: str, rdtype: str
) -> None:
    before = server.records()
    with pytest.raises(PermanentError, match=rf"{label}.{SUFFIX}. IN CNAME: Conflicts"):
        driver_for(server).ensure({NAME: EDGE, f"{label}.{SUFFIX}": EDGE})
    driver_for(server).remove([f"{label}.{SUFFIX}"])
    assert server.records() == before


def test_wrong_key_is_reported_but_not_shown(server: PowerDNS) -> None:
    driver = driver_for(server, api_key="wr0ng")
    with pytest.raises(Unauthorized, match="answered GET with 401") as caught:
        driver.ensure({NAME: EDGE})
    assert "wr0ng" not in str(caught.value)
    assert driver.health() is False


def test_next_server_is_tried_and_kept(server: PowerDNS, caplog: pytest.LogCaptureFixture) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    driver = driver_for(server, urls=[nobody, server.url])
    driver.ensure({NAME: EDGE})
    assert nobody.removeprefix("http://") in caplog.text
    caplog.clear()
    driver.remove([NAME])
    assert not caplog.text
    assert server.resolve(NAME) is None
    assert driver.health() is True


def test_hanging_server_is_retryable(server: PowerDNS) -> None:
    driver = driver_for(server, timeout=1.0)
    driver.ensure({NAME: EDGE})
    server.pause()
    try:
        begun = time.monotonic()
        with pytest.raises(RetryableError, match="did not answer"):
            driver.ensure({NAME: "other.example.com"})
        assert driver.health() is False
        assert time.monotonic() - begun < 8
    finally:
        server.resume()

    def ensured() -> bool:
        # The server may still run the first change and answer 500. A worker retries, too.
        with contextlib.suppress(RetryableError):
            driver.ensure({NAME: "other.example.com"})
            return True
        return False

    wait(ensured, 30)
    assert server.resolve(NAME) == "other.example.com"


def test_unreachable_server_is_retryable(server: PowerDNS) -> None:
    driver = driver_for(server, urls=[f"http://127.0.0.1:{free_port()}"])
    with pytest.raises(RetryableError, match="did not answer"):
        driver.ensure({NAME: EDGE})
    assert driver.health() is False
