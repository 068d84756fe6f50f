# SPDX-License-Identifier: Apache-2.0
"""Record sets of Route 53, as ``boto3`` takes them: what a name is to be.

A name has one CNAME (*simple*), or several that share out clients (*weighted*), or one for each
place (*geolocation*), and never two of these kinds at once. So where several targets share the
clients of a place, the place's record leads to a name of its own, which has weighted ones::

    www.example.com.cdn.example.net   geolocation DE   edge.fastly.example
    www.example.com.cdn.example.net   geolocation *    default._steer.www.example.com.cdn...
    default._steer.www.example.com... weighted 70      edge.fastly.example
    default._steer.www.example.com... weighted 30      edge.other.example

These are ordinary CNAMEs, and no aliases: an alias answers only those who ask for its own type,
and resolvers ask for addresses. See the ResourceRecordSet of
https://docs.aws.amazon.com/Route53/latest/APIReference/ and its developer guide's "Quotas".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from poppy.common.errors import PermanentError
from poppy.dns.steering import Policy, continents, countries, everywhere, sharing
from poppy.dns.zones import canonical
from poppy.model.names import MAX_NAME

Record = Mapping[str, Any]

#: A label that no tenant's domain can have.
_LABEL = "_steer"
#: The most records of one name, and the highest weight.
MOST_RECORDS, HIGHEST_WEIGHT = 100, 255


def helpers_of(name: str) -> str:
    """What the names that are made for a steered name are below."""
    return f"{_LABEL}.{canonical(name)}"


def longest_helper_of(name: str) -> str:
    """The longest name that :func:`steered` may make for a name."""
    return f"continent-eu.{helpers_of(name)}"


def simple(name: str, target: str, ttl: int) -> dict[str, Any]:
    """One CNAME."""
    return {
        "Name": f"{canonical(name)}.",
        "Type": "CNAME",
        "TTL": ttl,
        "ResourceRecords": [{"Value": target}],
    }


def steered(name: str, policy: Policy, ttl: int) -> list[Record]:
    """All records by which a name leads where a policy says, those of its helpers included.

    Raises:
        PermanentError: it would take more than Route 53 has; names the name.
    """
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
        raise PermanentError(f"{name}: Route 53 takes at most {MOST_RECORDS - 1} places of a name")
    if len(places) == 1:
        return _shared(name, policy, ttl)
    found: list[Record] = []
    for identifier, location, targets in places:
        shares = sharing(targets)
        leads_to = shares[0].name
        if len(shares) > 1:
            leads_to = canonical(f"{identifier}.{helpers_of(name)}")
            if len(leads_to) > MAX_NAME:
                raise PermanentError(f"{name} is too long for weights within places")
            found += _shared(leads_to, shares, ttl)
        record = simple(name, leads_to, ttl)
        found.append({**record, "SetIdentifier": identifier, "GeoLocation": location})
    return found


def _shared(name: str, policy: Policy, ttl: int) -> list[Record]:
    shares = sharing(policy)
    if len(shares) == 1:
        return [simple(name, shares[0].name, ttl)]
    if len(shares) > MOST_RECORDS:
        raise PermanentError(f"{name}: Route 53 takes at most {MOST_RECORDS} weights of a name")
    highest = max(target.weight for target in shares)
    # In whole numbers: a share that is small is not to become none.
    scale = min(1.0, HIGHEST_WEIGHT / highest)
    return [
        {
            **simple(name, target.name, ttl),
            "SetIdentifier": f"weight-{number}",
            "Weight": max(1, round(target.weight * scale)),
        }
        for number, target in enumerate(shares)
    ]


def changes(found: Sequence[Record], wanted: Sequence[Record]) -> list[tuple[str, Record]]:
    """What makes one set of records of a name, and its helpers, the other: action and record.

    What is in the way of others goes first.
    """
    kinds = {_name(record): _kind(record) for record in wanted}
    # Records of different kinds never stand beside each other, not even under another identifier.
    kept = {_key(it): it for it in found if kinds.get(_name(it)) == _kind(it)}
    new = {_key(it): it for it in wanted}
    gone = [it for it in found if _key(it) not in kept or _key(it) not in new]
    changed = [it for key, it in new.items() if not (key in kept and _same(kept[key], it))]
    return [*(("DELETE", it) for it in gone), *(("UPSERT", it) for it in changed)]


def leads_to_helpers(name: str, found: Iterable[Record]) -> bool:
    """Whether a name's records lead to names that were made for it."""
    below = f".{helpers_of(name)}"
    return any(canonical(value).endswith(below) for it in found for value in values(it))


def values(record: Record) -> Iterator[str]:
    """What a record leads to; nothing for an alias."""
    return (str(entry["Value"]) for entry in record.get("ResourceRecords") or ())


def _name(record: Record) -> str:
    return canonical(record["Name"])


def _key(record: Record) -> tuple[str, str | None]:
    return _name(record), record.get("SetIdentifier")


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
    return all(one.get(part) == other.get(part) for part in parts) and [
        canonical(value) for value in values(one)
    ] == [canonical(value) for value in values(other)]
