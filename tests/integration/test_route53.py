# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``route53`` on a moto server, which has Amazon's APIs but answers no DNS."""

from collections.abc import Iterator
from typing import Any

import pytest

from poppy.common.errors import PermanentError, RetryableError, Scope
from poppy.common.retry import RetryPolicy
from poppy.dns.base import DNSDriver
from poppy.dns.route53.driver import Route53DNS
from poppy.dns.steering import Target
from poppy.testing.dns_edge import EdgeNameContract
from poppy.vendors import aws
from tests.real.amazon_route53 import addresses, answer
from tests.real.hosted_zones import SUFFIX, Zones, make_driver
from tests.real.moto import Moto
from tests.real.unreliable import Unreliable

pytestmark = pytest.mark.real

EDGE = "edge.example.com"


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with Moto() as moto:
        yield moto


@pytest.fixture
def moto(server: Moto) -> Moto:
    server.reset()
    return server


@pytest.fixture
def zones(moto: Moto) -> Zones:
    return Zones(moto)


@pytest.fixture
def zone(zones: Zones) -> str:
    return zones.create(SUFFIX)


@pytest.fixture
def driver(moto: Moto, zone: str) -> Route53DNS:
    return make_driver(moto)


CONTINENTS = {"DE": "EU", "AT": "EU", "US": "NA", "JP": "AS"}


class TestContract(EdgeNameContract):
    @pytest.fixture
    def driver(self, driver: Route53DNS, zones: Zones, zone: str) -> Route53DNS:
        self.zones, self.zone = zones, zone
        return driver

    @pytest.fixture(autouse=True)
    def _moto(self, moto: Moto) -> None:
        self.moto = moto

    def taken(self, driver: DNSDriver) -> str:
        name = f"taken.{SUFFIX}"
        address = {"Name": f"{name}.", "Type": "A", "TTL": 300}
        record = {**address, "ResourceRecords": [{"Value": "192.0.2.1"}]}
        self.zones.change(self.zone, "UPSERT", record)
        return name

    def stranger(self, driver: DNSDriver) -> DNSDriver:
        self.moto.check_keys(True)
        return driver

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        return answer(self.zones.records(self.zone), name)

    def ask(self, driver: DNSDriver, name: str, country: str) -> str | None:
        return answer(self.zones.records(self.zone), name, country, CONTINENTS[country])

    def addresses(
        self, driver: DNSDriver, name: str, rdtype: str = "A", country: str = "DE"
    ) -> set[str]:
        found = self.zones.records(self.zone, "A", "AAAA")
        return addresses(found, name, rdtype, country, CONTINENTS[country])

    def edge_ttl(self, driver: DNSDriver, name: str) -> int:
        (record,) = self.zones.records(self.zone, "A")
        return int(record["TTL"])


def test_records_have_the_configured_ttl(moto: Moto, zones: Zones, zone: str) -> None:
    make_driver(moto, ttl=42).ensure({f"www.{SUFFIX}": "edge.example.com"})

    assert [record["TTL"] for record in zones.records(zone)] == [42]


def test_nearest_public_zone_is_used(moto: Moto, zones: Zones) -> None:
    far, near = zones.create("example.net"), zones.create(SUFFIX)
    vpc = {"VPCRegion": "us-east-1", "VPCId": "vpc-1"}
    zones.create(SUFFIX, VPC=vpc, HostedZoneConfig={"PrivateZone": True})
    driver = make_driver(moto, shared_ssl_domain_suffix="secure.example.net")

    driver.ensure({f"www.{SUFFIX}": "a.example.com", "shop.secure.example.net": "b.example.com"})

    assert zones.names(near) == {f"www.{SUFFIX}"}
    assert zones.names(far) == {"shop.secure.example.net"}
    driver.remove([f"www.{SUFFIX}", "shop.secure.example.net"])
    assert zones.records(near) == zones.records(far) == []


def test_operator_must_choose_between_zones_of_one_name(moto: Moto, zones: Zones) -> None:
    first, second = zones.create(SUFFIX), zones.create(SUFFIX)
    names = {f"www.{SUFFIX}": "edge.example.com"}

    with pytest.raises(PermanentError, match="several hosted zones cdn.example.net"):
        make_driver(moto).ensure(names)
    make_driver(moto, hosted_zone_ids=[second]).ensure(names)

    assert zones.records(first) == []
    assert zones.names(second) == set(names)


def test_missing_zone_is_reported(moto: Moto) -> None:
    with pytest.raises(PermanentError, match=f"no zone for www.{SUFFIX}"):
        make_driver(moto).ensure({f"www.{SUFFIX}": "edge.example.com"})


def test_recreated_zone_is_found(moto: Moto, zones: Zones, zone: str) -> None:
    driver = make_driver(moto)
    names = {f"www.{SUFFIX}": "edge.example.com"}
    driver.ensure({f"other.{SUFFIX}": "edge.example.com"})
    moto.reset()
    recreated = Zones(moto).create(SUFFIX)

    with pytest.raises(RetryableError):
        driver.ensure(names)
    driver.ensure(names)

    assert zones.names(recreated) == set(names)


def test_record_changed_during_a_remove_is_read_again(
    moto: Moto, driver: Route53DNS, zones: Zones, zone: str
) -> None:
    name = f"www.{SUFFIX}"
    driver.ensure({name: "edge.example.com"})
    client = driver._service._client
    change = client.change_resource_record_sets

    def too_late(**kwargs: Any) -> Any:
        client.change_resource_record_sets = change
        make_driver(moto).remove([name])
        return change(**kwargs)

    client.change_resource_record_sets = too_late
    with pytest.raises(RetryableError, match="not found"):
        driver.remove([name])
    driver.remove([name])

    assert zones.records(zone) == []


def test_recreated_zone_is_found_by_a_remove(moto: Moto, zone: str) -> None:
    driver = make_driver(moto)
    driver.ensure({f"www.{SUFFIX}": "edge.example.com"})
    moto.reset()
    zones = Zones(moto)
    recreated = zones.create(SUFFIX)
    make_driver(moto).ensure({f"www.{SUFFIX}": "edge.example.com"})

    with pytest.raises(RetryableError):
        driver.remove([f"www.{SUFFIX}"])
    driver.remove([f"www.{SUFFIX}"])

    assert zones.records(recreated) == []


@pytest.fixture
def crowded(driver: Route53DNS) -> set[str]:
    """Create names of other tenants in the zone, some next to ours."""
    names = {f"{label}{number}.tenant.{SUFFIX}" for label in "az" for number in range(150)}
    names |= {f"{label}.shop.org.{SUFFIX}" for label in ("www-0", "www9a", "a.www0", "xyz")}
    driver.ensure(dict.fromkeys(names, EDGE))
    return names


TEN = [f"www{number}.shop.org.{SUFFIX}" for number in range(10)]
BOTH = [Target("a.example.com", 1, ("DE",)), Target("b.example.com", 1, ("DE",)), Target(EDGE)]


@pytest.mark.parametrize("steered", [False, True])
def test_ten_names_are_removed_by_two_requests(
    moto: Moto, zones: Zones, zone: str, crowded: set[str], steered: bool
) -> None:
    with Unreliable(moto.url) as proxy:
        driver = make_driver(moto, endpoint_url=proxy.url)
        if steered:
            driver.steer(dict.fromkeys(TEN, BOTH))
        else:
            driver.ensure(dict.fromkeys(TEN, EDGE))
        proxy.restart()

        driver.remove(TEN)

        assert [call.split()[0] for call in proxy.calls] == ["GET", "POST"]
    assert zones.names(zone) == crowded


def test_names_far_apart_are_removed(
    moto: Moto, driver: Route53DNS, zones: Zones, zone: str, crowded: set[str]
) -> None:
    names = [f"www.{label}{number}.org.{SUFFIX}" for label in "az" for number in range(5)]
    names += [f"own.a{number}.tenant.{SUFFIX}" for number in (0, 149)]
    driver.ensure(dict.fromkeys(names, EDGE))

    driver.remove(names)

    assert zones.names(zone) == crowded


def test_ten_names_are_removed_within_the_rate_limit_of_an_account(
    moto: Moto, zones: Zones, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "_ATTEMPTS", 1)
    driver = make_driver(moto)
    driver.ensure(dict.fromkeys(TEN, EDGE))
    moto.limit_route53(5)

    driver.remove(TEN)

    moto.limit_route53(0)
    assert zones.records(zone) == []


def test_throttled_call_is_retried_later(
    moto: Moto, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "_ATTEMPTS", 1)
    driver = make_driver(moto)
    moto.limit_route53(1)

    with pytest.raises(RetryableError, match="Rate exceeded") as caught:
        driver.ensure(dict.fromkeys(TEN, EDGE))

    assert caught.value.scope is Scope.PROVIDER
    assert (caught.value.retry_after or 0) > RetryPolicy().quick_ceiling


@pytest.mark.parametrize("fate", ["lost", "dead", 400, 503])
def test_temporary_failures_are_retryable(
    moto: Moto, zones: Zones, zone: str, fate: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "_ATTEMPTS", 1)
    names = {f"www{number}.{SUFFIX}": "edge.example.com" for number in range(3)}
    with Unreliable(moto.url) as proxy:
        proxy.body = (
            b"<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message>"
            b"</Error></ErrorResponse>"
        )
        driver = make_driver(moto, endpoint_url=proxy.url)
        proxy.restart(lambda number: fate if number == 2 else "ok")
        with pytest.raises(RetryableError):
            driver.ensure(names)
        driver.ensure(names)
        assert zones.names(zone) == set(names)

        proxy.restart(lambda number: fate if number == 2 else "ok")
        with pytest.raises(RetryableError):
            driver.remove(list(names))
        driver.remove(list(names))
        assert zones.records(zone) == []


def test_health_depends_on_access_to_amazon(moto: Moto, zone: str) -> None:
    with Unreliable(moto.url) as proxy:
        for options in ({}, {"hosted_zone_ids": [zone]}):
            driver = make_driver(moto, endpoint_url=proxy.url, **options)
            proxy.restart()
            assert driver.health() is True
            proxy.restart(lambda _number: 403)
            assert driver.health() is False
            proxy.restart(lambda _number: "dead")
            assert driver.health() is False
