# SPDX-License-Identifier: Apache-2.0
"""One document with every optional field, in parts that need a capability each."""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from poppy.provider.base import Capability

Document = dict[str, Any]

#: Secrets, which no answer and no file of a store may show.
SECRETS = (
    "signing-key-" + "0123456789abcdef" * 2,
    "shared-with-the-origin",
    "AKIASECRETKEY123456",
)
#: The name of the query parameter with the token.
TOKEN = "ticket"


class Part(NamedTuple):
    """A part of the document.

    Attributes:
        needs: the capabilities without which it is refused.
        fields: fields of the document; those of objects and of the first entries of lists are
            merged with what other parts have there.
    """

    needs: frozenset[Capability]
    fields: Mapping[str, Any]


def _part(fields: Mapping[str, Any], *needs: Capability) -> Part:
    return Part(frozenset(needs), fields)


def _delivery(*needs: Capability, **fields: Any) -> Part:
    return _part({"delivery": fields}, *needs)


def _caching(*needs: Capability, **fields: Any) -> Part:
    return _part({"caching": [fields]}, *needs)


def _origin(*needs: Capability, **fields: Any) -> Part:
    return _part({"origins": [fields]}, *needs)


PARTS = (
    _part({"tags": ["production", "web"]}),
    _delivery(Capability.HTTPS_REDIRECT, https_redirect=True, redirect_status=302),
    _delivery(Capability.HSTS, hsts={"max_age": 600}),
    _delivery(Capability.MIN_TLS, min_tls="1.2"),
    _delivery(Capability.HTTP3, http3=True),
    _delivery(Capability.GZIP, compression="gzip"),
    _delivery(Capability.WEBSOCKETS, websockets=False),
    _caching(Capability.CACHE_MODE, mode="override"),
    _caching(Capability.BROWSER_TTL, browser_ttl=5),
    _caching(Capability.STALE_WHILE_REVALIDATE, stale_while_revalidate=30),
    _caching(Capability.STALE_IF_ERROR, stale_if_error=60),
    _caching(Capability.STATUS_TTL, status_ttl=[{"status": 404, "ttl": 10}]),
    _caching(Capability.CACHE_KEY_QUERY, key={"query": {"only": ["page"]}}),
    _caching(Capability.CACHE_KEY_HEADERS, key={"headers": ["X-Device"]}),
    _caching(Capability.CACHE_KEY_COOKIES, key={"cookies": ["lang"]}),
    _part(
        {"headers": [{"name": "h", "request": {"set": {"X-To-Origin": "1"}}}]},
        Capability.REQUEST_HEADERS,
    ),
    _part(
        {"headers": [{"name": "h", "response": {"set": {"X-To-Client": "1"}}}]},
        Capability.RESPONSE_HEADERS,
    ),
    _part({"cors": {"allow_origins": ["https://app.example.com"]}}, Capability.CORS),
    _part(
        {"redirects": [{"name": "r", "request_url": "/old/*", "location": "/new/$1"}]},
        Capability.REDIRECTS,
    ),
    _part(
        {"error_pages": [{"name": "e", "status": [404], "path": "/missing.html"}]},
        Capability.ERROR_PAGES,
    ),
    _part(
        {
            "signed_urls": {
                "keys": [{"id": "k1", "secret": SECRETS[0]}],
                "rules": [{"name": "members", "request_url": "/members/*"}],
                "query": TOKEN,
            }
        },
        Capability.SIGNED_URLS,
    ),
    _part(
        {
            "restrictions": [
                {
                    "name": "x",
                    "access": "blacklist",
                    "rules": [
                        {"name": "a", "client_ip": "192.0.2.0/24", "request_url": "/office/*"}
                    ],
                }
            ]
        },
        Capability.CLIENT_IP,
    ),
    _origin(Capability.ORIGIN_PATH, path="/site"),
    _origin(Capability.ORIGIN_TIMEOUTS, connect_timeout=2, response_timeout=20),
    _origin(
        Capability.ORIGIN_SECRET_HEADER,
        secret_header={"name": "X-From-Us", "value": SECRETS[1]},
    ),
)
#: Parts of an origin with TLS.
TLS_PARTS = (_origin(Capability.ORIGIN_VERIFY_NAME, verify_name="tls.example.net"),)


def kept(supports: Collection[Capability], parts: Collection[Part] = PARTS) -> list[Part]:
    """Return the parts that a provider can keep."""
    return [part for part in parts if part.needs <= set(supports)]


def refused(supports: Collection[Capability], parts: Collection[Part] = PARTS) -> Iterator[Part]:
    """Yield the parts that it must refuse."""
    yield from (part for part in parts if not part.needs <= set(supports))


def whole(base: Document, parts: Collection[Part]) -> Document:
    """Return a document with parts.

    Args:
        base: a document with one domain, one origin and one entry of ``caching``.
    """
    found = copy.deepcopy(base)
    for part in parts:
        _merge(found, part.fields)
    return found


def _merge(document: Document, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        known = document.get(name)
        if isinstance(known, dict):
            _merge(known, value)
        elif isinstance(known, list) and known and isinstance(known[0], dict):
            _merge(known[0], value[0])
        else:
            document[name] = copy.deepcopy(value)
