# SPDX-License-Identifier: Apache-2.0
"""Documents for tests, and helpers for variants of them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from poppy.common import errors
from poppy.model import validation
from poppy.model.specs import ServiceSpec

TTL = 86400

MINIMAL: dict[str, Any] = {
    "name": "mywebsite",
    "flavor_id": "cdn",
    "domains": [{"domain": "www.mywebsite.com"}],
    "origins": [{"origin": "mywebsite.com"}],
}

FULL: dict[str, Any] = {
    "name": "mywebsite",
    "flavor_id": "cdn",
    "domains": [
        {"domain": "www.mywebsite.com", "protocol": "http", "certificate": None},
        {"domain": "secure.mywebsite.com", "protocol": "https", "certificate": "san"},
        {"domain": "myshop", "protocol": "https", "certificate": "shared"},
    ],
    "origins": [
        {"origin": "mywebsite.com", "port": 80, "ssl": False, "hostheadertype": "origin"},
        {
            "origin": "192.0.2.7",
            "port": 443,
            "ssl": True,
            "hostheadertype": "custom",
            "hostheadervalue": "images.mywebsite.com",
            "rules": [{"name": "images", "request_url": "/images/*"}],
        },
    ],
    "caching": [
        {"name": "default", "ttl": 3600},
        {"name": "home", "ttl": 60, "rules": [{"name": "index", "request_url": "index.htm"}]},
    ],
    "restrictions": [
        {
            "name": "website only",
            "access": "whitelist",
            "rules": [
                {"name": "ours", "referrer": "www.mywebsite.com", "request_url": "/images/*"},
                {"name": "office", "client_ip": "192.0.2.0/24"},
                {"name": "europe", "geography": "EUROPE"},
            ],
        }
    ],
    "log_delivery": {"enabled": True},
}

FLAVOR: dict[str, Any] = {
    "id": "standard",
    "providers": [
        {"provider": "edge", "links": [{"href": "http://a.example", "rel": "provider_url"}]}
    ],
}

_ABSENT = object()


def variant(document: dict[str, Any], path: str, value: object = _ABSENT) -> dict[str, Any]:
    """Return a copy with the value at a dotted path replaced, or removed if none is given."""
    result = copy.deepcopy(document)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    target: Any = result
    for part in parents:
        target = target[part]
    if value is _ABSENT:
        del target[last]
    else:
        target[last] = value
    return result


def accepted(document: object, shared: tuple[str, ...] = ()) -> ServiceSpec:
    """Validate a document and return the spec; its own document gives an equal one."""
    spec = validation.service(document, TTL, shared)
    assert validation.service(spec.to_dict(), TTL, shared) == spec
    return spec


def breaches(
    document: object, check: Callable[[object], object] = lambda it: validation.service(it, TTL)
) -> tuple[str, ...]:
    """Return the messages for a document that violates the schema."""
    with pytest.raises(errors.SchemaInvalid) as caught:
        check(document)
    return caught.value.messages


def refusal(document: object, shared: tuple[str, ...] = ()) -> str:
    """Return the message for a document that matches the schema but violates another rule."""
    with pytest.raises(errors.InvalidRequest) as caught:
        validation.service(document, TTL, shared)
    assert not isinstance(caught.value, errors.SchemaInvalid), caught.value
    return str(caught.value)
