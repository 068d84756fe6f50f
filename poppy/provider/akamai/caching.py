# SPDX-License-Identifier: Apache-2.0
"""How long edges and browsers keep responses, and which query parameters make a difference."""

import re

from poppy.common.errors import PermanentError
from poppy.model.document.caching import names
from poppy.model.lifetimes import DEFAULT_TTL
from poppy.model.specs import Caching, ServiceSpec
from poppy.provider.akamai import headers
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import (
    CLIENT,
    assign,
    behavior,
    duration,
    header,
    paths,
    rule,
    status,
    substitute,
    variable,
)
from poppy.provider.akamai.patterns import overlap, path_pattern, specificity
from poppy.provider.patterns import encoded

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
                [*_browsers(entry), *_key(entry)],
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


def shares_queries(spec: ServiceSpec) -> bool:
    """Return whether a URL may be kept with other keys than its own query."""
    return any(_query(entry) != "all" for entry in spec.caching)


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
        entry.browser_ttl is not None or entry.stale_while_revalidate or _query(entry) != "all"
    )


def _query(entry: Caching) -> object:
    return "all" if entry.key is None or entry.key.query is None else entry.key.query


def _key(entry: Caching) -> list[Document]:
    """Return the rule that leaves query parameters out of the cache key and the request.

    A variable has the parameters that count. It is part of the cache key in place of the query
    (https://techdocs.akamai.com/property-mgr/docs/cache-id-modification), and of the path that
    the origin gets (https://techdocs.akamai.com/property-mgr/docs/modify-outgoing-req-path).
    """
    query = _query(entry)
    if query == "all" or not _is_kept(entry):
        return []
    steps = [] if query == "none" else _counted(query)
    left = "" if query == "none" else variable("KEY")
    behaviors = [
        *steps,
        behavior("cacheKeyQueryParams", behavior="IGNORE_ALL"),
        *([_with_variable("KEY")] if left else []),
        behavior(
            "rewriteUrl",
            behavior="REWRITE",
            targetUrl="{{builtin.AK_PATH}}" + left,
            keepQueryString=False,
        ),
    ]
    # Others are never answered from the cache.
    reads = rule("GET and HEAD", _METHODS, behaviors, any_of=True)
    return [rule("Cache key", [_ANONYMOUS], children=[reads])]


_METHODS = [
    {"name": "requestMethod", "options": {"matchOperator": "IS", "value": method}}
    for method in ("GET", "HEAD")
]
_ANONYMOUS: Document = {
    "name": "requestHeader",
    "options": {
        "headerName": "Authorization",
        "matchOperator": "DOES_NOT_EXIST",
        "matchWildcardName": False,
    },
}


def _with_variable(name: str) -> Document:
    return behavior(
        "cacheId",
        rule="INCLUDE_VARIABLE",
        variableName=re.sub(r"\{\{user\.|\}\}", "", variable(name)),
    )


def _counted(query: object) -> list[Document]:
    """Return behaviours that set the variable ``KEY`` to the part of the query that counts."""
    assert isinstance(query, dict)
    listed = "|".join(map(_name, names(query)))
    only = "only" in query
    removed = f"(?!(?:{listed})(?:[=&]|$))" if only else f"(?:{listed})(?=[=&]|$)"
    return [
        assign(
            "KEY",
            "{{builtin.AK_QUERY}}",
            "SUBSTITUTE",
            regex=f"(?:^|&){removed}[^&]*",
            replacement="",
            caseSensitive=True,
            globalSubstitution=True,
        ),
        substitute("KEY", variable("KEY"), "^&+", ""),
        substitute("KEY", "?" + variable("KEY"), "^[?]$", ""),
    ]


def _name(name: str) -> str:
    """Return an expression for a parameter's name, each character encoded or not."""
    return encoded(name.removesuffix("*")) + ("[^=&]*" if name.endswith("*") else "")


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
