# SPDX-License-Identifier: Apache-2.0
"""Promises about privacy: what belongs to one client is never served to another one."""

from collections.abc import Mapping

from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import ANY, NEW, Ask, Promise


def _never_shared(
    id: str, text: str, fields: Mapping[str, str], statuses: tuple[int, ...] = (200,)
) -> Promise:
    """Return a promise: no client gets the response to another one's request."""
    asks = (
        ask
        for status in statuses
        for ask in (
            Ask(origin=Reply(status, fields), gets=NEW, status=(status,)),
            Ask(gets=NEW, status=(status,)),
        )
    )
    return Promise(id, text, tuple(asks))


def _by_request(id: str, text: str, name: str, values: tuple[str, str], vary: str = "") -> Promise:
    """Return a promise: clients that differ in a header field don't share a response."""
    reply = Reply(fields={"Cache-Control": "max-age=600", **({"Vary": vary} if vary else {})})
    mine, theirs = values
    asks = (
        Ask(fields={name: mine}, origin=reply, gets=NEW),
        Ask(fields={name: theirs}, gets=NEW),
        Ask(gets=NEW),
    )
    return Promise(id, text, asks)


PRIVACY = (
    _never_shared(
        "private",
        "A response with Cache-Control: private is never served to another client.",
        {"Cache-Control": "private"},
    ),
    _never_shared(
        "private-with-lifetime",
        "The same if it also has a max-age, in any case of letters.",
        {"Cache-Control": "max-age=600, Private"},
    ),
    _never_shared(
        "private-in-a-second-field",
        "The same if private is in a second Cache-Control field.",
        {"Cache-Control": "max-age=600\nprivate"},
    ),
    _never_shared(
        "private-missing",
        "A 404 or 410 with Cache-Control: private is never served to another client.",
        {"Cache-Control": "private"},
        (404, 410),
    ),
    _never_shared(
        "private-error",
        "A 400, 403, 500, 502, 503 or 504 with Cache-Control: private is never served to another "
        "client.",
        {"Cache-Control": "private"},
        (400, 403, 500, 502, 503, 504),
    ),
    _never_shared(
        "no-store",
        "A response with Cache-Control: no-store is never served again.",
        {"Cache-Control": "no-store, max-age=600"},
    ),
    _never_shared(
        "no-cache",
        "A response with Cache-Control: no-cache is never served without asking the origin.",
        {"Cache-Control": "no-cache"},
    ),
    _never_shared(
        "set-cookie",
        "A response with Set-Cookie is never served to another client.",
        {"Set-Cookie": "session=mine"},
    ),
    _never_shared(
        "set-cookie-public",
        "The same if the origin says public and a max-age.",
        {"Set-Cookie": "session=mine", "Cache-Control": "public, max-age=600"},
    ),
    _by_request(
        "authorization",
        "A response to a request with Authorization is served neither to other credentials nor "
        "without any.",
        "Authorization",
        ("Basic bWluZTo=", "Basic dGhlaXJzOg=="),
    ),
    _by_request(
        "cookie",
        "A response to a request with a cookie is served neither to another cookie nor without "
        "any.",
        "Cookie",
        ("session=mine", "session=theirs"),
    ),
    _by_request(
        "vary-cookie",
        "The same if the response says Vary: Cookie.",
        "Cookie",
        ("session=mine", "session=theirs"),
        "Cookie",
    ),
    _by_request(
        "vary-header",
        "A response that varies by a header field is served only to requests with the same value.",
        "X-Variant",
        ("mine", "theirs"),
        "X-Variant",
    ),
    _by_request(
        "vary-language",
        "The same for Vary: Accept-Language.",
        "Accept-Language",
        ("de", "fr"),
        "Accept-Language",
    ),
    _never_shared("vary-star", "A response with Vary: * is never served again.", {"Vary": "*"}),
    Promise(
        "vary-encoding",
        "A compressed response is served only to clients that accept it.",
        (
            Ask(
                fields={"Accept-Encoding": "gzip"},
                origin=Reply(fields={"Vary": "Accept-Encoding"}, compresses=True),
            ),
            Ask(gets=ANY, has={"content-encoding": None}),
        ),
    ),
    Promise(
        "private-not-stale",
        "A private response is not served to anyone if the origin fails.",
        (
            Ask(origin=Reply(fields={"Cache-Control": "private"})),
            Ask(origin=Reply(503), gets=NEW, status=(500, 502, 503, 504)),
        ),
    ),
    Promise(
        "post-not-kept",
        "A response to a POST is not served to a GET.",
        (
            Ask(method="POST", body=b"mine", origin=Reply(fields={"Cache-Control": "max-age=60"})),
            Ask(gets=NEW),
        ),
    ),
    Promise(
        "query-in-key",
        "URLs that differ in the query, or in its order, don't share a response.",
        (
            Ask("{path}?a=1&b=2"),
            Ask("{path}?b=2&a=1"),
            Ask("{path}?a=1&b=3"),
            Ask(),
            Ask("{path}?a=1&b=2", gets=0),
        ),
    ),
    Promise(
        "domains-apart",
        "The domains of a service don't share responses.",
        (Ask(), Ask(domain=1), Ask(gets=0)),
    ),
)
