# SPDX-License-Identifier: Apache-2.0
"""Route 53 record sets, in the format of ``boto3``.

A name has one CNAME (*simple*), several that share its clients (*weighted*), or one per location
(*geolocation*). It can't have two of these kinds at once. If several targets share the clients of
a location, the location's record points to a helper name with weighted records::

    www.example.com.cdn.example.net   geolocation DE   edge.fastly.example
    www.example.com.cdn.example.net   geolocation *    default._steer.www.example.com.cdn...
    default._steer.www.example.com... weighted 70      edge.fastly.example
    default._steer.www.example.com... weighted 30      edge.other.example

The records are ordinary CNAMEs, not aliases: an alias answers only queries for its own type, and
resolvers query addresses. See ResourceRecordSet in
https://docs.aws.amazon.com/Route53/latest/APIReference/ and "Quotas" in the developer guide.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from poppy.common.errors import PermanentError
from poppy.dns.steering import (
    AddressPool,
    Policy,
    Target,
    continents,
    countries,
    everywhere,
    families,
    sharing,
    together,
)
from poppy.dns.zones import canonical
from poppy.model.names import MAX_NAME

Record = Mapping[str, Any]
T = TypeVar("T", bound=Target)

#: Label of helper names. No tenant's domain can have it.
_LABEL = "_steer"
#: Maximum records of a name, and maximum weight.
MOST_RECORDS, HIGHEST_WEIGHT = 100, 255


def helpers_of(name: str) -> str:
    """Return the parent of a steered name's helper names."""
    return f"{_LABEL}.{canonical(name)}"


def longest_helper_of(name: str) -> str:
    """Return the longest helper name that :func:`steered` may create for a name."""
    return f"continent-eu.{helpers_of(name)}"


def simple(name: str, target: str, ttl: int) -> dict[str, Any]:
    """Return a simple CNAME record."""
    return {
        "Name": f"{canonical(name)}.",
        "Type": "CNAME",
        "TTL": ttl,
        "ResourceRecords": [{"Value": target}],
    }


def steered(name: str, policy: Policy, ttl: int) -> list[Record]:
    """Return all CNAMEs of a steered name, including those of its helper names.

    Raises:
        PermanentError: the policy exceeds Route 53's limits; the message has the name.
    """
    style = _Style[Target](
        lambda name, target: simple(name, target.name, ttl),
        lambda name, helper: simple(name, helper, ttl),
    )
    return _steered(name, policy, style)


def addresses(name: str, pools: Sequence[AddressPool], ttl: int, zone: str) -> list[Record]:
    """Return all A and AAAA records of the edge's name, including those of its helper names.

    A location with several pools has an alias to a helper name, because a name with addresses
    can't have CNAMEs. An alias has the type of its target.

    Args:
        zone: the id of the hosted zone.

    Raises:
        PermanentError: the pools exceed Route 53's limits; the message has the name.
    """
    found: list[Record] = []
    for rdtype, some in families(pools).items():
        found += _steered(name, some, _address_style(rdtype, ttl, zone))
    return found


class _Style(NamedTuple, Generic[T]):
    """How records lead to targets.

    Attributes:
        leaf: returns the record of a name that leads to a target.
        link: returns the record of a name that leads to a helper name.
    """

    leaf: Callable[[str, T], dict[str, Any]]
    link: Callable[[str, str], dict[str, Any]]


def _address_style(rdtype: str, ttl: int, zone: str) -> _Style[AddressPool]:
    return _Style(
        lambda name, pool: {
            "Name": f"{canonical(name)}.",
            "Type": rdtype,
            "TTL": ttl,
            "ResourceRecords": [{"Value": it} for it in together([pool])],
        },
        lambda name, helper: {
            "Name": f"{canonical(name)}.",
            "Type": rdtype,
            "AliasTarget": {
                "HostedZoneId": zone,
                "DNSName": f"{helper}.",
                "EvaluateTargetHealth": False,
            },
        },
    )


def _steered(name: str, policy: Sequence[T], style: _Style[T]) -> list[Record]:
    places = [
        *(
            (f"country-{code}", {"CountryCode": code}, it)
            for code, it in countries(policy).items()
        ),
        *(
            (f"continent-{code}", {"ContinentCode": code}, it)
            for code, it in continents(policy).items()
        ),
        ("default", {"CountryCode": "*"}, everywhere(policy)),
    ]
    if len(places) > MOST_RECORDS:
        raise PermanentError(f"{name}: Route 53 allows at most {MOST_RECORDS - 1} locations")
    if len(places) == 1:
        return _shared(name, policy, style)
    found: list[Record] = []
    for identifier, location, targets in places:
        shares = sharing(targets)
        record = style.leaf(name, shares[0])
        if len(shares) > 1:
            helper = canonical(f"{identifier}.{helpers_of(name)}")
            if len(helper) > MAX_NAME:
                raise PermanentError(f"{name} is too long for weights within locations")
            found += _shared(helper, shares, style)
            record = style.link(name, helper)
        found.append({**record, "SetIdentifier": identifier, "GeoLocation": location})
    return found


def _shared(name: str, policy: Sequence[T], style: _Style[T]) -> list[Record]:
    shares = sharing(policy)
    if len(shares) == 1:
        return [style.leaf(name, shares[0])]
    if len(shares) > MOST_RECORDS:
        raise PermanentError(f"{name}: Route 53 allows at most {MOST_RECORDS} weights")
    highest = max(target.weight for target in shares)
    # Weights are integers: do not round a small share to 0.
    scale = min(1.0, HIGHEST_WEIGHT / highest)
    return [
        {
            **style.leaf(name, target),
            "SetIdentifier": f"weight-{number}",
            "Weight": max(1, round(target.weight * scale)),
        }
        for number, target in enumerate(shares)
    ]


def changes(found: Sequence[Record], wanted: Sequence[Record]) -> list[tuple[str, Record]]:
    """Return the changes (action and record) from the found records to the wanted ones.

    Deletions come first, because they may conflict with the new records.
    """
    kinds = {_rrset(record): _kind(record) for record in wanted}
    # A name and type can't have records of different kinds, even with different identifiers.
    kept = {_key(it): it for it in found if kinds.get(_rrset(it)) == _kind(it)}
    new = {_key(it): it for it in wanted}
    gone = [it for it in found if _key(it) not in kept or _key(it) not in new]
    changed = [it for key, it in new.items() if not (key in kept and _same(kept[key], it))]
    return [*(("DELETE", it) for it in gone), *(("UPSERT", it) for it in changed)]


def leads_to_helpers(name: str, found: Iterable[Record]) -> bool:
    """Return whether a name's records point to its helper names."""
    below = f".{helpers_of(name)}"
    targets = [value for it in found for value in values(it)]
    targets += [it["AliasTarget"]["DNSName"] for it in found if it.get("AliasTarget")]
    return any(canonical(target).endswith(below) for target in targets)


def values(record: Record) -> Iterator[str]:
    """Yield the targets or addresses of a record; none for an alias."""
    return (str(entry["Value"]) for entry in record.get("ResourceRecords") or ())


def _rrset(record: Record) -> tuple[str, str]:
    return canonical(record["Name"]), record["Type"]


def _key(record: Record) -> tuple[str, str, str | None]:
    return *_rrset(record), record.get("SetIdentifier")


def _kind(record: Record) -> str:
    routed = (
        "Weight",
        "GeoLocation",
        "Region",
        "Failover",
        "MultiValueAnswer",
        "CidrRoutingConfig",
    )
    return next((name for name in (*routed, "GeoProximityLocation") if name in record), "simple")


def _same(one: Record, other: Record) -> bool:
    parts = ("TTL", "Weight", "GeoLocation", "AliasTarget", "HealthCheckId")
    return all(one.get(part) == other.get(part) for part in parts) and sorted(
        canonical(value) for value in values(one)
    ) == sorted(canonical(value) for value in values(other))
