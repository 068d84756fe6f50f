# SPDX-License-Identifier: Apache-2.0
"""Route 53 as :mod:`tests.real.amazon` serves it: moto's zones, with Amazon's rules for records.

The rules are from ChangeResourceRecordSets and ResourceRecordSet in the API reference
(2013-04-01), and the quotas from the developer guide. A batch is done in order, completely or not
at all. A record is deleted with its exact values. Records of a name and type are all simple, all
weighted or all by geolocation. A CNAME stands alone. An alias leads to records of its own type in
the same zone. :func:`answer` and :func:`addresses` resolve names, which moto does not.

Records are listed in the order of ListResourceRecordSets, at most 300 at once, and continue within
a name. A rate limit is off unless a test sets it: a bucket of as many requests as are allowed per
second, as in "Throttling for Amazon Route 53 API requests" of the developer guide.
"""

import copy
import ipaddress
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.route53.exceptions import Route53ClientError
from moto.route53.models import RecordSet, Route53Backend
from moto.route53.responses import Route53

_MOST_RECORDS, _MOST_CHARACTERS = 1000, 32000
_MOST_ALIKE = 100
_HIGHEST_WEIGHT = 255
_LONGEST_IDENTIFIER = 128
_MOST_LISTED = 300
#: The name of the rate limit's control.
CONTROL = "route53"


def _refuse(message: str) -> None:
    raise Route53ClientError("InvalidChangeBatch", f"[{message}]")


def _values(record: Mapping[str, Any]) -> list[str]:
    return [entry["Value"] for entry in record.get("ResourceRecords") or ()]


def _check_size(changes: Sequence[Mapping[str, Any]]) -> None:
    values = [
        value
        for change in changes
        for value in _values(change["ResourceRecordSet"])
        for _ in range(2 if change["Action"] == "UPSERT" else 1)
    ]
    if len(values) > _MOST_RECORDS:
        _refuse(f"Number of records limit of {_MOST_RECORDS} exceeded")
    if sum(map(len, values)) > _MOST_CHARACTERS:
        _refuse(f"Number of characters limit of {_MOST_CHARACTERS} exceeded")


def _routing(record: RecordSet) -> str:
    if record.geo_location:
        return "geolocation"
    return "simple" if record.weight is None else "weighted"


def _what(record: RecordSet) -> str:
    return (
        f"[name='{record.name}', type='{record.type}', set-identifier='{record.set_identifier}']"
    )


def _check_values(record: RecordSet) -> None:
    if record.alias_target:
        if record.ttl is not None:
            _refuse(f"{_what(record)}: an alias has no TTL")
        return
    if record.ttl is None:
        _refuse(f"{_what(record)} has no TTL")
    if len(set(record.records)) < len(record.records):
        _refuse(f"Duplicate Resource Record in {_what(record)}")
    if record.type in ("A", "AAAA"):
        for value in record.records:
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                address = None
            if address is None or address.version != (4 if record.type == "A" else 6):
                _refuse(f"Invalid Resource Record: '{value}' is not an address for {record.type}")


def _check_alias(record: RecordSet, rest: Sequence[RecordSet], zone_id: str) -> None:
    """Check that the target of an alias exists, in the same zone and with the same type."""
    target = record.alias_target
    if not target:
        return
    name = target["DNSName"].rstrip(".") + "."
    if target["HostedZoneId"] != zone_id or not any(
        (it.name, it.type) == (name, record.type) for it in rest
    ):
        _refuse(
            f"Tried to create an alias that targets {name}, type {record.type} in zone "
            f"{target['HostedZoneId']}, but that target was not found"
        )


def _check_record(record: RecordSet, zone_name: str) -> None:
    zone_name = zone_name.strip(".")
    name = record.name.strip(".")
    if name != zone_name and not name.endswith(f".{zone_name}"):
        _refuse(f"RRSet with DNS name {record.name} is not permitted in zone {zone_name}.")
    if bool(record.alias_target) == bool(record.records):
        _refuse(f"Expected exactly one of AliasTarget and ResourceRecords in {_what(record)}")
    _check_values(record)
    if record.type == "CNAME" and (name == zone_name or len(record.records) > 1):
        _refuse(f"{_what(record)} may not be a CNAME, or of so many values")
    if record.geo_location and record.weight is not None:
        _refuse(f"{_what(record)} has two routing policies")
    if (_routing(record) == "simple") != (record.set_identifier is None):
        _refuse(f"{_what(record)}: SetIdentifier goes with a routing policy")
    if record.set_identifier and len(record.set_identifier) > _LONGEST_IDENTIFIER:
        _refuse(f"{_what(record)}: SetIdentifier is too long")
    if not 0 <= int(record.weight or 0) <= _HIGHEST_WEIGHT:
        _refuse(f"{_what(record)}: Weight must be 0 to {_HIGHEST_WEIGHT}")


def _check_beside(record: RecordSet, others: Sequence[RecordSet]) -> None:
    """Check that a record may stand beside others of its name."""
    for other in others:
        if other.type != record.type:
            if "CNAME" in (other.type, record.type):
                _refuse(
                    f"RRSet of type {record.type} with DNS name {record.name} is not permitted as "
                    "it conflicts with other records with the same DNS name"
                )
        elif _routing(other) != _routing(record) or _routing(record) == "simple":
            _refuse(
                f"RRSet with DNS name {record.name}, type {record.type} cannot be created as "
                "other RRSets exist with the same name and type."
            )
        elif record.geo_location and record.geo_location == other.geo_location:
            _refuse(f"{_what(record)}: there is one of the same location")
    if sum(other.type == record.type for other in others) >= _MOST_ALIKE:
        _refuse(f"{record.name} has too many records")


def _same(one: RecordSet, other: RecordSet) -> bool:
    parts = ("ttl", "weight", "geo_location", "alias_target")
    as_text = [[str(getattr(it, part) or None) for part in parts] for it in (one, other)]
    return as_text[0] == as_text[1] and one.records == other.records


def _changed(
    rrsets: Sequence[RecordSet], change: Mapping[str, Any], zone_name: str, zone_id: str
) -> list[RecordSet]:
    sent = copy.deepcopy(change["ResourceRecordSet"])
    sent["Name"] = sent["Name"].rstrip(".").lower() + "."
    sent["ResourceRecords"] = _values(sent)
    record = RecordSet(sent)
    key = (record.name, record.type, record.set_identifier)
    known = next((it for it in rrsets if (it.name, it.type, it.set_identifier) == key), None)
    rest = [it for it in rrsets if it is not known]
    if change["Action"] == "DELETE":
        if known is None:
            _refuse(f"Tried to delete resource record set {_what(record)} but it was not found")
        elif not _same(known, record):
            _refuse(
                f"Tried to delete resource record set {_what(record)} but the values provided do "
                "not match the current values"
            )
        return rest
    if known is not None and change["Action"] == "CREATE":
        _refuse(f"Tried to create resource record set {_what(record)} but it already exists")
    _check_record(record, zone_name)
    _check_alias(record, rest, zone_id)
    _check_beside(record, [it for it in rest if it.name == record.name])
    return [*rest, record]


def _change_resource_record_sets(
    self: Route53Backend, zoneid: str, change_list: list[dict[str, Any]]
) -> None:
    zone = self.get_hosted_zone(zoneid)
    _check_size(change_list)
    rrsets = list(zone.rrsets)
    for change in change_list:
        rrsets = _changed(rrsets, change, zone.name, zoneid.rpartition("/")[2])
    zone.rrsets = rrsets


def _position(record: RecordSet) -> tuple[str, str, str]:
    """Return the sort key of a record; the final dot sorts after a hyphen."""
    name = ".".join(reversed(record.name.rstrip(".").split("."))) + "."
    return name, record.type, record.set_identifier or ""


def _list_resource_record_sets(self: Route53) -> ActionResult:
    zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
    parts = [self._get_param(f"StartRecord{part}") for part in ("Name", "Type", "Identifier")]
    name, kind, identifier = (part or "" for part in parts)
    if (kind and not name) or (identifier and not kind):
        raise Route53ClientError("InvalidInput", "The input is not valid")
    most = min(self._get_int_param("MaxItems", _MOST_LISTED), _MOST_LISTED)
    found = sorted(zone.rrsets, key=_position)
    if name:
        start = RecordSet({"Name": name, "Type": kind, "SetIdentifier": identifier})
        found = [it for it in found if _position(it) >= _position(start)]
    following = found[most] if len(found) > most else None
    result = {
        "ResourceRecordSets": found[:most],
        "IsTruncated": following is not None,
        "NextRecordName": following and following.name,
        "NextRecordType": following and following.type,
        "NextRecordIdentifier": following and following.set_identifier,
        "MaxItems": most,
    }
    return ActionResult(result)


class _Bucket:
    """A rate limit of all requests."""

    def __init__(self, controls: Mapping[str, str]) -> None:
        self._controls = controls
        self._lock = threading.Lock()
        self._rate, self._left, self._at = 0.0, 0.0, 0.0

    def takes(self) -> bool:
        """Take a token. Return False if there is none."""
        with self._lock:
            rate, now = float(self._controls[CONTROL]), time.monotonic()
            if rate != self._rate:
                self._rate, self._left = rate, rate
            else:
                self._left = min(rate, self._left + rate * (now - self._at))
            self._at = now
            if not rate:
                return True
            taken = self._left >= 1
            self._left -= int(taken)
            return taken


def install(controls: dict[str, str]) -> None:
    """Make moto follow the rules.

    Args:
        controls: :data:`CONTROL` is the rate limit in requests per second; 0 for none.
    """
    bucket, call = _Bucket(controls), Route53.call_action
    controls[CONTROL] = "0"

    def call_action(self: Route53) -> Any:
        if bucket.takes():
            return call(self)
        return self.serialized(ActionResult(Route53ClientError("Throttling", "Rate exceeded")))

    Route53.call_action = call_action  # type: ignore[method-assign]
    Route53.list_resource_record_sets = _list_resource_record_sets  # type: ignore[method-assign]
    Route53Backend.change_resource_record_sets = (  # type: ignore[method-assign]
        _change_resource_record_sets
    )


def answer(
    records: Sequence[Mapping[str, Any]],
    name: str,
    country: str | None = None,
    continent: str | None = None,
    chance: random.Random | None = None,
) -> str | None:
    """Resolve a name to a CNAME outside of its zone, for a client in a place.

    A country takes precedence over its continent, and "*" is the default. Weights are
    probabilities. CNAMEs are followed within the zone.

    Args:
        records: all records of the zone, as the API lists them.
    """
    found: str | None = None
    for _ in range(10):
        here = [it for it in records if it["Name"].rstrip(".") == name and it["Type"] == "CNAME"]
        if not here:
            return found
        chosen = _choose(here, country, continent, chance or random.Random(0))
        if chosen is None:
            return None
        found = name = str(chosen["ResourceRecords"][0]["Value"]).rstrip(".")
    raise AssertionError(f"{name} leads in a circle")


def addresses(
    records: Sequence[Mapping[str, Any]],
    name: str,
    rdtype: str,
    country: str | None = None,
    continent: str | None = None,
    chance: random.Random | None = None,
) -> set[str]:
    """Resolve a name to addresses, as :func:`answer` does to a CNAME.

    Args:
        rdtype: ``A`` or ``AAAA``.
    """
    for _ in range(10):
        here = [it for it in records if (it["Name"].rstrip("."), it["Type"]) == (name, rdtype)]
        if not here:
            return set()
        chosen = _choose(here, country, continent, chance or random.Random(0))
        if chosen is None:
            return set()
        if "AliasTarget" not in chosen:
            return {it["Value"] for it in chosen["ResourceRecords"]}
        name = str(chosen["AliasTarget"]["DNSName"]).rstrip(".")
    raise AssertionError(f"{name} leads in a circle")


def _choose(
    records: Sequence[Mapping[str, Any]],
    country: str | None,
    continent: str | None,
    chance: random.Random,
) -> Mapping[str, Any] | None:
    if "GeoLocation" in records[0]:
        places = {tuple(it["GeoLocation"].items())[0]: it for it in records}
        order = (("CountryCode", country), ("ContinentCode", continent), ("CountryCode", "*"))
        return next((places[place] for place in order if place in places), None)
    if "Weight" in records[0]:
        weights = [int(it["Weight"]) for it in records]
        return chance.choices(records, weights if any(weights) else None)[0]
    return records[0]
