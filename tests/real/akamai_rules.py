# SPDX-License-Identifier: Apache-2.0
"""What Property Manager accepts in a rule tree, for the parts that drivers write.

The rules come from the reference of each behaviour and criterion
(https://techdocs.akamai.com/property-mgr/reference/ga-caching and so on; the column "Requires"
says which options go together) and from the schema of rule format v2023-10-30.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tests.real.akamai_catalogue import BEHAVIORS, CRITERIA, Check

_DURATION = re.compile(r"[0-9]+[DdHhMmSs]")
_HEADER = re.compile(r'[^()<>@,;:"/\[\]?{}\s]+')
_SIZE = re.compile(r"([0-9]+)([KMGT])B")
_GIGABYTES = {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}
_NEEDED = ("origin", "cpCode")
_SECURE = {"http2", "http3"}

#: Options of ``caching`` for its kinds that read the origin's header fields.
_BY_ORIGIN = {"mustRevalidate", "defaultTtl"}
_BY_CACHE_CONTROL = {*_BY_ORIGIN, "enhancedRfcSupport", "honorPrivate", "honorMustRevalidate"}
#: Options that need ``enhancedRfcSupport``.
_ENHANCED = {"honorNoStore", "honorNoCache", "honorMaxAge", "honorSMaxage", "honorProxyRevalidate"}
_CACHING: Mapping[str, set[str]] = {
    "MAX_AGE": {"mustRevalidate", "ttl"},
    "NO_STORE": set(),
    "BYPASS_CACHE": set(),
    "CACHE_CONTROL": _BY_CACHE_CONTROL,
    "CACHE_CONTROL_AND_EXPIRES": _BY_CACHE_CONTROL,
    "EXPIRES": _BY_ORIGIN,
}
#: Behaviours that can depend on the response; most others are done when it arrives.
_LATE = {
    "caching",
    "gzipResponse",
    "modifyIncomingResponseHeader",
    "modifyOutgoingResponseHeader",
    "setVariable",
}
#: Criteria that need the response.
_OF_RESPONSE = {"responseHeader", "matchResponseCode", "contentType"}
_VARIABLE = re.compile("PMUSER_[A-Z0-9_]+")


def errors(rules: Mapping[str, Any], cp_codes: Collection[int]) -> list[str]:
    """Return what is wrong with a rule tree; an empty list if it is valid."""
    first = {one["name"]: one["options"] for one in rules["behaviors"]}
    found = [name for name in _NEEDED if name not in first]
    code = first.get("cpCode", {}).get("value", {}).get("id")
    if code is not None and code not in cp_codes:
        found.append(f"cpCode {code}")
    declared = {one["name"] for one in rules.get("variables", ())}
    for rule, late in _rules(rules, late=False):
        for one in rule.get("behaviors", ()):
            wrong = _wrong(_BEHAVIORS, one)
            if one["name"] in _SECURE and not rules["options"]["is_secure"]:
                wrong = "only for a secure property"
            if "tieredDistributionMap" in one["options"] and rules["options"]["is_secure"]:
                wrong = "not for a secure property"
            if late and one["name"] not in _LATE:
                wrong = "can't depend on the response"
            found += [f"{one['name']} {one['options']}: {wrong}"] if wrong else []
        for one in rule.get("criteria", ()):
            wrong = _wrong(_CRITERIA, one)
            found += [f"{one['name']} {one['options']}: {wrong}"] if wrong else []
        used = {key: rule.get(key, ()) for key in ("behaviors", "criteria")}
        unknown = set(_VARIABLE.findall(str(used))) - declared
        found += [f"variable {name} is not declared" for name in sorted(unknown)]
    return found


def _rules(rule: Mapping[str, Any], *, late: bool) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield each rule, and whether it depends on the response."""
    late = late or any(one["name"] in _OF_RESPONSE for one in rule.get("criteria", ()))
    yield rule, late
    for child in rule.get("children", ()):
        yield from _rules(child, late=late)


def _wrong(checks: Mapping[str, Check], one: Mapping[str, Any]) -> str:
    check = checks.get(one["name"])
    return check(one["options"]) if check else ""


def _caching(options: Mapping[str, Any]) -> str:
    kind = options.get("behavior")
    if kind not in _CACHING:
        return "unknown behavior"
    allowed = {"behavior", *_CACHING[kind]}
    if options.get("enhancedRfcSupport") is True and "enhancedRfcSupport" in allowed:
        allowed |= _ENHANCED
    if set(options) - allowed:
        return f"{sorted(set(options) - allowed)} do not apply"
    missing = {"ttl", "defaultTtl"} & allowed - set(options)
    if missing:
        return f"{sorted(missing)} missing"
    for name, value in options.items():
        if name in ("ttl", "defaultTtl"):
            if not _DURATION.fullmatch(value):
                return f"{name} is no duration"
        elif name != "behavior" and not isinstance(value, bool):
            return f"{name} is no boolean"
    return ""


def _header(options: Mapping[str, Any]) -> str:
    if not _HEADER.fullmatch(options.get("headerName", "")):
        return "headerName is no name"
    listed = options.get("matchOperator") in ("IS_ONE_OF", "IS_NOT_ONE_OF")
    if not listed and options.get("matchOperator") not in ("EXISTS", "DOES_NOT_EXIST"):
        return "unknown matchOperator"
    return "" if listed == bool(options.get("values")) else "values do not fit matchOperator"


def _large_files(options: Mapping[str, Any]) -> str:
    """Check the sizes: whole objects have at most 1,800 MB, partial ones 323 GB."""
    kind = options.get("enablePartialObjectCaching")
    most = {"PARTIAL_OBJECT_CACHING": 323.0, "NON_PARTIAL_OBJECT_CACHING": 1.8}.get(str(kind))
    known = {
        "enabled",
        "enablePartialObjectCaching",
        "minimumSize",
        "maximumSize",
        "useVersioning",
    }
    if most is None or set(options) - known:
        return "unknown options"
    found = [_SIZE.fullmatch(options.get(name, "")) for name in ("minimumSize", "maximumSize")]
    sizes = [int(size[1]) * _GIGABYTES[size[2]] for size in found if size]
    return "" if len(sizes) == 2 and sizes[0] < sizes[1] <= most else "sizes out of range"


def _datastream(options: Mapping[str, Any]) -> str:
    """Accept logs only; the other options are for the type ``BEACON``."""
    known = {"streamType", "logEnabled", "logStreamName", "samplingPercentage"}
    if options.get("streamType") != "LOG" or set(options) - {*known, "collectMidgressTraffic"}:
        return "unknown options"
    streams = options.get("logStreamName")
    if options.get("logEnabled") is not True or not streams or not isinstance(streams, list):
        return "logStreamName is no list of streams"
    sampled = options.get("samplingPercentage")
    return "" if isinstance(sampled, int) and 0 < sampled <= 100 else "samplingPercentage"


_BEHAVIORS: Mapping[str, Check] = {
    **BEHAVIORS,
    "datastream": _datastream,
    "caching": _caching,
    "largeFileOptimization": _large_files,
}
_CRITERIA: Mapping[str, Check] = {
    **CRITERIA,
    "requestHeader": _header,
    "responseHeader": _header,
}
