# SPDX-License-Identifier: Apache-2.0
"""How long edges and browsers keep responses."""

from poppy.common.errors import PermanentError
from poppy.model.lifetimes import DEFAULT_TTL
from poppy.model.specs import Caching, ServiceSpec
from poppy.provider.akamai import cache_key, headers
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import (
    CLIENT,
    behavior,
    duration,
    header,
    paths,
    rule,
    status,
)
from poppy.provider.akamai.patterns import overlap, path_pattern, specificity

#: Options of the behaviour ``caching`` that keep private responses out of the cache. By default,
#: Akamai ignores ``private``: https://techdocs.akamai.com/property-mgr/reference/ga-caching.
_HONORED = {
    "mustRevalidate": False,
    "enhancedRfcSupport": True,
    "honorNoStore": True,
    "honorPrivate": True,
    "honorNoCache": True,
    "honorMustRevalidate": True,
    "honorProxyRevalidate": True,
}
_NO_STORE = behavior("caching", behavior="NO_STORE")
#: Statuses of which browsers get the TTL of browsers: successes, permanent redirects and 304.
_SUCCESSES = (200, 201, 202, 203, 204, 205, 206, 301, 304, 308)


def check(spec: ServiceSpec) -> None:
    """Refuse options that Akamai's behaviours can't express.

    Raises:
        PermanentError: the message names the entry.
    """
    for number, entry in enumerate(spec.caching):
        for path in entry.rules:
            path_pattern(path)
        if entry.stale_while_revalidate and entry.mode == "respect_origin":
            raise PermanentError(
                f"caching[{number}].stale_while_revalidate with mode respect_origin: Akamai "
                "refreshes responses at a part of a TTL, which must be known"
            )


def rules(spec: ServiceSpec) -> list[Document]:
    """Return the rules of TTLs by path, the most specific last, and those of all paths."""
    by_pattern = {path_pattern(path): entry for entry in spec.caching for path in entry.rules}
    ranked = sorted(by_pattern, key=specificity)
    # A TTL replaces the one of an earlier rule, but other options would stay.
    stay = any(map(_options, by_pattern.values()))
    found = []
    for number, pattern in enumerate(ranked):
        others = [it for it in ranked[number + 1 :] if stay and overlap(pattern, it)]
        entry = by_pattern[pattern]
        found.append(
            rule(
                f"{entry.ttl} s {pattern}",
                paths([pattern], others),
                [_kept(entry), *_prefresh(entry)],
                [*_browsers(entry), *(cache_key.rules(entry) if _is_kept(entry) else [])],
            )
        )
    return [*found, *_personal()]


def ttl(seconds: int = DEFAULT_TTL, *, of_origin: bool = True) -> Document:
    """Return the behaviour that keeps responses.

    Args:
        seconds: the TTL, or that of responses for which the origin sets none.
        of_origin: whether the origin's lifetime counts.
    """
    return behavior(
        "caching",
        _HONORED,
        behavior="CACHE_CONTROL_AND_EXPIRES" if of_origin else "CACHE_CONTROL",
        honorMaxAge=of_origin,
        honorSMaxage=of_origin,
        defaultTtl=duration(seconds),
    )


def _is_kept(entry: Caching) -> bool:
    return entry.mode == "respect_origin" or (entry.ttl > 0 and entry.mode != "bypass")


def _kept(entry: Caching) -> Document:
    if not _is_kept(entry):
        return _NO_STORE
    stale = entry.stale_while_revalidate or 0
    return ttl(entry.ttl + stale, of_origin=entry.mode == "respect_origin")


def _prefresh(entry: Caching) -> list[Document]:
    """Return the behaviour that refreshes responses in the background.

    Akamai does that before the end of a TTL, at a percentage of it
    (https://techdocs.akamai.com/property-mgr/reference/ga-prefresh-cache). So the TTL at the edge
    includes the time in which a response is stale.
    """
    if not (entry.stale_while_revalidate and _is_kept(entry)):
        return []
    whole = entry.ttl + entry.stale_while_revalidate
    return [behavior("prefreshCache", enabled=True, prefreshval=100 * entry.ttl // whole)]


def _browsers(entry: Caching) -> list[Document]:
    """Return the rules that tell browsers their TTL.

    Without TUNNEL_ORIGIN, Akamai writes the fields itself, and forbids browsers to keep what the
    edge does not (https://techdocs.akamai.com/property-mgr/docs/downstream-cacheability).
    """
    if entry.browser_ttl is None:
        return []
    fields = [
        headers.set_response("Cache-Control", f"max-age={entry.browser_ttl}"),
        *map(headers.delete_response, ("Expires", "Age", "Pragma")),
    ]
    return [
        rule(
            "Browsers",
            [CLIENT],
            [behavior("downstreamCache", behavior="TUNNEL_ORIGIN")],
            [rule("Successes", [status(_SUCCESSES)], fields)],
        )
    ]


def _options(entry: Caching) -> bool:
    return bool(
        entry.browser_ttl is not None or entry.stale_while_revalidate or cache_key.has_key(entry)
    )


def _personal() -> list[Document]:
    """Return the rules that keep responses for one client out of the cache.

    They are the last, so that they override the TTLs of paths. A response can turn caching off,
    but not on (https://techdocs.akamai.com/property-mgr/docs/content-type).
    """
    return [
        # Others' requests for the same URL may still be answered from the cache.
        rule(
            "Credentials",
            [header("Authorization")],
            [behavior("caching", behavior="BYPASS_CACHE")],
        ),
        rule("Cookies", [header("Set-Cookie", of="responseHeader")], [_NO_STORE]),
    ]
