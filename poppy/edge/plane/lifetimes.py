# SPDX-License-Identifier: Apache-2.0
"""How long responses are kept: the fourth part of a service's entry.

It begins with the TTL, and may have options, each after a slash:

===========  ===========================================================================
m            the origin's lifetime counts, and the TTL for responses without one
b<seconds>   the TTL of browsers
w<seconds>   stale-while-revalidate
e<seconds>   stale-if-error, if it is longer than that
t<status>=   the TTL in seconds of responses with a status
qn           the cache key has no query
qo<names>    it has these parameters only; the names are separated by ``+``
qe<names>    it has all but these
h<names>     the cache key has these request fields: percent-encoded names in lower case
c<names>     it has these cookies
===========  ===========================================================================

Varnish obeys all but the last five when it fetches. HAProxy removes the query parameters that
are not part of the key from requests that may be answered from the cache, and sets the TTL of
browsers in responses that are never kept. :mod:`poppy.edge.plane.cache_key` describes fields and
cookies.
"""

from collections.abc import Iterator

from poppy.edge.plane import cache_key
from poppy.model.document.caching import CacheOptions, names

#: The conditions of requests with a key that leaves out query parameters.
IS_KEYED = "var(txn.entry),field(4,|) -m sub /q"

_HAS_BROWSER_TTL = "{ var(txn.entry),field(4,|) -m sub /b }"


def text(seconds: int | None, options: CacheOptions, grace: float) -> str:
    """Return the fourth and fifth part of an entry.

    Args:
        seconds: the TTL; None for the origin's own.
        options: see :class:`CacheOptions`.
        grace: the seconds in which stale responses are served if the service does not say.
    """
    if seconds is None:
        return "|cached"
    is_kept = options.mode != "bypass" and (
        seconds > 0 or options.mode == "respect_origin" or bool(options.status_ttl)
    )
    parts = "/".join((f"{seconds}s", *_options(options, grace)))
    return f"{parts}|{'cached' if is_kept else 'direct'}"


def request_rules() -> str:
    """Return rules for requests that may be answered from the cache: their query is reduced."""
    keyed = "is_keyed !{ var(txn.direct) -m bool }"
    asked = "%[var(txn.entry),field(4,|)] %[query]"
    return (
        f"    acl is_keyed {IS_KEYED}\n"
        f'    http-request set-var-fmt(txn.asked) "{asked}" if {keyed}\n'
        f"    http-request set-pathq %[path]%[var(txn.asked),lua.keyed_query] if {keyed}\n"
    )


#: Rules for responses that bypass the cache: browsers may keep them though the edge may not.
DIRECT_RULES = f"""\
    acl is_success status 200 203 206 300 301 304 308
    acl is_never_kept var(txn.entry),field(5,|) -m str direct
    http-response set-header Cache-Control max-age=%[var(txn.entry),field(4,|),regsub(^.*/b,),\
field(1,/)] if is_success is_never_kept {_HAS_BROWSER_TTL}
    http-response del-header Expires if is_success is_never_kept {_HAS_BROWSER_TTL}
"""


def _options(options: CacheOptions, grace: float) -> Iterator[str]:
    if options.mode == "respect_origin":
        yield "m"
    if options.browser_ttl is not None:
        yield f"b{options.browser_ttl}"
    while_revalidate = options.stale_while_revalidate
    if while_revalidate is not None:
        yield f"w{while_revalidate}"
    if options.stale_if_error is not None:
        shorter = grace if while_revalidate is None else while_revalidate
        if options.stale_if_error > shorter:
            yield f"e{options.stale_if_error}"
    yield from (f"t{it.status}={it.ttl}" for it in options.status_ttl or ())
    query = options.key.query if options.key else None
    if query == "none":
        yield "qn"
    elif isinstance(query, dict):
        yield ("qo" if "only" in query else "qe") + "+".join(names(query))
    if options.key:
        yield from cache_key.options(options.key)
