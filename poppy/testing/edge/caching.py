# SPDX-License-Identifier: Apache-2.0
"""Promises about the options of ``caching``."""

from typing import Any

from poppy.model.document.caching import CacheKey, StatusTTL
from poppy.model.operations import Purge
from poppy.model.specs import Caching, Origin, Rule
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import ANY, FIRST, NEW, Ask, Document, Promise

_ALL = (Rule("all", "/*"),)
_EXPIRED = 1.3  # Seconds after which a TTL of one second has passed.
_LONG = {"Cache-Control": "max-age=3600"}
_SHORT = {"Cache-Control": "max-age=1"}
_QUERY = Capability.CACHE_KEY_QUERY
_HEADERS = Capability.CACHE_KEY_HEADERS
_COOKIES = Capability.CACHE_KEY_COOKIES


def _with(ttl: int, **options: Any) -> Document:
    return {"origins": (Origin(FIRST),), "caching": (Caching("all", ttl, _ALL, **options),)}


def _keyed(query: Any) -> Document:
    return _with(60, key=CacheKey(query))


_BY_HEADERS = _with(60, key=CacheKey(headers=("X-Lang", "X-Tier")))
_BY_COOKIES = _with(60, key=CacheKey(cookies=("lang", "tier")))


def _lang(value: str, gets: int = NEW, tier: str = "") -> Ask:
    fields = {"X-Lang": value} | ({"X-Tier": tier} if tier else {})
    return Ask(fields=fields, gets=gets, sees=fields if gets == NEW else {})


def _cookies(text: str, reaches: str | None, gets: int = NEW) -> Ask:
    return Ask(fields={"Cookie": text}, gets=gets, sees={"Cookie": reaches} if gets == NEW else {})


CACHING = (
    Promise(
        "respect-origin",
        "With mode respect_origin, the origin's lifetime counts, and the TTL without one.",
        (
            Ask("{path}/a", origin=Reply(fields=_SHORT)),
            Ask("{path}/b", origin=Reply(fields={"Cache-Control": "no-store"})),
            Ask("{path}/b"),
            Ask("{path}/c", origin=Reply()),
            Ask("{path}/a", after=_EXPIRED, within=1.0),
            Ask("{path}/c", gets=3),
        ),
        _with(60, mode="respect_origin"),
        needs=Capability.CACHE_MODE,
    ),
    Promise(
        "override",
        "With mode override, the TTL counts.",
        (Ask(origin=Reply(fields=_LONG)), Ask(after=_EXPIRED, within=1.0)),
        _with(1, mode="override"),
        needs=Capability.CACHE_MODE,
    ),
    Promise(
        "bypass",
        "With mode bypass, nothing is kept.",
        (Ask(origin=Reply(fields=_LONG)), Ask(gets=NEW)),
        _with(60, mode="bypass"),
        needs=Capability.CACHE_MODE,
    ),
    Promise(
        "browser-ttl",
        "Browsers get the TTL of browsers instead of the origin's lifetime, also from the cache.",
        tuple(
            Ask(
                origin=Reply(fields={**_LONG, "Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}),
                gets=gets,
                has={"cache-control": "max-age=7", "expires": None, "age": None},
            )
            for gets in (NEW, 0)
        ),
        _with(60, browser_ttl=7),
        needs=Capability.BROWSER_TTL,
    ),
    Promise(
        "browser-ttl-bypass",
        "Browsers get their TTL of responses that the edge never keeps, but not of errors.",
        (
            Ask(origin=Reply(fields=_LONG), has={"cache-control": "max-age=7"}),
            Ask(
                origin=Reply(404, {"Cache-Control": "no-store"}),
                status=(404,),
                has={"cache-control": "no-store"},
            ),
        ),
        _with(0, browser_ttl=7),
        needs=Capability.BROWSER_TTL,
    ),
    Promise(
        "stale-while-revalidate",
        "After its TTL, a response is served and fetched again; later it is fetched first.",
        (
            Ask(),
            Ask(gets=0, after=_EXPIRED),
            Ask(gets=ANY, at_most=2, after=0.3),
            Ask(gets=NEW, after=3.6),
        ),
        _with(1, stale_while_revalidate=2),
        needs=Capability.STALE_WHILE_REVALIDATE,
    ),
    Promise(
        "stale-if-error",
        "After its TTL, a response is served only if the origin fails.",
        (
            Ask(),
            Ask(gets=0, origin=Reply(503), after=_EXPIRED),
            Ask(gets=0, origin=Reply(fault="reset")),
            Ask(gets=NEW, origin=Reply()),
        ),
        _with(1, stale_while_revalidate=0, stale_if_error=60),
        needs=Capability.STALE_IF_ERROR,
    ),
    Promise(
        "stale-if-error-ends",
        "The time of stale-if-error ends.",
        (
            Ask(),
            Ask(gets=ANY, status=(502, 503), origin=Reply(503), after=3.5),
        ),
        _with(1, stale_while_revalidate=0, stale_if_error=1),
        needs=Capability.STALE_IF_ERROR,
    ),
    Promise(
        "status-ttl",
        "Responses of a listed status are kept for its TTL, and others as before.",
        (
            Ask("{path}/a", origin=Reply(500), status=(500,)),
            Ask("{path}/a", gets=0, status=(500,)),
            Ask("{path}/b", origin=Reply(404), status=(404,)),
            Ask("{path}/b", status=(404,)),
            Ask("{path}/c", origin=Reply(fields=_SHORT)),
            Ask("{path}/c", gets=4, after=_EXPIRED),
        ),
        _with(60, status_ttl=(StatusTTL(500, 30), StatusTTL(404, 0))),
        needs=Capability.STATUS_TTL,
    ),
    Promise(
        "key-no-query",
        "With key.query none, the query makes no difference and does not reach the origin.",
        (
            Ask("{path}?a=1&b"),
            Ask("{path}?c=2", gets=0),
            Ask(gets=0),
            Ask("{path}/x?secret=1", sees={":path": "[^?]*"}),
        ),
        _keyed("none"),
        needs=_QUERY,
    ),
    Promise(
        "key-some-query",
        "With key.query only, other parameters make no difference; their spelling makes none.",
        (
            Ask("{path}?id=1&utm_source=x", sees={":path": ".*[?]id=1"}),
            Ask("{path}?x=2&id=1", gets=0),
            Ask("{path}?id=2"),
            Ask("{path}?page_size=1"),
            Ask("{path}"),
        ),
        _keyed({"only": ["id", "page_*"]}),
        needs=_QUERY,
    ),
    Promise(
        "key-other-query",
        "With key.query except, only the listed parameters make no difference.",
        (
            Ask("{path}?id=1&utm_source=x", sees={":path": ".*[?]id=1"}),
            Ask("{path}?id=1&utm_medium=y&%75tm_source=z&ref=1", gets=0),
            Ask("{path}?id=1&other=1"),
        ),
        _keyed({"except": ["utm_*", "ref"]}),
        needs=_QUERY,
    ),
    Promise(
        "key-query-of-uncached",
        "The origin gets the whole query of requests that are never answered from the cache.",
        (Ask("{path}?a=1&b", method="POST", body=b"x", sees={":path": ".*[?]a=1&b"}),),
        _keyed("none"),
        needs=_QUERY,
    ),
    Promise(
        "key-headers",
        "With key.headers, only requests with the same values get the same response.",
        (
            _lang("de"),
            _lang("fr"),
            Ask(fields={"X-Lang": "de", "X-Other": "1"}, gets=0),
            Ask(sees={"X-Lang": None}),
            _lang("de", tier="1"),
            Ask(fields={"X-Tier": "1"}),
            _lang("fr", gets=1),
            Ask(gets=3),
            Ask(fields={"x-tier": "1", "x-lang": "de"}, gets=4),
        ),
        _BY_HEADERS,
        needs=_HEADERS,
    ),
    Promise(
        "key-cookies",
        "With key.cookies, only the listed cookies make a difference; their order makes none.",
        (
            _cookies("lang=de; session=1", "lang=de"),
            _cookies("session=2; lang=de", "", gets=0),
            _cookies("lang=fr", "lang=fr"),
            _cookies("session=3", None),
            Ask(gets=3),
            _cookies("LANG=de; xlang=de", None, gets=3),
            _cookies("tier=1; lang=de", "lang=de; tier=1|tier=1; lang=de"),
            _cookies("lang=de; a=b; tier=1", "", gets=6),
            _cookies("lang=de", "", gets=0),
        ),
        _BY_COOKIES,
        needs=_COOKIES,
    ),
    Promise(
        "key-cookies-of-uncached",
        "The origin gets all cookies of requests that are never answered from the cache.",
        (
            Ask(
                method="POST",
                fields={"Cookie": "session=1; lang=de"},
                body=b"x",
                sees={"Cookie": "session=1; lang=de"},
            ),
        ),
        _BY_COOKIES,
        needs=_COOKIES,
    ),
    Promise(
        "key-cookies-set-cookie",
        "A response that sets a cookie is not kept, though cookies are part of the key.",
        (
            Ask(fields={"Cookie": "lang=de"}, origin=Reply(fields={"Set-Cookie": "lang=fr"})),
            Ask(fields={"Cookie": "lang=de"}),
        ),
        _BY_COOKIES,
        needs=_COOKIES,
    ),
    *(
        Promise(
            f"key-{kind}-purge",
            f"A purge by URL removes the responses for all values of {kind}.",
            (
                *(Ask(fields={name: value}) for value in ("lang=a", "lang=b")),
                Ask(fields={name: "lang=a"}, gets=0),
                Ask(fields={name: "lang=a"}, purge=Purge("{path}", hard=True)),
                Ask(fields={name: "lang=b"}),
                Ask(fields={name: "lang=a"}, gets=3),
            ),
            document,
            needs=capability,
        )
        for kind, name, document, capability in (
            ("headers", "X-Lang", _BY_HEADERS, _HEADERS),
            ("cookies", "Cookie", _BY_COOKIES, _COOKIES),
        )
    ),
)
