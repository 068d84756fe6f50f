# SPDX-License-Identifier: Apache-2.0
"""``caching.key``: query parameters, header fields and cookies that make a difference.

Variables have what counts. They are part of the cache key
(https://techdocs.akamai.com/property-mgr/docs/cache-id-modification), and of the path and the
cookies that the origin gets (https://techdocs.akamai.com/property-mgr/docs/modify-outgoing-req-path).
The cache key takes header fields and cookies by name as well, but then Akamai's pages contradict
each other about requests without them.
"""

import re
from collections.abc import Sequence

from poppy.model.document.caching import names
from poppy.model.specs import Caching, ServiceSpec
from poppy.provider.akamai import headers
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import (
    ABSENT,
    EMPTY,
    NOT_EMPTY,
    assign,
    behavior,
    extract,
    header,
    if_variable,
    regular,
    rule,
    substitute,
    variable,
    variable_name,
)
from poppy.provider.patterns import encoded

_METHODS = [
    {"name": "requestMethod", "options": {"matchOperator": "IS", "value": method}}
    for method in ("GET", "HEAD")
]


def is_changed(spec: ServiceSpec) -> bool:
    """Return whether the key of some content is not just its URL."""
    return any(map(has_key, spec.caching))


def has_key(entry: Caching) -> bool:
    """Return whether an entry changes the cache key."""
    key = entry.key
    return key is not None and bool(_query(entry) != "all" or key.headers or key.cookies)


def rules(entry: Caching) -> list[Document]:
    """Return the rule of the cache key of an entry; an empty list if the key is the URL.

    It is for requests that may be answered from the cache.
    """
    if not has_key(entry):
        return []
    assert entry.key is not None
    fields = [_field(number, name) for number, name in enumerate(entry.key.headers or (), 1)]
    cookies = entry.key.cookies or ()
    values = [_cookie(number, name) for number, name in enumerate(cookies, 1)]
    counted = [f"FIELD{number}" for number, _rule in enumerate(fields, 1)]
    counted += [f"COOKIE{number}" for number, _rule in enumerate(values, 1)]
    behaviors = [*([extract("COOKIES", "Cookie")] if cookies else [])]
    if _query(entry) != "all":
        behaviors += _parameters(_query(entry))
        counted += [] if _query(entry) == "none" else ["KEY"]
    behaviors += [
        behavior("cacheId", rule="INCLUDE_VARIABLE", variableName=variable_name(name))
        for name in counted
    ]
    children = [*fields, *values, *(_kept_cookies(cookies) if cookies else [])]
    reads = rule("GET and HEAD", _METHODS, behaviors, children, any_of=True)
    return [rule("Cache key", [header("Authorization", operator=ABSENT)], children=[reads])]


def _query(entry: Caching) -> object:
    return "all" if entry.key is None or entry.key.query is None else entry.key.query


def _parameters(query: object) -> list[Document]:
    """Return the behaviours that leave other query parameters out of the key and the request."""
    steps = [] if query == "none" else _counted(query)
    left = "" if query == "none" else variable("KEY")
    return [
        *steps,
        behavior("cacheKeyQueryParams", behavior="IGNORE_ALL"),
        behavior(
            "rewriteUrl",
            behavior="REWRITE",
            targetUrl="{{builtin.AK_PATH}}" + left,
            keepQueryString=False,
        ),
    ]


def _counted(query: object) -> list[Document]:
    """Return behaviours that set the variable ``KEY`` to the part of the query that counts."""
    assert isinstance(query, dict)
    listed = "|".join(map(_name, names(query)))
    only = "only" in query
    removed = f"(?!(?:{listed})(?:[=&]|$))" if only else f"(?:{listed})(?=[=&]|$)"
    return [
        substitute("KEY", "{{builtin.AK_QUERY}}", f"(?:^|&){removed}[^&]*", "", every=True),
        substitute("KEY", variable("KEY"), "^&+", ""),
        substitute("KEY", "?" + variable("KEY"), "^[?]$", ""),
    ]


def _name(name: str) -> str:
    """Return an expression for a parameter's name, each character encoded or not."""
    return encoded(name.removesuffix("*")) + ("[^=&]*" if name.endswith("*") else "")


def _field(number: int, name: str) -> Document:
    """Return the rule that sets a variable to a field with ``=`` before it, if there is one."""
    found = f"FIELD{number}"
    steps = [extract(found, name), assign(found, "=" + variable(found))]
    return rule(f"Field {name}", [header(name)], steps)


def _cookie(number: int, name: str) -> Document:
    """Return the rule that sets a variable to a cookie with ``=`` before it, if there is one."""
    text, found = variable("COOKIES"), re.escape(name)
    value = substitute(f"COOKIE{number}", text, f"^(?:.*;)? *{found}=([^;]*).*$", "=$1")
    return rule(f"Cookie {name}", [regular(text, f"(?:^|;) *{found}=")], [value])


def _kept_cookies(cookies: Sequence[str]) -> list[Document]:
    """Return the rules that pass on the listed cookies only."""
    listed = "|".join(map(re.escape, cookies))
    steps = [
        substitute(
            "KEPT", variable("COOKIES"), f"(?:^|;)(?! *(?:{listed})=)[^;]*", "", every=True
        ),
        substitute("KEPT", variable("KEPT"), "^[; ]+", ""),
    ]
    none = rule("None", [if_variable("KEPT", EMPTY)], [headers.delete_request("Cookie")])
    some = rule(
        "Some",
        [if_variable("KEPT", NOT_EMPTY)],
        [headers.set_request("Cookie", variable("KEPT"))],
    )
    return [rule("Cookies of the key", [header("Cookie")], steps, [none, some])]
