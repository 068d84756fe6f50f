# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas (Draft 2020-12) of the request bodies; what no schema says is in ``rules``.

They are plain dictionaries without ``$ref``, so that an OpenAPI 3.1 document can hold them as
they are and validating follows no references. A dialect is named nowhere: OpenAPI 3.1 has this
one by default.
"""

import functools
from collections.abc import Mapping
from typing import Any

from poppy.model.limits import DocumentLimits

Schema = dict[str, Any]

MAX_REQUEST_URL = 1024
MAX_PATCH_OPERATIONS = 100
MAX_POINTER = 2048
MAX_PROVIDERS = 100

# "$" also matches before a line feed at the very end in Python, but not in ECMA 262, which JSON
# Schema follows: the look-ahead makes both say the same.
_TEXT = r"^[^\u0000-\u001f\u007f-\u009f\ud800-\udfff]*$(?!\n)"
_PATH_SAFE_TEXT = r"^[^/\u0000-\u001f\u007f-\u009f\ud800-\udfff]*$(?!\n)"
_PATH = r"^[!-~]*$(?!\n)"
PROJECT_ID = r"^[A-Za-z0-9._:-]*$(?!\n)"
_POINTER = r"^(?:/(?:[^/~\u0000-\u001f\u007f-\u009f\ud800-\udfff]|~[01])*)*$(?!\n)"
_COUNTRY = r"^[A-Z]{2}$(?!\n)"

PATTERNS: Mapping[str, str] = {
    _TEXT: "has a control character or a lone surrogate",
    _PATH_SAFE_TEXT: 'has a "/", a control character or a lone surrogate',
    _PATH: (
        "is not made of printable ASCII characters without spaces; percent-encode all others"
        " (RFC 3986, section 2.1)"
    ),
    PROJECT_ID: "has other characters than letters, digits, '.', '_', ':' and '-'",
    _POINTER: "is no JSON Pointer (RFC 6901)",
    _COUNTRY: "is no country code of two upper-case letters (ISO 3166-1)",
}
"""What is wrong with a string that does not match, by pattern."""

RESTRICTION_KINDS = ("referrer", "client_ip", "geography")


def record(title: str, properties: Schema, required: tuple[str, ...]) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "title": title,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def text(
    description: str, shortest: int, longest: int | None = None, pattern: str = _TEXT
) -> Schema:
    """A string; lengths in characters (code points), as JSON Schema counts them."""
    schema: Schema = {"type": "string", "description": description, "minLength": shortest}
    if longest is not None:
        schema["maxLength"] = longest
    return schema | {"pattern": pattern}


def host(description: str, longest: int = 253) -> Schema:
    """A string that ``rules`` looks at more closely, with messages better than a pattern's.

    253 characters are what a name of 255 octets on the wire (RFC 1035, section 2.3.4) leaves.
    """
    return {
        "type": "string",
        "description": description,
        "minLength": 3,
        "maxLength": longest,
    }


_REQUEST_URL = text(
    "A path, with * for any run of characters; a missing leading / is added.",
    1,
    MAX_REQUEST_URL,
    _PATH,
)

_PATH_RULE = record(
    "Path rule",
    {
        "name": text("A name for the rule.", 1, 256),
        "request_url": _REQUEST_URL,
    },
    ("name", "request_url"),
)

_RESTRICTION_RULE = record(
    "Restriction rule",
    {
        "name": text("A name for the rule.", 1, 256),
        "referrer": host("Host name in the Referer header of the request.", 1024),
        "client_ip": text("IPv4 or IPv6 address, or CIDR block, of the client.", 1, 64),
        "geography": text("Country or continent the client is in: its name or code.", 1, 128),
        "request_url": _REQUEST_URL | {"default": "/*"},
    },
    ("name",),
) | {"oneOf": [{"required": [kind]} for kind in RESTRICTION_KINDS]}

_DOMAIN = record(
    "Domain",
    {
        "domain": host(
            "Name that is asked for: lower case, no root domain; a single label for a shared"
            " certificate."
        ),
        "protocol": {
            "description": "What the domain is served by.",
            "enum": ["http", "https"],
            "default": "http",
        },
        "certificate": {
            "description": "Kind of certificate; with https only, and needed there.",
            "enum": [None, "shared", "san", "sni", "custom"],
        },
    },
    ("domain",),
)


def _rules(description: str, rule: Schema, most: int) -> Schema:
    return {"type": "array", "description": description, "items": rule, "maxItems": most}


def _origin(most_rules: int) -> Schema:
    return record(
        "Origin",
        {
            "origin": host("Domain name, IPv4 or IPv6 address the content is fetched from."),
            "port": {
                "description": "TCP port: 443 with ssl and 80 without, which is the default.",
                "enum": [80, 443],
            },
            "ssl": {
                "type": "boolean",
                "description": "Whether the origin is asked with TLS.",
                "default": False,
            },
            "hostheadertype": {
                "description": (
                    "What the Host header to the origin holds: the requested domain, the origin's"
                    " name, or hostheadervalue."
                ),
                "enum": ["domain", "origin", "custom"],
                "default": "domain",
            },
            "hostheadervalue": host("Host header to the origin; with hostheadertype custom only."),
            "rules": _rules(
                "Paths that are fetched from this origin; the first origin has all others.",
                _PATH_RULE,
                most_rules,
            ),
        },
        ("origin",),
    )


def _caching(most_rules: int) -> Schema:
    return record(
        "Caching",
        {
            "name": text("A name for the entry.", 1, 256),
            "ttl": {
                "type": "integer",
                "description": "Seconds an edge may keep an answer.",
                "minimum": 0,
                "maximum": 31536000,
            },
            "rules": _rules("Paths it is about; every path without any.", _PATH_RULE, most_rules),
        },
        ("name", "ttl"),
    )


def _restriction(most_rules: int) -> Schema:
    access = ["whitelist", "blacklist"]
    rules = _rules("Who it is about, each for one path or for all.", _RESTRICTION_RULE, most_rules)
    return record(
        "Restriction",
        {
            "name": text("A name for the restriction.", 1, 256),
            "access": {
                "description": "Whether what matches may, or may not, have the content.",
                "enum": access,
                "default": "whitelist",
            },
            "type": {
                "description": "What older clients call access; read where access is missing.",
                "enum": access,
            },
            "rules": rules | {"minItems": 1},
        },
        ("name", "rules"),
    )


@functools.cache
def service(limits: DocumentLimits) -> Schema:
    """The body of POST /services, for an operator's limits. Not to be changed."""
    most = limits.by_list
    return record(
        "Service",
        {
            "name": text("A name for the service.", 3, 256),
            "flavor_id": text("The flavor: which providers deliver it.", 1, 256),
            "domains": {
                "type": "array",
                "description": "Names the content is asked for by.",
                "items": _DOMAIN,
                "minItems": 1,
                "maxItems": 10,
            },
            "origins": {
                "type": "array",
                "description": "Where the content comes from; all but the first need rules.",
                "items": _origin(most["origins"]),
                "minItems": 1,
                "maxItems": 10,
            },
            "caching": {
                "type": "array",
                "description": "How long content may be kept.",
                "items": _caching(most["caching"]),
                "maxItems": most["caching"],
            },
            "restrictions": {
                "type": "array",
                "description": "Who may have the content.",
                "items": _restriction(most["restrictions"]),
                "maxItems": most["restrictions"],
            },
            "log_delivery": record(
                "Log delivery",
                {
                    "enabled": {
                        "type": "boolean",
                        "description": "Whether access logs are delivered.",
                        "default": False,
                    },
                },
                (),
            ),
        },
        ("name", "flavor_id", "domains", "origins"),
    )


SERVICE: Schema = service(DocumentLimits())
"""The same, for the default limits."""

_GEOGRAPHY = record(
    "Geography",
    {
        "countries": {
            "type": "array",
            "description": "Countries, by their ISO 3166-1 codes.",
            "items": {"type": "string", "description": "Two letters.", "pattern": _COUNTRY},
            "minItems": 1,
            "maxItems": 250,
        },
        "continents": {
            "type": "array",
            "description": "Continents, but for countries that a provider of the flavor names.",
            "items": {
                "description": "A continent.",
                "enum": ["AF", "AN", "AS", "EU", "NA", "OC", "SA"],
            },
            "minItems": 1,
            "maxItems": 7,
        },
    },
    (),
) | {"minProperties": 1, "description": "Where the clients are that it is for."}

FLAVOR: Schema = record(
    "Flavor",
    {
        "id": text("What services call it; a part of its URL.", 3, 64, _PATH_SAFE_TEXT),
        "providers": {
            "type": "array",
            "description": "The providers that deliver a service of this flavor.",
            "items": record(
                "Flavor provider",
                {
                    "provider": text("Name of a loaded provider.", 1),
                    "links": {
                        "type": "array",
                        "description": "Where the provider's public page is.",
                        "items": record(
                            "Provider link",
                            {
                                "href": text("URL of the page.", 2),
                                "rel": {
                                    "description": "What the link is.",
                                    "const": "provider_url",
                                },
                            },
                            ("href", "rel"),
                        ),
                        "minItems": 1,
                        "maxItems": MAX_PROVIDERS,
                    },
                    "weight": {
                        "type": "integer",
                        "description": "Share of the clients; all providers have one, or none.",
                        "minimum": 0,
                        "maximum": 1000,
                    },
                    "geography": _GEOGRAPHY,
                },
                ("provider", "links"),
            ),
            "minItems": 1,
            "maxItems": MAX_PROVIDERS,
        },
        "limits": {"description": "Older clients send it; it has no effect and is not kept."},
    },
    ("id", "providers"),
)


def _needs(operations: tuple[str, ...], member: str) -> Schema:
    """These operations need that member (RFC 6902, section 4.1 and following)."""
    return {
        "if": {"properties": {"op": {"enum": list(operations)}}, "required": ["op"]},
        "then": {"required": [member]},
    }


def _pointer(description: str) -> Schema:
    return {
        "type": "string",
        "description": description,
        "maxLength": MAX_POINTER,
        "pattern": _POINTER,
    }


PATCH: Schema = {
    "type": "array",
    "title": "JSON Patch",
    "description": "Changes to a service, done in order and all or none (RFC 6902).",
    "maxItems": MAX_PATCH_OPERATIONS,
    # Members that RFC 6902 does not define must be ignored (section 4), not refused.
    "items": {
        "type": "object",
        "title": "JSON Patch operation",
        "properties": {
            "op": {
                "description": "What is done.",
                "enum": ["add", "remove", "replace", "move", "copy", "test"],
            },
            "path": _pointer("Where it is done, a JSON Pointer."),
            "value": {"description": "What to add, put instead or compare with."},
            "from": _pointer("Where to move or copy from, a JSON Pointer."),
        },
        "required": ["op", "path"],
        "allOf": [
            _needs(("add", "replace", "test"), "value"),
            _needs(("move", "copy"), "from"),
        ],
    },
}

OPERATION_ACTION: Schema = record(
    "What an operator does about an operation",
    {
        "action": {"enum": ["retry", "cancel"]},
        "project_id": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _TEXT},
        "service_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": _TEXT},
    },
    required=("action", "project_id", "service_id"),
)

TENANT_ACTION: Schema = record(
    "What a tenant does about an operation",
    {"cancel": record("No arguments", {}, required=())},
    required=("cancel",),
)
