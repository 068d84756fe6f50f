# SPDX-License-Identifier: Apache-2.0
"""How long an edge of Akamai keeps a response, by the behaviours that apply to the request.

The rules come from https://techdocs.akamai.com/property-mgr/reference/ga-caching,
https://techdocs.akamai.com/property-mgr/docs/caching-2 and
https://techdocs.akamai.com/property-mgr/docs/rm-vary-header. Akamai's pages name nothing else that
prevents caching, so here a ``Set-Cookie`` alone does not. The product is one that removes ``Vary``
by default, such as Download Delivery.
"""

import email.utils
from collections.abc import Mapping
from typing import Any

from poppy.testing.edge import NotShown

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: What applies without ``enhancedRfcSupport``, and the options' defaults with it.
_DEFAULTS = {
    "honorNoStore": True,
    "honorPrivate": False,
    "honorNoCache": True,
    "honorMaxAge": True,
    "honorSMaxage": False,
}
_FORBIDS = {"no-store": "honorNoStore", "private": "honorPrivate", "no-cache": "honorNoCache"}
_LIFETIMES = (("s-maxage", "honorSMaxage"), ("max-age", "honorMaxAge"))
#: Errors that are kept for ten seconds, and those that are not kept without ``cacheError``:
#: https://techdocs.akamai.com/property-mgr/docs/cache-http-err-responses.
_ERRORS = {**dict.fromkeys((404, 405, 501), 10.0), **dict.fromkeys((500, 502, 503, 504), 0.0)}


def kept(
    behaviors: Mapping[str, Mapping[str, Any]], response: Mapping[str, str], status: int = 200
) -> float:
    """Return the seconds for which an edge answers from its cache without asking the origin.

    Args:
        behaviors: the options of each behaviour that applies, by name.
        response: the header fields of the origin's response.
        status: its status.

    Raises:
        NotShown: Akamai's pages do not tell.
    """
    fields = {name.lower(): value for name, value in response.items()}
    options = behaviors["caching"]
    kind = options["behavior"]
    removes_vary = behaviors.get("removeVary", {}).get("enabled", True)
    if kind in ("NO_STORE", "BYPASS_CACHE") or (_varies(fields) and not removes_vary):
        return 0
    if status != 200:
        if status not in _ERRORS or {"cache-control", "expires"} & fields.keys():
            raise NotShown("how long this status is kept")
        return _ERRORS[status]
    if kind == "MAX_AGE":
        return _seconds(options["ttl"])
    return _by_origin(options, fields, expires=kind == "CACHE_CONTROL_AND_EXPIRES")


def _varies(fields: Mapping[str, str]) -> bool:
    vary = fields.get("vary", "").strip().lower()
    compressed = fields.get("content-encoding") in ("gzip", "br")
    return bool(vary) and not (vary == "accept-encoding" and compressed)


def _by_origin(options: Mapping[str, Any], fields: Mapping[str, str], *, expires: bool) -> float:
    said = _directives(fields.get("cache-control", ""))
    honors = dict(_DEFAULTS, honorPrivate=options.get("honorPrivate", False))
    if options.get("enhancedRfcSupport"):
        honors |= {name: options[name] for name in _DEFAULTS if name in options}
    if any(name in said and honors[option] for name, option in _FORBIDS.items()):
        return 0
    found = [int(said[name]) for name, option in _LIFETIMES if honors[option] and name in said][:1]
    if expires and "expires" in fields:
        moments = [email.utils.parsedate_to_datetime(fields[it]) for it in ("expires", "date")]
        found.append(max(0, int((moments[0] - moments[1]).total_seconds())))
    return max(found, default=_seconds(options["defaultTtl"]))


def _directives(value: str) -> dict[str, str]:
    parts = (part.strip().partition("=") for part in value.split(","))
    return {name.lower(): given for name, _, given in parts if name}


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _UNITS[duration[-1].lower()]
