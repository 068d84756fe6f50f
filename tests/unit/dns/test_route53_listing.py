# SPDX-License-Identifier: Apache-2.0
"""The records of several names are read completely, and with few requests."""

import itertools
from collections.abc import Iterator, Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poppy.dns.route53.listing import Listing, Page, position
from poppy.dns.route53.records import Record

LABELS = ("a", "a-b", "b", "0", "_steer")
NAMES = [
    f"{'.'.join(labels)}.cdn.example.net"
    for count in (1, 2)
    for labels in itertools.product(LABELS, repeat=count)
]
RECORDS = [
    (name, kind, number)
    for name in (*NAMES, *(f"\\052.{name}" for name in NAMES))
    for kind in ("A", "CNAME", "TXT")
    for number in range(5)
]


class Zone:
    """The records of a zone, in pages of any size; ``requests`` counts the pages."""

    def __init__(self, keys: Sequence[tuple[str, str, int]], size: int) -> None:
        self.records: list[Record] = [
            {"Name": f"{name}.", "Type": kind, "SetIdentifier": str(number)}
            for name, kind, number in sorted(
                set(keys), key=lambda key: (position(key[0].replace("\\052", "*")), *key[1:])
            )
        ]
        self.size = size
        self.requests = 0

    def pages(self, name: str) -> Iterator[Page]:
        start = position(name), "CNAME"
        found = [
            it
            for it in self.records
            if (position(it["Name"].replace("\\052", "*")), it["Type"]) >= start
        ]
        for number in range(0, max(1, len(found)), self.size):
            self.requests += 1
            yield {
                "ResourceRecordSets": found[number : number + self.size],
                "IsTruncated": number + self.size < len(found),
            }

    def cnames(self, name: str, below: bool) -> list[Record]:
        end = f".{name}." if below else f"{name}."
        return [
            it
            for it in self.records
            if it["Type"] == "CNAME" and (it["Name"].endswith(end) if below else it["Name"] == end)
        ]


def test_pages_that_hold_only_escaped_names_are_passed_over() -> None:
    zone = Zone([("\\052.0.b.cdn.example.net", "A", 0), ("b.b.cdn.example.net", "CNAME", 0)], 1)
    found = Listing(zone.pages).below("b.cdn.example.net")
    assert found == zone.cnames("b.cdn.example.net", below=True)
    assert len(found) == 1


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(RECORDS), max_size=40),
    st.integers(1, 10),
    st.lists(st.sampled_from(NAMES), max_size=8),
)
def test_all_records_of_each_name_are_read(
    keys: list[tuple[str, str, int]], size: int, names: list[str]
) -> None:
    zone = Zone(keys, size)
    for order in (sorted(names, key=position), names):
        listing = Listing(zone.pages)
        for name in order:
            assert listing.at(name) == zone.cnames(name, below=False)
            assert listing.below(name) == zone.cnames(name, below=True)


def test_a_page_is_read_once_for_all_names_on_it() -> None:
    names = [f"{label}.cdn.example.net" for label in "abcdefghij"]
    zone = Zone([(name, "CNAME", 0) for name in names], 300)
    listing = Listing(zone.pages)
    for name in (*names, "zzz.cdn.example.net"):
        listing.at(name)
    assert zone.requests == 1


def test_records_between_two_names_are_skipped() -> None:
    keys = [(f"m{number:03}.cdn.example.net", "CNAME", 0) for number in range(500)]
    zone = Zone([*keys, ("z.cdn.example.net", "CNAME", 0)], 10)
    listing = Listing(zone.pages)
    assert listing.at("a.cdn.example.net") == []
    assert listing.at("z.cdn.example.net") == zone.records[-1:]
    assert zone.requests == 2
