# SPDX-License-Identifier: Apache-2.0
"""Promises about how long responses are kept, and about origins that fail."""

from collections.abc import Mapping

from poppy.model.specs import Origin
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import (
    ANY,
    BASIC,
    HALF,
    NEW,
    NONE,
    NOTHING,
    STOPS,
    Ask,
    Document,
    Promise,
)

_FAILED = (500, 502, 503, 504)
_SHORT: Mapping[str, str] = {"Cache-Control": "max-age=1"}
_EXPIRED = 1.3  # Seconds after which a TTL of one second has passed.


def _from(origin: str) -> Document:
    return {**BASIC, "origins": (Origin(origin),)}


def _kept(
    id: str,
    text: str,
    place: str,
    fields: Mapping[str, str] | None = None,
    status: int = 200,
    after: float = 0.0,
) -> Promise:
    """Return a promise: the response is served again."""
    asks = (
        Ask(origin=Reply(status, fields or {}), status=(status,)),
        Ask(gets=0, status=(status,), after=after),
    )
    return Promise(id, text, asks, places=(place,))


def _expires(
    id: str, text: str, place: str, fields: Mapping[str, str] | None = None, status: int = 200
) -> Promise:
    """Return a promise: after a second, the origin is asked again."""
    asks = (
        Ask(origin=Reply(status, fields or {}), status=(status,)),
        Ask(gets=NEW, status=(status,), after=_EXPIRED, within=1.0),
    )
    return Promise(id, text, asks, places=(place,))


def _not_kept(
    id: str,
    text: str,
    places: tuple[str, ...],
    fields: Mapping[str, str] | None = None,
    status: int = 200,
) -> Promise:
    """Return a promise: each request reaches the origin."""
    asks = (
        Ask(origin=Reply(status, fields or {}), status=(status,)),
        Ask(gets=NEW, status=(status,)),
    )
    return Promise(id, text, asks, places=places)


def _errors(id: str, text: str, fields: Mapping[str, str]) -> Promise:
    """Return a promise: after an error, the origin is asked again."""
    asks = (
        ask
        for status in (403, 500, 502, 503, 504)
        for ask in (
            Ask(f"{{path}}/{status}", origin=Reply(status, fields), status=(status,)),
            Ask(f"{{path}}/{status}", origin=Reply()),
        )
    )
    return Promise(id, text, tuple(asks))


def _fails(id: str, text: str, reply: Reply) -> Promise:
    """Return a promise: an expired response is served while the origin fails."""
    asks = (
        Ask(origin=Reply(fields=_SHORT)),
        Ask(gets=0, origin=reply, after=_EXPIRED),
        Ask(gets=0, after=0.3),
        Ask(gets=NEW, origin=Reply(), within=5.0),
    )
    return Promise(id, text, asks, places=("/ttl-1", "/free"))


def _one_address(method: str) -> Promise:
    """Return a promise: a request reaches the origin's other address."""
    body = b"x=1" if method in ("PUT", "OPTIONS") else b""
    asks = tuple(Ask(f"{{path}}/{n}", method=method, body=body, at_most=n) for n in range(1, 4))
    text = f"A {method} reaches an origin of which one of two addresses is dead."
    return Promise(f"one-address-{method.lower()}", text, asks, _from(HALF), ("/free",))


TTL = (
    _kept("rule-ttl", "A caching rule keeps a response without a lifetime.", "/ttl-60"),
    _expires("rule-ttl-ends", "The TTL of a caching rule ends.", "/ttl-1"),
    _kept(
        "rule-over-shorter",
        "A caching rule keeps a response longer than the origin's shorter max-age.",
        "/ttl-60",
        _SHORT,
        after=_EXPIRED,
    ),
    _expires(
        "rule-over-longer",
        "A caching rule ends before the origin's longer max-age.",
        "/ttl-1",
        {"Cache-Control": "max-age=3600"},
    ),
    _not_kept(
        "ttl-zero",
        "With TTL 0, each request reaches the origin.",
        ("/ttl-0",),
        {"Cache-Control": "public, max-age=3600"},
    ),
    _not_kept(
        "ttl-zero-missing", "With TTL 0, a 404 is not kept either.", ("/ttl-0",), status=404
    ),
    _kept("no-rule", "Without a rule, a response without a lifetime is kept.", "/free"),
    _kept(
        "no-rule-max-age",
        "Without a rule, max-age is how long a response is kept.",
        "/free",
        {"Cache-Control": "max-age=60"},
    ),
    _expires("no-rule-max-age-ends", "Without a rule, max-age ends.", "/free", _SHORT),
    _expires(
        "no-rule-s-maxage",
        "Without a rule, s-maxage takes precedence over max-age.",
        "/free",
        {"Cache-Control": "max-age=3600, s-maxage=1"},
    ),
    _not_kept(
        "no-rule-max-age-zero",
        "Without a rule, a response with max-age=0 is not kept.",
        ("/free",),
        {"Cache-Control": "max-age=0"},
    ),
    _not_kept(
        "no-rule-expired",
        "Without a rule, a response with an Expires in the past is not kept.",
        ("/free",),
        {"Expires": "Thu, 01 Jan 2015 00:00:00 GMT", "Date": "Mon, 30 Nov 2026 08:00:00 GMT"},
    ),
    _kept("missing", "A 404 is kept for a while.", "/ttl-3600", status=404),
    _kept("gone", "A 410 is kept for a while.", "/ttl-3600", status=410),
    _kept("moved", "A 301 is kept like a 200.", "/ttl-60", {"Location": "/"}, 301),
    _not_kept(
        "redirect",
        "A 302 without a lifetime is not kept.",
        ("/free", "/ttl-60"),
        {"Location": "/"},
        302,
    ),
    _kept(
        "redirect-lifetime",
        "A 302 is kept for its lifetime.",
        "/ttl-60",
        {"Location": "/", "Cache-Control": "max-age=30"},
        302,
    ),
    _errors("errors", "A 403, 500, 502, 503 or 504 without a lifetime is not kept.", {}),
    _errors(
        "errors-lifetime",
        "A 403, 500, 502, 503 or 504 is not kept, even if it has a max-age.",
        {"Cache-Control": "max-age=60"},
    ),
)

FAILURES = (
    Promise(
        "stale-while-revalidating",
        "An expired response is served while a new one is fetched.",
        (
            Ask(origin=Reply()),
            Ask(gets=0, origin=Reply(delay=0.3), after=_EXPIRED),
            Ask(gets=0),
            Ask(gets=NEW, after=0.4, within=2.0),
        ),
        places=("/ttl-1",),
    ),
    _fails("down-error", "An expired response is served if the origin answers 503.", Reply(503)),
    _fails(
        "down-reset",
        "An expired response is served if the origin closes the connection.",
        Reply(fault="reset"),
    ),
    _fails(
        "down-timeout",
        "An expired response is served if the origin does not answer.",
        Reply(fault="silent"),
    ),
    Promise(
        "down-refused",
        "An expired response is served if the origin refuses connections.",
        (Ask(origin=Reply()), Ask(gets=0, stop=STOPS, after=_EXPIRED), Ask(gets=0, after=0.3)),
        _from(STOPS),
        ("/ttl-1",),
        alone=True,
    ),
    Promise(
        "down-nothing",
        "Without a response to serve, clients get an error if the origin refuses connections.",
        (Ask(gets=NOTHING, status=_FAILED),),
        _from(NONE),
    ),
    Promise(
        "timeout-nothing",
        "Without a response to serve, clients get an error if the origin does not answer.",
        (Ask(origin=Reply(fault="silent"), gets=NOTHING, status=_FAILED),),
        places=("/free",),
    ),
    Promise(
        "recovers",
        "The first request after a failure that had nothing to serve reaches the origin.",
        (
            Ask(origin=Reply(fault="reset"), gets=NOTHING, status=_FAILED),
            Ask(origin=Reply()),
        ),
    ),
    *map(_one_address, ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")),
    Promise(
        "one-address-post",
        "A POST to an origin of which one of two addresses is dead reaches it at most once.",
        tuple(
            Ask(f"{{path}}/{n}", "POST", body=b"x=1", status=(200, 503), gets=ANY, at_most=n)
            for n in range(1, 4)
        ),
        _from(HALF),
        ("/free",),
    ),
    Promise(
        "post-once",
        "A POST that the origin does not answer is not repeated.",
        (
            Ask(
                method="POST",
                body=b"x=1",
                origin=Reply(fault="reset"),
                gets=NOTHING,
                status=_FAILED,
                at_most=1,
            ),
        ),
        places=("/free",),
    ),
)
