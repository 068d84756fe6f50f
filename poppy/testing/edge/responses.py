# SPDX-License-Identifier: Apache-2.0
"""Promises about redirects, changes of header fields, CORS and error pages."""

from typing import Any

from poppy.model.document.cors import CORS
from poppy.model.document.error_pages import ErrorPage
from poppy.model.document.headers import HeaderRules, RequestChanges, ResponseChanges
from poppy.model.document.paths import PathRule
from poppy.model.document.redirects import Redirect
from poppy.model.specs import Origin, Restriction, Rule
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import ANY, BASIC, FIRST, NONE, NOTHING, Ask, Document, Promise

_MOVED: Document = {
    **BASIC,
    "redirects": (
        Redirect("all", "/old/*", "/new/$1", 302),
        Redirect("one", "/old/exact", "https://www.example.org/exact?a=b#c"),
        Redirect("two", "/old/*/of/*.html", "https://www.example.org/$2/$1?from=$1", 307),
        Redirect("joined", "/joined*", "/$1", 307),
        Redirect("query", "/search?q=*", "/find/$1", 303),
    ),
    "restrictions": (Restriction("r", "blacklist", (Rule("r", client_ip="127.9.0.0/16"),)),),
}


def _moved(target: str, status: int, location: str, **about: Any) -> Ask:
    return Ask(target, gets=NOTHING, status=(status,), has={"location": location})._replace(
        **about
    )


REDIRECTS = (
    Promise(
        "redirect-prefix",
        "A redirect of a pattern keeps what its wildcard matches, and the query.",
        (
            _moved("/old/{token}/x", 302, "/new/{token}/x"),
            _moved("/old/{token}?a=%20b", 302, r"/new/{token}\?a=%20b", method="POST"),
            Ask("/older/{token}"),
        ),
        _MOVED,
        ("/free",),
        needs=Capability.REDIRECTS,
    ),
    Promise(
        "redirect-most-specific",
        "Of several redirects, the most specific one applies; wildcards are numbered.",
        (
            _moved("/old/exact?z", 301, r"https://www.example.org/exact\?a=b#c"),
            _moved("/old/a/of/b.html", 307, r"https://www.example.org/b/a\?from=a"),
            _moved("/search?q=cats", 303, "/find/cats"),
            Ask("/search/{token}?q=cats"),
        ),
        _MOVED,
        ("/free",),
        needs=Capability.REDIRECTS,
    ),
    Promise(
        "redirect-host-fixed",
        "What a client requests can't change the host of a redirect, or end its path or field.",
        (
            _moved("/joined/evil.example", 307, "/evil.example"),
            _moved("/joined//evil.example", 307, "/evil.example"),
            _moved("/joined%2F%2Fevil.example", 307, "/evil.example"),
            _moved("/joined%2fevil.example?//x", 307, r"/evil.example\?//x"),
            _moved("/old/a%3Fb%23c%25%22d", 302, "/new/a%3Fb%23c%25%22d"),
            _moved("/old/a%26b%3Dc/of/d.html", 307, r".*/d/a&b=c\?from=a%26b%3Dc"),
        ),
        _MOVED,
        ("/free",),
        needs=Capability.REDIRECTS,
    ),
    Promise(
        "redirect-status",
        "A redirect has the status that the service chooses.",
        (_moved("/kept/{token}", 308, "/new"),),
        {**BASIC, "redirects": (Redirect("kept", "/kept/*", "/new", 308),)},
        ("/free",),
        needs=Capability.REDIRECTS,
    ),
    Promise(
        "redirect-after-restrictions",
        "A client that a restriction refuses is not redirected.",
        (
            Ask(
                "/old/exact",
                client="127.9.1.1",
                gets=NOTHING,
                status=(403,),
                has={"location": None},
            ),
        ),
        _MOVED,
        ("/free",),
        needs=Capability.REDIRECTS,
    ),
)

_CHANGED: Document = {
    **BASIC,
    "headers": (
        HeaderRules(
            "all",
            None,
            RequestChanges({"X-Tier": "gold; a=%22"}, ("X-Secret",)),
            ResponseChanges({"X-Frame-Options": "DENY"}, {"X-More": "2"}, ("X-Inner",)),
        ),
        HeaderRules(
            "some",
            (PathRule("s", "/ttl-60/*"),),
            RequestChanges({"X-Tier": "silver"}),
            ResponseChanges({"X-Frame-Options": "SAMEORIGIN"}),
        ),
    ),
}
_COOKIES: Document = {
    **BASIC,
    "headers": (HeaderRules("c", None, RequestChanges(remove=("cookie",))),),
}
_INNER = Reply(fields={"X-Inner": "1", "X-More": "1", "X-Frame-Options": "ALLOW"})

HEADERS = (
    Promise(
        "request-headers",
        "Fields of requests are set and removed before the origin sees them, by path.",
        (
            Ask(
                "/free/{token}",
                fields={"X-Tier": "lead", "x-secret": "1"},
                sees={"X-Tier": "gold; a=%22", "X-Secret": None},
            ),
            Ask("/ttl-60/{token}", fields={"X-TIER": "lead"}, sees={"X-Tier": "silver"}),
        ),
        _CHANGED,
        ("/free",),
        needs=Capability.REQUEST_HEADERS,
    ),
    Promise(
        "request-headers-cookies",
        "Without Cookie, clients with cookies share what is kept.",
        (
            Ask(fields={"Cookie": "a=1"}, sees={"Cookie": None}),
            Ask(fields={"Cookie": "a=2"}, gets=0),
            Ask(gets=0),
        ),
        _COOKIES,
        ("/ttl-60",),
        needs=Capability.REQUEST_HEADERS,
    ),
    Promise(
        "response-headers",
        "Fields of responses are set, added and removed, in those that are kept too.",
        tuple(
            Ask(
                gets=ANY,
                origin=_INNER,
                has={"x-frame-options": "SAMEORIGIN", "x-more": "1, ?2", "x-inner": None},
            )
            for _ in range(2)
        ),
        _CHANGED,
        ("/ttl-60",),
        needs=Capability.RESPONSE_HEADERS,
    ),
    Promise(
        "response-headers-errors",
        "Fields of the origin's errors change too.",
        (
            Ask(
                origin=_INNER._replace(status=500),
                status=(500,),
                has={"x-frame-options": "DENY", "x-inner": None},
            ),
        ),
        _CHANGED,
        ("/free",),
        needs=Capability.RESPONSE_HEADERS,
    ),
)

_APP, _OTHER = "https://app.example.com", "https://evil.example"
_CORS: Document = {
    **BASIC,
    "cors": CORS(
        (_APP, "http://localhost:8080"),
        allow_methods=("PUT", "DELETE"),
        allow_headers=("X-A", "X-B"),
        expose_headers=("ETag",),
        max_age=600,
        allow_credentials=True,
    ),
}
_OPEN: Document = {**BASIC, "cors": CORS(("*",))}
#: The response of an origin that allows every site.
_REFLECTING = Reply(
    fields={
        "Access-Control-Allow-Origin": _OTHER,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "PATCH",
    }
)
_NONE: dict[str, str | None] = {
    "access-control-allow-origin": None,
    "access-control-allow-credentials": None,
    "access-control-allow-methods": None,
    "vary": "(?i)(?:.*, ?)?Origin",
}


def _preflight(origin: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "PUT"}


CROSS_ORIGIN = (
    Promise(
        "cors-preflight",
        "The edge answers preflight requests of allowed sites, and refuses others.",
        (
            Ask(
                method="OPTIONS",
                fields=_preflight(_APP),
                gets=NOTHING,
                status=(200, 204),
                length=0,
                has={
                    "access-control-allow-origin": _APP,
                    "access-control-allow-methods": "PUT, ?DELETE",
                    "access-control-allow-headers": "X-A, ?X-B",
                    "access-control-max-age": "600",
                    "access-control-allow-credentials": "true",
                    "vary": "(?i)(?:.*, ?)?Origin.*",
                },
                at_most=0,
            ),
            Ask(
                method="OPTIONS",
                fields=_preflight(_OTHER),
                gets=NOTHING,
                status=(200, 204, 403),
                has=_NONE,
                at_most=0,
            ),
            Ask(method="OPTIONS", fields={"Origin": _APP}, gets=ANY),
        ),
        _CORS,
        ("/ttl-60",),
        needs=Capability.CORS,
    ),
    Promise(
        "cors-kept",
        "Each site gets its own fields with a response that is kept; the origin's do not count.",
        (
            Ask(fields={"Origin": _OTHER}, origin=_REFLECTING, has=_NONE),
            Ask(
                fields={"Origin": _APP},
                gets=0,
                has={
                    "access-control-allow-origin": _APP,
                    "access-control-allow-credentials": "true",
                    "access-control-expose-headers": "ETag",
                    "vary": "(?i)(?:.*, ?)?Origin",
                },
            ),
            Ask(
                fields={"Origin": "http://localhost:8080"},
                gets=0,
                has={"access-control-allow-origin": "http://localhost:8080"},
            ),
            Ask(gets=0, has=_NONE),
        ),
        _CORS,
        ("/ttl-60",),
        needs=Capability.CORS,
    ),
    Promise(
        "cors-any",
        "If all sites are allowed, the answer is the same for all, and without credentials.",
        tuple(
            Ask(
                fields={"Origin": origin},
                origin=_REFLECTING,
                gets=ANY,
                has={
                    "access-control-allow-origin": r"\*",
                    "access-control-allow-credentials": None,
                    "vary": None,
                },
            )
            for origin in (_APP, _OTHER)
        ),
        _OPEN,
        ("/ttl-60",),
        needs=Capability.CORS,
    ),
)

#: The origin's body for this path has 11 bytes.
_PAGE = "/errors/t0x.html"
_PAGES: Document = {
    **BASIC,
    "origins": (Origin(FIRST), Origin(NONE, rules=(Rule("dead", "/dead/*"),))),
    "error_pages": (ErrorPage("e", (404, 502, 503, 504), _PAGE, 60),),
}
_MISSING = Reply(404, size=500)


def _page(status: tuple[int, ...] = (404,), **about: Any) -> Ask:
    return Ask(gets=ANY, status=status, length=11)._replace(**about)


ERROR_PAGES = (
    Promise(
        "error-page",
        "An error has the body of its page and its own status; the page is kept for its TTL.",
        (
            _page(origin=_MISSING, has={"cache-control": "no-store"}),
            _page(gets=0),
            _page(target="{path}?1", gets=0),
            _page(method="HEAD", length=0),
        ),
        _PAGES,
        needs=Capability.ERROR_PAGES,
    ),
    Promise(
        "error-page-uncached",
        "Requests that are not answered from the cache get the page too.",
        (
            _page(origin=_MISSING, fields={"Cookie": "a=1"}),
            _page(fields={"Authorization": "Basic YTph", "Range": "bytes=0-1"}, gets=0),
        ),
        _PAGES,
        ("/ttl-0",),
        needs=Capability.ERROR_PAGES,
    ),
    Promise(
        "error-page-unreachable",
        "If the origin can't be reached, the page may still be served.",
        (_page((502, 503, 504), target="/dead/{token}"),),
        _PAGES,
        ("/free",),
        needs=Capability.ERROR_PAGES,
    ),
    Promise(
        "error-page-other",
        "Other responses stay as they are.",
        (
            Ask(
                origin=Reply(500, size=500, fields={"X-Own": "1"}),
                status=(500,),
                has={"x-own": "1"},
            ),
            Ask(method="POST", origin=_MISSING, body=b"x", status=(404,), length=None),
            Ask("{path}?1", origin=Reply()),
        ),
        _PAGES,
        ("/free",),
        needs=Capability.ERROR_PAGES,
    ),
)
