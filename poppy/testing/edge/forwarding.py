# SPDX-License-Identifier: Apache-2.0
"""Promises about the requests that origins receive."""

from poppy.model.specs import Origin, Rule
from poppy.testing.edge.promises import BASIC, FIRST, SECOND, Ask, Document, Promise

_ALL = (Rule("all", "/*"),)
_ROUTED: Document = {
    **BASIC,
    "origins": (Origin(FIRST, rules=_ALL), Origin(SECOND, rules=(Rule("app", "/app/*"),))),
}


def _host(kind: str, value: str | None, expected: str) -> Promise:
    """Return a promise: each origin gets this Host header."""
    origins = (
        Origin(FIRST, hostheadertype=kind, hostheadervalue=value, rules=_ALL),
        Origin(SECOND, rules=(Rule("app", "/app/*"),)),
    )
    asks = (
        Ask(sees={"Host": expected}, reaches=FIRST),
        Ask("/app/{token}", sees={"Host": "{domain}"}, reaches=SECOND),
    )
    text = f"An origin with hostheadertype {kind} receives that Host, and others their own."
    return Promise(f"host-{kind}", text, asks, {**BASIC, "origins": origins}, ("/free",))


def _field(id: str, name: str, value: str) -> Promise:
    """Return a promise: origins receive the browser's field."""
    asks = (Ask(fields={name: value}, sees={name: value.replace("*", "[*]")}),)
    return Promise(id, f"Origins receive the browser's {name}.", asks, places=("/free", "/ttl-0"))


FORWARDING = (
    Promise(
        "origin-by-path",
        "The path selects the origin.",
        (
            Ask(reaches=FIRST),
            Ask("/app/{token}", reaches=SECOND),
            Ask("/app/{token}?a=/free/", reaches=SECOND),
            Ask("/application/{token}", reaches=FIRST),
        ),
        _ROUTED,
        ("/free",),
    ),
    Promise(
        "origin-by-spelling",
        "Paths that mean the same reach the same origin.",
        tuple(Ask(target, reaches=SECOND) for target in ("/%61pp/{token}", "//app///{token}")),
        _ROUTED,
        ("/free",),
    ),
    Promise(
        "ttl-by-spelling",
        "Paths that mean the same have the same TTL.",
        tuple(Ask(target) for target in ("/%74tl-0/{token}",) * 2 + ("//ttl-0//{token}",) * 2),
        places=("/free",),
    ),
    Promise(
        "origin-by-method",
        "Every method reaches the origin of its path.",
        tuple(
            Ask(f"/app/{{token}}/{method}", method, body=b"x", reaches=SECOND)
            for method in ("POST", "PUT", "PATCH", "DELETE")
        ),
        _ROUTED,
        ("/free",),
    ),
    _host("domain", None, "{domain}"),
    _host("origin", None, FIRST.replace(".", "[.]")),
    _host("custom", "files.example.org", "files[.]example[.]org"),
    _field("user-agent", "User-Agent", "Browser/1"),
    _field("accept", "Accept", "text/html"),
    _field("referer", "Referer", "http://www.example.org/page"),
    _field("accept-language", "Accept-Language", "de"),
    Promise(
        "forwarded-for",
        "The last address in X-Forwarded-For is the client's.",
        (
            Ask(
                client="127.8.0.9",
                fields={"X-Forwarded-For": "192.0.2.1"},
                sees={"X-Forwarded-For": "(?:.*, *)?127[.]8[.]0[.]9"},
            ),
        ),
    ),
    Promise(
        "forwarded-proto",
        "X-Forwarded-Proto is the scheme of the browser, which distinguishes responses in the"
        " cache.",
        (
            Ask(
                scheme="https",
                fields={"X-Forwarded-Proto": "http"},
                sees={"X-Forwarded-Proto": "https"},
            ),
            Ask(
                scheme="http",
                fields={"X-Forwarded-Proto": "https"},
                sees={"X-Forwarded-Proto": "http"},
            ),
            Ask(scheme="https", gets=0),
            Ask(
                "{path}/post",
                "POST",
                body=b"x",
                scheme="https",
                sees={"X-Forwarded-Proto": "https"},
            ),
        ),
        places=("/ttl-60",),
        alone=True,
        https=True,
    ),
    Promise(
        "forged-fields",
        "Origins receive no X-Forwarded-Host, X-Original-URL or X-HTTP-Method-Override of a "
        "client.",
        (
            Ask(
                fields={
                    "X-Forwarded-Host": "evil.example",
                    "X-Original-URL": "/evil",
                    "X-HTTP-Method-Override": "DELETE",
                },
                sees={
                    "X-Forwarded-Host": None,
                    "X-Original-URL": None,
                    "X-HTTP-Method-Override": None,
                },
            ),
        ),
    ),
    Promise(
        "query-forwarded",
        "Origins receive the query as the browser sent it.",
        (Ask("{path}?b=2&a=1&a=%20"),),
    ),
)
