# SPDX-License-Identifier: Apache-2.0
"""Finding the zone of a name."""

import pytest

from poppy.common.errors import PermanentError
from poppy.dns.zones import Zones

SUFFIX = "cdn.example.net"


class Found:
    """A server's zones, with a record of the searches."""

    def __init__(self, *zones: str) -> None:
        self.zones = set(zones)
        self.asked: list[str] = []

    def __call__(self, name: str) -> str | None:
        self.asked.append(name)
        return name if name in self.zones else None


def test_names_are_grouped_by_zone() -> None:
    found = Found(SUFFIX, "secure.example.net")
    names = [f"www.a.test.{SUFFIX}", "shop.scdn0.secure.example.net", f"www.b.test.{SUFFIX}"]
    assert Zones([], SUFFIX, found).group(names) == {
        SUFFIX: [names[0], names[2]],
        "secure.example.net": [names[1]],
    }


def test_the_closest_zone_at_or_above_the_suffix_is_found_once() -> None:
    found = Found("example.net", f"test.{SUFFIX}")
    zones = Zones([], f"{SUFFIX}.", found)
    assert zones.of(f"www.a.test.{SUFFIX}") == "example.net"
    assert zones.of(f"www.b.test.{SUFFIX}") == "example.net"
    assert found.asked == [SUFFIX, "example.net"]
    zones.forget()
    found.zones.add(SUFFIX)
    assert zones.of(f"www.b.test.{SUFFIX}") == SUFFIX


def test_a_shard_may_be_a_zone() -> None:
    found = Found("scdn1.secure.example.net", "secure.example.net")
    zones = Zones([], SUFFIX, found)
    assert zones.of("shop.scdn1.secure.example.net") == "scdn1.secure.example.net"
    assert zones.of("shop.scdn0.secure.example.net") == "secure.example.net"


def test_the_longest_configured_zone_is_used() -> None:
    found = Found("example.net", SUFFIX)
    zones = Zones(["example.net", f"{SUFFIX}."], SUFFIX, found)
    assert zones.of(f"www.a.test.{SUFFIX}") == SUFFIX
    assert zones.of("shop.scdn1.secure.example.net") == "example.net"


def test_a_name_without_a_zone_is_reported() -> None:
    with pytest.raises(PermanentError, match=f"no zone for www.a.test.{SUFFIX}.*tried"):
        Zones([], SUFFIX, Found("net.example")).group([f"www.a.test.{SUFFIX}"])
    with pytest.raises(PermanentError, match="option zones"):
        Zones(["example.org"], SUFFIX, Found("example.org")).group([f"www.a.test.{SUFFIX}"])


def test_a_similar_name_is_not_within() -> None:
    found = Found(SUFFIX, "example.net")
    assert Zones([], SUFFIX, found).of("www.a.test.xcdn.example.net") == "example.net"
