# SPDX-License-Identifier: Apache-2.0
"""Compare a wanted configuration with an existing one, and combine them for an update. No I/O.

UpdateDistribution requires fields that CreateDistribution fills in by default ("Required API
fields for creating and updating distributions" in the CloudFront developer guide). Its messages
name more, such as ``OriginReadTimeout is required for updates``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Config = dict[str, Any]

#: Amazon's default values of fields that Poppy does not set but that updates require.
_DISTRIBUTION: Config = {
    "DefaultRootObject": "",
    "Logging": {"Enabled": False, "IncludeCookies": False, "Bucket": "", "Prefix": ""},
    "WebACLId": "",
}
#: Timeouts are in seconds.
_ORIGIN: Config = {
    "OriginPath": "",
    "CustomHeaders": {"Quantity": 0},
    "ConnectionAttempts": 3,
    "ConnectionTimeout": 10,
    "OriginShield": {"Enabled": False},
    "CustomOriginConfig": {"OriginReadTimeout": 30, "OriginKeepaliveTimeout": 5},
}
_BEHAVIOUR: Config = {
    "SmoothStreaming": False,
    "LambdaFunctionAssociations": {"Quantity": 0},
    "FieldLevelEncryptionId": "",
    "ForwardedValues": {"QueryStringCacheKeys": {"Quantity": 0}},
}


def items(values: Sequence[Any]) -> Config:
    """Return a list in CloudFront's format."""
    return {"Quantity": len(values), "Items": list(values)} if values else {"Quantity": 0}


def holds(existing: Any, wanted: Any) -> bool:
    """Return whether an existing configuration has all wanted values, whatever else it has.

    Amazon may return lists in another order, except behaviours, and adds values of its own.
    """
    if not isinstance(wanted, dict):
        return bool(existing == wanted)
    if not isinstance(existing, Mapping):
        return False
    if "Quantity" in wanted and not _holds_items(existing, wanted):
        return False
    return all(
        holds(_folded(key, existing.get(key)), _folded(key, value))
        for key, value in wanted.items()
        if key not in ("Quantity", "Items")
    )


def merge(wanted: Config, existing: Mapping[str, Any]) -> Config:
    """Return an existing configuration with the wanted values.

    Settings that Poppy does not manage stay (a web ACL, logging, an origin shield ...).
    """
    merged = dict(existing)
    for key, value in wanted.items():
        before = existing.get(key)
        merged[key] = value
        if key in ("ViewerCertificate", "Restrictions"):
            continue
        if isinstance(value, dict) and isinstance(before, Mapping):
            change = _merge_items if "Quantity" in value else merge
            merged[key] = change(value, before)
    return merged


def complete(config: Config) -> Config:
    """Return a configuration with Amazon's defaults for what an update would miss in it."""
    return _filled(
        {
            **config,
            "Origins": _filled_items(config["Origins"], _ORIGIN),
            "DefaultCacheBehavior": _filled(config["DefaultCacheBehavior"], _BEHAVIOUR),
            "CacheBehaviors": _filled_items(config["CacheBehaviors"], _BEHAVIOUR),
        },
        _DISTRIBUTION,
    )


def _holds_items(existing: Mapping[str, Any], wanted: Config) -> bool:
    found, asked = list(existing.get("Items") or ()), list(wanted.get("Items", ()))
    if not any("PathPattern" in entry for entry in asked if isinstance(entry, dict)):
        found, asked = sorted(found, key=_order), sorted(asked, key=_order)
    return len(found) == len(asked) and all(map(holds, found, asked))


def _order(entry: Any) -> str:
    return str(_name(entry)) if isinstance(entry, Mapping) else str(entry)


def _folded(key: str, value: Any) -> Any:
    # Amazon returns it in upper case (aws/aws-sdk-js issue 2962).
    return value.lower() if key == "HttpVersion" and isinstance(value, str) else value


def _merge_items(wanted: Config, existing: Mapping[str, Any]) -> Config:
    known = {_name(entry): entry for entry in existing.get("Items", ()) if isinstance(entry, dict)}
    values = [
        merge(entry, known.get(_name(entry), {})) if isinstance(entry, dict) else entry
        for entry in wanted.get("Items", ())
    ]
    # Keep keys other than the list, such as CachedMethods in AllowedMethods.
    return {**{k: v for k, v in wanted.items() if k not in ("Quantity", "Items")}, **items(values)}


def _name(entry: Mapping[str, Any]) -> Any:
    keys = ("Id", "PathPattern", "EventType", "ErrorCode")
    return next((entry[key] for key in keys if key in entry), None)


def _filled(config: Mapping[str, Any], defaults: Config) -> Config:
    filled = {**defaults, **config}
    for key, default in defaults.items():
        if isinstance(default, dict):
            filled[key] = _filled(filled[key], default)
    return filled


def _filled_items(values: Mapping[str, Any], defaults: Config) -> Config:
    return items([_filled(entry, defaults) for entry in values.get("Items", ())])
