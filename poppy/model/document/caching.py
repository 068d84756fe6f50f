# SPDX-License-Identifier: Apache-2.0
"""The optional fields of the entries of ``caching``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from poppy.common.errors import InvalidRequest
from poppy.model.capabilities import Capability
from poppy.model.document.headers import is_protected
from poppy.model.schema_parts import TOKEN, Schema, record, text

_YEAR = 31536000
_NAMES: Schema = {
    "type": "array",
    "description": "Names of query parameters; * at the end matches any characters.",
    "items": {"type": "string", "pattern": r"^[A-Za-z0-9_.~-]{1,64}[*]?$(?!\n)"},
    "minItems": 1,
    "maxItems": 50,
}
_QUERY: Schema = {
    "description": "The query parameters that make a difference. Others do not reach the origin.",
    "anyOf": [
        {"type": "string", "enum": ["all", "none"]},
        record("Only these", {"only": _NAMES}, ("only",)),
        record("All but these", {"except": _NAMES}, ("except",)),
    ],
}

#: Request fields that never reach the cache, or whose parts are listed elsewhere.
_UNKEYED = {
    "authorization": "requests with it are never answered from the cache",
    "cookie": "list names in key.cookies",
}


def _listed(kind: str) -> Schema:
    return {
        "description": f"{kind} that make a difference; the origin gets them.",
        "items": text("A name (RFC 9110, section 5.6.2).", 1, 64, TOKEN),
        "minItems": 1,
        "maxItems": 10,
    }


def _seconds(description: str) -> Schema:
    return {"description": description, "minimum": 0, "maximum": _YEAR}


@dataclass(frozen=True, slots=True)
class StatusTTL:
    """How long responses with a status are kept."""

    status: Annotated[int, {"description": "The status.", "minimum": 200, "maximum": 599}]
    ttl: Annotated[int, _seconds("Seconds.")]


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What distinguishes responses in the cache, besides host and path."""

    query: Annotated[Any, _QUERY, Capability.CACHE_KEY_QUERY] = None
    headers: Annotated[
        tuple[str, ...] | None,
        _listed("Request header fields, in any case,"),
        Capability.CACHE_KEY_HEADERS,
    ] = None
    cookies: Annotated[
        tuple[str, ...] | None,
        _listed("Cookies, case-sensitive,"),
        Capability.CACHE_KEY_COOKIES,
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """How responses are kept."""

    mode: Annotated[
        Literal["respect_origin", "override", "bypass"] | None,
        {
            "description": "respect_origin: the origin's lifetime counts, and ttl for responses"
            " without one. override: ttl counts. bypass: nothing is kept.",
            "default": "override",
        },
        {
            "respect_origin": Capability.CACHE_MODE,
            "override": Capability.CACHE_MODE,
            "bypass": Capability.CACHE_MODE,
        },
    ] = None
    browser_ttl: Annotated[
        int | None,
        _seconds("Seconds for which browsers may keep a response, instead of the origin's."),
        Capability.BROWSER_TTL,
    ] = None
    stale_while_revalidate: Annotated[
        int | None,
        _seconds("Seconds after the TTL in which a response is served and fetched again."),
        Capability.STALE_WHILE_REVALIDATE,
    ] = None
    stale_if_error: Annotated[
        int | None,
        _seconds("Seconds after the TTL in which a response is served if the origin fails."),
        Capability.STALE_IF_ERROR,
    ] = None
    status_ttl: Annotated[
        tuple[StatusTTL, ...] | None,
        {"description": "TTLs by status, whatever the mode.", "minItems": 1, "maxItems": 20},
        Capability.STATUS_TTL,
    ] = None
    key: Annotated[CacheKey | None, {"description": "The cache key."}] = None


def check(entries: Sequence[CacheOptions]) -> None:
    """Check the rules that no schema expresses.

    Raises:
        InvalidRequest: the message names the field.
    """
    for number, entry in enumerate(entries):
        statuses = [it.status for it in entry.status_ttl or ()]
        if len(set(statuses)) < len(statuses):
            raise InvalidRequest(f"caching[{number}].status_ttl has a status more than once")
        if entry.key is not None:
            _check_key(entry.key, f"caching[{number}].key")
        if entry.mode == "bypass":
            for name in ("stale_while_revalidate", "stale_if_error", "status_ttl", "key"):
                if getattr(entry, name) is not None:
                    raise InvalidRequest(
                        f"caching[{number}].{name} is not allowed with mode bypass"
                    )


def _check_key(key: CacheKey, place: str) -> None:
    for name in key.headers or ():
        reason = _UNKEYED.get(name.lower())
        if reason is None and is_protected(name):
            reason = "it belongs to the edge or to the connection"
        if reason:
            raise InvalidRequest(f"{place}.headers can't have {name!r}: {reason}")
    headers = [name.lower() for name in key.headers or ()]
    for field, listed in (("headers", headers), ("cookies", key.cookies or ())):
        seen: set[str] = set()
        for name in listed:
            if name in seen:
                raise InvalidRequest(f"{place}.{field} has {name!r} more than once")
            seen.add(name)


def names(query: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names of ``key.query`` that are the only ones, or the left out ones."""
    return tuple(query.get("only") or query["except"])
