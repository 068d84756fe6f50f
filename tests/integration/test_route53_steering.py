# SPDX-License-Identifier: Apache-2.0
"""How the DNS driver ``route53`` steers: which records it creates, replaces and keeps."""

import collections
import random
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import pytest

from poppy.common.errors import PermanentError, RetryableError
from poppy.dns.route53.driver import Route53DNS
from poppy.dns.steering import AddressPool, Target
from tests.real.amazon_route53 import addresses, answer
from tests.real.hosted_zones import SUFFIX, Zones, make_driver
from tests.real.moto import Moto
from tests.real.unreliable import Unreliable

pytestmark = pytest.mark.real

NAME = f"www.example.org.{SUFFIX}"
A, B, C = "a.example.com", "b.example.com", "c.example.com"
WEIGHTS = [Target(A, 70), Target(B, 30)]
PLACES = [Target(A, 1, ("DE",)), Target(B, 1, (), ("EU",)), Target(C)]
BOTH = [Target(A, 70, ("DE",)), Target(B, 30, ("DE",)), Target(C, 1)]


def addresses_by_hand(*addresses: str, **fields: Any) -> dict[str, Any]:
    values = [{"Value": it} for it in addresses]
    return by_hand(f"addresses.{SUFFIX}", **{"Type": "A", "ResourceRecords": values, **fields})


def alias_by_hand(zone: str) -> dict[str, Any]:
    name = f"addresses.{SUFFIX}."
    target = {"HostedZoneId": zone, "DNSName": name, "EvaluateTargetHealth": False}
    return {"Name": f"alias.{SUFFIX}", "Type": "A", "AliasTarget": target}


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    with Moto() as moto:
        yield moto


@pytest.fixture
def zones(server: Moto) -> Zones:
    server.reset()
    return Zones(server)


@pytest.fixture
def zone(zones: Zones) -> str:
    return zones.create(SUFFIX)


@pytest.fixture
def driver(server: Moto, zone: str) -> Route53DNS:
    return make_driver(server)


def told(zones: Zones, zone: str, times: int, *place: str) -> collections.Counter[str | None]:
    """Count the answers for :data:`NAME` that a number of clients in a place get."""
    records, chance = zones.records(zone), random.Random(7)
    return collections.Counter(answer(records, NAME, *place, chance=chance) for _ in range(times))


def by_hand(name: str = NAME, **fields: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "CNAME",
        "TTL": 60,
        "ResourceRecords": [{"Value": "x.example.com"}],
        **fields,
    }


@pytest.mark.parametrize("weights", [(70, 30, 0), (700, 300, 0)])
def test_weights_are_shares_of_clients(
    driver: Route53DNS, zones: Zones, zone: str, weights: tuple[int, ...]
) -> None:
    policy = [Target(name, weight) for name, weight in zip((A, B, C), weights, strict=True)]
    driver.steer({NAME: policy})

    counts = told(zones, zone, 1000)
    assert set(counts) == {A, B}
    assert 650 < counts[A] < 750


def test_small_weight_is_not_rounded_to_zero(driver: Route53DNS, zones: Zones, zone: str) -> None:
    driver.steer({NAME: [Target(A, 1000), Target(B, 1)]})

    assert {record["Weight"] for record in zones.records(zone)} == {255, 1}


def test_weights_within_a_country_are_shares_of_its_clients(
    driver: Route53DNS, zones: Zones, zone: str
) -> None:
    driver.steer({NAME: BOTH})

    counts = told(zones, zone, 1000, "DE", "EU")
    assert set(counts) == {A, B}
    assert 650 < counts[A] < 750
    assert set(told(zones, zone, 10, "US", "NA")) == {C}
    assert zones.names(zone) == {NAME, f"country-de._steer.{NAME}"}


def test_repeated_steering_changes_nothing(server: Moto, zones: Zones, zone: str) -> None:
    with Unreliable(server.url) as proxy:
        driver = make_driver(server, endpoint_url=proxy.url)
        for policy in (WEIGHTS, PLACES, BOTH):
            driver.steer({NAME: policy})
            before = zones.records(zone)
            proxy.restart()
            driver.steer({NAME: policy})
            assert [call for call in proxy.calls if call.startswith("POST")] == []
            assert zones.records(zone) == before


@pytest.mark.parametrize("before", [WEIGHTS, PLACES, BOTH, None])
@pytest.mark.parametrize("after", [WEIGHTS, PLACES, BOTH, None])
def test_any_policy_replaces_any_other_in_one_change(
    server: Moto, zones: Zones, zone: str, before: Any, after: Any
) -> None:
    def lead(driver: Route53DNS, policy: Any) -> None:
        if policy:
            driver.steer({NAME: policy})
        else:
            driver.ensure({NAME: A})

    plain = make_driver(server)
    lead(plain, after)
    expected = zones.records(zone)
    plain.remove([NAME])
    assert zones.records(zone) == []
    below = f"shop.{NAME}"
    plain.ensure({below: A})
    lead(plain, before)
    with Unreliable(server.url) as proxy:
        lead(make_driver(server, endpoint_url=proxy.url), after)
        changes = [call for call in proxy.calls if call.startswith("POST")]
    refused = after is None and before is not None
    assert len(changes) <= (2 if refused else 1), "what is refused changes nothing"
    found = [it for it in zones.records(zone) if it["Name"] != f"{below}."]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    plain.remove([NAME])
    assert zones.names(zone) == {below}


def test_steering_records_of_others_are_replaced(
    driver: Route53DNS, zones: Zones, zone: str
) -> None:
    theirs = [by_hand(SetIdentifier=it, Weight=10) for it in ("one", "two", "three")]
    for change in (
        lambda: driver.steer({NAME: PLACES}),
        lambda: driver.steer({NAME: WEIGHTS}),
        lambda: driver.ensure({NAME: A}),
        lambda: driver.remove([NAME]),
    ):
        zones.change(zone, "CREATE", *theirs)
        change()
        values = {record["ResourceRecords"][0]["Value"] for record in zones.records(zone)}
        assert "x.example.com" not in values
        driver.remove([NAME])


def test_name_with_other_records_is_refused(driver: Route53DNS, zones: Zones, zone: str) -> None:
    address = by_hand(Type="A", ResourceRecords=[{"Value": "192.0.2.1"}])
    zones.change(zone, "CREATE", address)
    for change in (
        lambda: driver.steer({NAME: WEIGHTS}),
        lambda: driver.ensure({NAME: A, f"other.{SUFFIX}": A}),
    ):
        with pytest.raises(PermanentError, match=NAME):
            change()
    driver.remove([NAME])
    assert zones.records(zone) == []
    zones.change(zone, "DELETE", address)


@pytest.mark.parametrize("fate", ["lost", "dead", 503])
def test_temporary_failures_are_retryable(
    server: Moto, zones: Zones, zone: str, fate: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poppy.vendors.aws._ATTEMPTS", 1)
    with Unreliable(server.url) as proxy:
        driver = make_driver(server, endpoint_url=proxy.url)
        driver.steer({NAME: WEIGHTS})
        for change in (lambda: driver.steer({NAME: BOTH}), lambda: driver.remove([NAME])):
            # The first request reads, the later ones change.
            proxy.restart(lambda number: fate if number > 1 else "ok")
            with pytest.raises(RetryableError):
                change()
            proxy.restart()
            change()
    assert zones.records(zone) == []


def test_many_long_names_are_split_into_batches(server: Moto, zones: Zones, zone: str) -> None:
    target = ".".join(["a" * 60] * 4)
    names = {f"www{number}.{SUFFIX}": target for number in range(150)}
    with Unreliable(server.url) as proxy:
        driver = make_driver(server, endpoint_url=proxy.url)
        driver.ensure(names)
        assert zones.names(zone) == set(names)
        proxy.restart()
        driver.steer({name: [Target(target, 1), Target(target, 2)] for name in list(names)[:20]})
        assert len([call for call in proxy.calls if call.startswith("POST")]) == 1
    driver.remove(list(names))
    assert zones.records(zone) == []


def test_exceeded_limits_of_amazon_are_reported(
    driver: Route53DNS, zones: Zones, zone: str
) -> None:
    codes = [f"{one}{two}" for one in "ABCD" for two in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"][:100]
    name = f"{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 50}.{SUFFIX}"
    long = ".".join(["a" * 60] * 4)
    crowd = [Target(long, number + 1, tuple(codes[:90])) for number in range(3)]
    for policies, words in (
        ({NAME: [Target(A, 1, tuple(codes)), Target(B)]}, f"{NAME}.*at most 99 locations"),
        ({NAME: [Target(A, 1)] * 101}, f"{NAME}.*at most 100 weights"),
        ({name: BOTH}, f"{name} is too long"),
        ({NAME: crowd}, f"{NAME}.*too many records"),
    ):
        with pytest.raises(PermanentError, match=words):
            driver.steer(policies)
    assert zones.records(zone) == []


def test_weights_of_pools_are_shares_of_answers(server: Moto, zones: Zones, zone: str) -> None:
    name = f"edge.{SUFFIX}"
    pools = [
        AddressPool("one", 70, ("DE",), (), ("192.0.2.1", "192.0.2.2", "2001:db8::1")),
        AddressPool("other", 30, ("DE",), (), ("192.0.2.3",)),
        AddressPool("rest", 1, (), (), ("192.0.2.4",)),
    ]
    with Unreliable(server.url) as proxy:
        driver = make_driver(server, endpoint_url=proxy.url)
        driver.ensure_edge(name, pools, 30)
        records, chance = zones.records(zone, "A", "AAAA"), random.Random(7)
        counts = collections.Counter(
            frozenset(addresses(records, name, "A", "DE", "EU", chance)) for _ in range(1000)
        )
        assert set(counts) == {frozenset(("192.0.2.1", "192.0.2.2")), frozenset(("192.0.2.3",))}
        assert 650 < counts[frozenset(("192.0.2.1", "192.0.2.2"))] < 750
        proxy.restart()
        driver.ensure_edge(name, pools, 30)
        assert [call for call in proxy.calls if call.startswith("POST")] == []
        driver.ensure_edge(name, pools[2:], 30)
        assert len([call for call in proxy.calls if call.startswith("POST")]) == 1
    names = {it["Name"] for it in zones.records(zone, "A", "AAAA")}
    assert names == {f"{name}."}, "helper names are deleted"


def test_too_many_addresses_for_one_change_are_refused(driver: Route53DNS) -> None:
    pools = [
        AddressPool(f"pool-{n}", addresses=tuple(f"10.0.{n}.{i}" for i in range(32)))
        for n in range(16)
    ]
    driver.ensure_edge(f"edge.{SUFFIX}", pools[:15], 30)
    with pytest.raises(PermanentError, match=rf"more.{SUFFIX}: too many records"):
        driver.ensure_edge(f"more.{SUFFIX}", pools, 30)


GERMANY, EUROPE = {"CountryCode": "DE"}, {"ContinentCode": "EU"}


@pytest.mark.parametrize(
    ("there", "new", "words"),
    [
        ([by_hand()], by_hand(SetIdentifier="a", Weight=1), "other RRSets exist"),
        ([by_hand(SetIdentifier="a", Weight=1)], by_hand(), "other RRSets exist"),
        (
            [by_hand(SetIdentifier="a", Weight=1)],
            by_hand(SetIdentifier="b", GeoLocation=GERMANY),
            "other RRSets exist",
        ),
        (
            [by_hand(SetIdentifier="a", GeoLocation=EUROPE)],
            by_hand(SetIdentifier="b", GeoLocation=EUROPE),
            "same location",
        ),
        ([], by_hand(SetIdentifier="a", Weight=256), "0 to 255"),
        ([], by_hand(Weight=1), "SetIdentifier"),
        ([by_hand()], by_hand(), "already exists"),
        ([], by_hand(Type="A"), "'x.example.com' is not an address for A"),
        ([], addresses_by_hand("192.0.2.1", "192.0.2.1"), "Duplicate"),
        ([], alias_by_hand("Z123"), "that target was not found"),
        ([addresses_by_hand("2001:db8::1", Type="AAAA")], alias_by_hand("zone"), "not found"),
        (
            [addresses_by_hand("192.0.2.1")],
            {**alias_by_hand("zone"), "TTL": 60},
            "an alias has no TTL",
        ),
    ],
)
def test_double_refuses_what_amazon_refuses(
    zones: Zones, zone: str, there: list[dict[str, Any]], new: dict[str, Any], words: str
) -> None:
    if there:
        zones.change(zone, "CREATE", *there)
    if new.get("AliasTarget", {}).get("HostedZoneId") == "zone":
        new = {**new, "AliasTarget": {**new["AliasTarget"], "HostedZoneId": zone}}
    other = by_hand(f"other.{SUFFIX}")
    with pytest.raises(botocore.exceptions.ClientError, match=words):
        zones.change(zone, "CREATE", other, new)
    assert f"other.{SUFFIX}" not in zones.names(zone), "a batch is done as a whole or not at all"
