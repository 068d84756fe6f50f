# SPDX-License-Identifier: Apache-2.0
"""Promises about restrictions."""

from collections.abc import Sequence
from typing import Any

from poppy.model.specs import Restriction, Rule
from poppy.provider.base import Capability
from poppy.testing.edge.promises import ANY, BASIC, NOTHING, Ask, Document, Promise

_REFUSED = (403,)
_FRIENDS = (
    "http://friend.example/page",
    "https://FRIEND.example",
    "https://friend.example/?q",
)
_STRANGERS = (
    "http://friend.example.evil.example/",
    "http://evilfriend.example/",
    "http://friend.example@evil.example/",
    "http://evil.example/http://friend.example/",
)


def _restricted(access: str, *rules: Rule) -> Document:
    return {**BASIC, "restrictions": (Restriction("r", access, rules),)}


def _refused(target: str = "{path}", status: tuple[int, ...] = _REFUSED, **about: Any) -> Ask:
    return Ask(target, gets=NOTHING, status=status)._replace(**about)


def _asks(allowed: Sequence[dict[str, Any]], denied: Sequence[dict[str, Any]]) -> tuple[Ask, ...]:
    """Return requests that are allowed, twice so that the second may be from the cache."""
    return (
        *(Ask(gets=ANY)._replace(**about) for about in allowed for _ in range(2)),
        *(_refused(**about) for about in denied),
    )


def _by(name: str, values: Sequence[str]) -> list[dict[str, Any]]:
    return [{"fields": {name: value}} for value in values]


def _clients(*addresses: str) -> list[dict[str, Any]]:
    return [{"client": address} for address in addresses]


def _countries(*codes: str) -> list[dict[str, Any]]:
    return [{"country": code} for code in codes]


_NETWORKS = (Rule("six", client_ip="2001:db8::/32"), Rule("four", client_ip="127.9.0.0/16"))
_PLACES = (Rule("us", geography="United States"), Rule("eu", geography="Europe"))
_FRIEND = Rule("friend", referrer="friend.example")
_PAL = Rule("pal", referrer="pal.example")
_PRIVATE = _restricted("blacklist", Rule("all", "/private/*", client_ip="127.0.0.0/8"))


def _spelling(id: str, text: str, *targets: str, status: tuple[int, ...] = _REFUSED) -> Promise:
    """Return a promise: these spellings of a path do not evade a restriction."""
    asks = (
        *(_refused(target, status) for target in ("/private/{token}", *targets)),
        Ask("/public/{token}"),
    )
    return Promise(id, text, asks, _PRIVATE, ("/public",), needs=Capability.CLIENT_IP)


ACCESS = (
    Promise(
        "whitelist-referrer",
        "A whitelist by referrer admits exactly its hosts, and no request without Referer.",
        _asks(
            _by("Referer", (*_FRIENDS, "http://pal.example/")),
            [{}, *_by("Referer", _STRANGERS)],
        ),
        _restricted("whitelist", _FRIEND, _PAL),
        needs=Capability.REFERRER,
    ),
    Promise(
        "whitelist-referrer-subdomain",
        "A whitelist by referrer admits subdomains, and any port.",
        _asks(_by("Referer", ("https://www.friend.example/", "http://friend.example:8080/")), ()),
        _restricted("whitelist", _FRIEND),
        needs=Capability.REFERRER,
    ),
    Promise(
        "blacklist-referrer",
        "A blacklist by referrer refuses the host and its subdomains, and no other site.",
        _asks(
            [{}, *_by("Referer", ("http://evilfriend.example/", "http://other.example/"))],
            _by("Referer", (*_FRIENDS, "https://www.friend.example/")),
        ),
        _restricted("blacklist", _FRIEND),
        needs=Capability.REFERRER,
    ),
    Promise(
        "whitelist-client",
        "A whitelist by client address admits its networks only.",
        _asks(_clients("127.9.1.2"), _clients("127.8.1.2", "127.10.0.1")),
        _restricted("whitelist", *_NETWORKS),
        needs=Capability.CLIENT_IP,
    ),
    Promise(
        "blacklist-client",
        "A blacklist by client address refuses its networks only.",
        _asks(_clients("127.8.1.2"), _clients("127.9.1.2")),
        _restricted("blacklist", *_NETWORKS),
        needs=Capability.CLIENT_IP,
    ),
    Promise(
        "client-not-forged",
        "X-Forwarded-For and the like don't change the client's address.",
        (
            _refused(fields={"X-Forwarded-For": "127.9.1.2", "X-Real-IP": "127.9.1.2"}),
            _refused(fields={"True-Client-IP": "127.9.1.2", "Fastly-Client-IP": "127.9.1.2"}),
        ),
        _restricted("whitelist", *_NETWORKS),
        needs=Capability.CLIENT_IP,
    ),
    Promise(
        "whitelist-geography",
        "A whitelist by geography admits clients in its countries and continents.",
        _asks(_countries("US", "FR"), _countries("CA", "AU")),
        _restricted("whitelist", *_PLACES),
        needs=Capability.GEOGRAPHY,
    ),
    Promise(
        "whitelist-geography-unknown",
        "A whitelist by geography refuses clients of unknown country.",
        (_refused(),),
        _restricted("whitelist", *_PLACES),
        needs=Capability.GEOGRAPHY,
    ),
    Promise(
        "blacklist-geography",
        "A blacklist by geography refuses clients in its countries and continents.",
        _asks([*_countries("CA"), {}], _countries("US", "FR")),
        _restricted("blacklist", *_PLACES),
        needs=Capability.GEOGRAPHY,
    ),
    Promise(
        "geography-by-path",
        "A restriction by geography applies to its paths only.",
        (
            _refused("/private/{token}", country="CA"),
            Ask("/private/{token}", country="US"),
            Ask("/public/{token}", country="CA"),
        ),
        _restricted("whitelist", Rule("us", "/private/*", geography="US")),
        ("/public",),
        needs=Capability.GEOGRAPHY,
    ),
    Promise(
        "kinds-add-up",
        "Restrictions of different kinds must all admit a client.",
        (
            _refused(),
            _refused(client="127.9.0.1"),
            _refused(fields={"Referer": _FRIENDS[0]}),
            Ask(client="127.9.0.1", fields={"Referer": _FRIENDS[0]}),
        ),
        _restricted("whitelist", *_NETWORKS, _FRIEND),
        needs=Capability.REFERRER,
    ),
    Promise(
        "refused-from-cache",
        "A restriction applies to responses that are kept.",
        (Ask(client="127.8.0.1"), _refused(client="127.9.0.1"), Ask(gets=0)),
        _restricted("blacklist", *_NETWORKS),
        needs=Capability.CLIENT_IP,
    ),
    _spelling(
        "spelling-encoded",
        "Percent-encoding does not evade a restriction.",
        "/%70rivate/{token}",
        "/private%2F{token}",
        "/private%2f{token}",
    ),
    Promise(
        "spelling-allowed",
        "A whitelist of a path treats its spellings alike.",
        tuple(
            ask
            for target in ("/private/{token}", "/%70rivate/{token}", "//private/{token}")
            for ask in (Ask(target, client="127.9.0.1", gets=ANY), _refused(target))
        ),
        _restricted("whitelist", Rule("office", "/private/*", client_ip="127.9.0.0/16")),
        ("/public",),
        needs=Capability.CLIENT_IP,
    ),
    _spelling(
        "spelling-slashes",
        "Repeated slashes do not evade a restriction.",
        "//private/{token}",
        "/private//{token}",
    ),
    _spelling(
        "spelling-parameters",
        "Parameters of segments do not evade a restriction.",
        "/private;a=b/{token}",
    ),
    _spelling(
        "spelling-dots",
        "Dot segments do not evade a restriction.",
        "/public/../private/{token}",
        "/public/%2e%2e/private/{token}",
        "/./private/{token}",
        "/public/..;/private/{token}",
        status=(400, 403),
    ),
    _spelling(
        "spelling-ambiguous",
        "Targets that servers may read in two ways do not evade a restriction.",
        "/public%5C..%5Cprivate/{token}",
        "/private/%00{token}",
        "/private/%zz{token}",
        status=(400, 403),
    ),
)
