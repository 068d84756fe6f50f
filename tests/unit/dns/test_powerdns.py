# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``powerdns``: options, and scripts of LUA records.

The results of scripts are tested on a real server.
"""

import pytest

from poppy.common.errors import ConfigError, PermanentError
from poppy.dns.powerdns import PowerDNS
from poppy.dns.powerdns_lua import record
from poppy.dns.steering import Target
from tests.unit.dns.making import make_driver


def test_a_record_has_a_script_for_geography_and_weights() -> None:
    policy = [
        Target("a.example", 3),
        Target("b.example", 1),
        Target("c.example", 1, ("DE",), ("AS",)),
    ]
    assert record(policy) == (
        "CNAME \"; if country('DE') then return 'c.example.' end "
        "if continent('AS') then return 'c.example.' end "
        "return pickwhashed({{3, 'a.example.'}, {1, 'b.example.'}})\""
    )


def test_long_scripts_are_split_into_strings() -> None:
    policy = [Target(f"{'x' * 60}.{number}.example", 1) for number in range(20)]
    pieces = record(policy).removeprefix('CNAME "').removesuffix('"').split('" "')
    assert len(pieces) > 5
    assert max(map(len, pieces)) <= 255


@pytest.mark.parametrize("name", ["a'..os.exit()..'", 'a" "b', "a\\", "x" * 255])
def test_other_characters_are_refused_in_a_script(name: str) -> None:
    with pytest.raises(PermanentError):
        record([Target(name), Target("b.example")])


@pytest.mark.parametrize(
    ("options", "words"), [({}, "api_key"), ({"urls": [], "api_key": "k"}, "urls")]
)
def test_invalid_options_are_reported(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"{words} is missing"):
        make_driver(PowerDNS, **options)
