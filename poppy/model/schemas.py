# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the request bodies; further rules are in :mod:`.rules`."""

import copy
import functools

from poppy.model.document import codec
from poppy.model.document.caching import CacheOptions
from poppy.model.document.fields import OptionalFields
from poppy.model.document.origins import OriginOptions
from poppy.model.limits import DocumentLimits
from poppy.model.schema_parts import (
    CONTINENTS,
    COUNTRY,
    MAX_REQUEST_URL,
    PATH,
    PATH_SAFE_TEXT,
    POINTER,
    TEXT,
    Schema,
    host,
    record,
    text,
)
from poppy.model.schema_parts import PATTERNS as PATTERNS

MAX_PATCH_OPERATIONS = 100
MAX_POINTER = 2048
MAX_PROVIDERS = 100

RESTRICTION_KINDS = ("referrer", "client_ip", "geography")

_REQUEST_URL = text(
    "A path; * matches any run of characters. A missing leading / is added.",
    1,
    MAX_REQUEST_URL,
    PATH,
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
        "referrer": host("Host name in the request's Referer header.", 1024),
        "client_ip": text("IPv4 or IPv6 address, or CIDR block, of the client.", 1, 64),
        "geography": text("Name or code of the client's country or continent.", 1, 128),
        "request_url": _REQUEST_URL | {"default": "/*"},
    },
    ("name",),
) | {"oneOf": [{"required": [kind]} for kind in RESTRICTION_KINDS]}

_DOMAIN = record(
    "Domain",
    {
        "domain": host(
            "Host name of requests, in lower case and not a root domain. A single label for a"
            " shared certificate."
        ),
        "protocol": {
            "description": "Protocol of requests.",
            "enum": ["http", "https"],
            "default": "http",
        },
        "certificate": {
            "description": "Kind of certificate; required with https, not allowed with http.",
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
            "origin": host("Domain name, IPv4 or IPv6 address of the origin."),
            "port": {
                "description": "TCP port: 443 with ssl, 80 without; this is also the default.",
                "enum": [80, 443],
            },
            "ssl": {
                "type": "boolean",
                "description": "Whether to connect to the origin with TLS.",
                "default": False,
            },
            "hostheadertype": {
                "description": (
                    "The Host header sent to the origin: the requested domain, the origin's name,"
                    " or hostheadervalue. The default is domain, and with auth origin."
                ),
                "enum": ["domain", "origin", "custom"],
            },
            "hostheadervalue": host("Host header to the origin; with hostheadertype custom only."),
            "rules": _rules(
                "Paths that this origin serves; the first origin serves all others.",
                _PATH_RULE,
                most_rules,
            ),
            **codec.schema(OriginOptions)["properties"],
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
                "description": "Seconds that an edge may cache a response.",
                "minimum": 0,
                "maximum": 31536000,
            },
            "rules": _rules("Paths to match; every path if empty.", _PATH_RULE, most_rules),
            **codec.schema(CacheOptions)["properties"],
        },
        ("name", "ttl"),
    )


def _restriction(most_rules: int) -> Schema:
    access = ["whitelist", "blacklist"]
    rules = _rules("Requests to match, by one criterion each.", _RESTRICTION_RULE, most_rules)
    return record(
        "Restriction",
        {
            "name": text("A name for the restriction.", 1, 256),
            "access": {
                "description": "Whether matching requests are allowed or denied.",
                "enum": access,
                "default": "whitelist",
            },
            "type": {
                "description": "Older clients' name for access; used if access is missing.",
                "enum": access,
            },
            "rules": rules | {"minItems": 1},
        },
        ("name", "rules"),
    )


@functools.cache
def service(limits: DocumentLimits) -> Schema:
    """Return the schema of POST /services for an operator's limits. Do not modify it."""
    most = limits.by_list
    return record(
        "Service",
        {
            "name": text("A name for the service.", 3, 256),
            "flavor_id": text("The flavor, which selects the providers.", 1, 256),
            "domains": {
                "type": "array",
                "description": "Host names of the service.",
                "items": _DOMAIN,
                "minItems": 1,
                "maxItems": 10,
            },
            "origins": {
                "type": "array",
                "description": "Origins of the content; all but the first and backups need rules.",
                "items": _origin(most["origins"]),
                "minItems": 1,
                "maxItems": 10,
            },
            "caching": {
                "type": "array",
                "description": "How long edges may cache content.",
                "items": _caching(most["caching"]),
                "maxItems": most["caching"],
            },
            "restrictions": {
                "type": "array",
                "description": "Which requests are allowed.",
                "items": _restriction(most["restrictions"]),
                "maxItems": most["restrictions"],
            },
            "log_delivery": record(
                "Log delivery",
                {
                    "enabled": {
                        "type": "boolean",
                        "description": "Whether to deliver access logs.",
                        "default": False,
                    },
                },
                (),
            ),
            **_optional(limits),
        },
        ("name", "flavor_id", "domains", "origins"),
    )


def _optional(limits: DocumentLimits) -> Schema:
    """Return the schemas of the optional fields."""
    properties: Schema = copy.deepcopy(codec.schema(OptionalFields)["properties"])
    for name, most in limits.by_optional_list.items():
        properties[name]["maxItems"] = most
        rules = properties[name]["items"]["properties"].get("rules")
        if rules is not None:
            rules["maxItems"] = most
    for name, most in limits.by_object.items():
        properties[name]["properties"]["rules"]["maxItems"] = most
    return properties


SERVICE: Schema = service(DocumentLimits())
"""The schema of POST /services for the default limits."""

_GEOGRAPHY = record(
    "Geography",
    {
        "countries": {
            "type": "array",
            "description": "Countries, by their ISO 3166-1 codes.",
            "items": {"type": "string", "description": "Two letters.", "pattern": COUNTRY},
            "minItems": 1,
            "maxItems": 250,
        },
        "continents": {
            "type": "array",
            "description": "Continents, except countries that a provider of the flavor lists.",
            "items": {
                "description": "A continent.",
                "enum": list(CONTINENTS),
            },
            "minItems": 1,
            "maxItems": 7,
        },
    },
    (),
) | {"minProperties": 1, "description": "Locations of the clients that the provider serves."}

FLAVOR: Schema = record(
    "Flavor",
    {
        "id": text("The flavor's id, which is part of its URL.", 3, 64, PATH_SAFE_TEXT),
        "providers": {
            "type": "array",
            "description": "The providers that deliver a service of this flavor.",
            "items": record(
                "Flavor provider",
                {
                    "provider": text("Name of a loaded provider.", 1),
                    "links": {
                        "type": "array",
                        "description": "Links to the provider's public pages.",
                        "items": record(
                            "Provider link",
                            {
                                "href": text("URL of the page.", 2),
                                "rel": {
                                    "description": "Relation type of the link.",
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
                        "description": "Share of the clients; set for all providers or for none.",
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
        "limits": {"description": "Ignored and not stored; older clients send it."},
    },
    ("id", "providers"),
)


def _needs(operations: tuple[str, ...], member: str) -> Schema:
    """Require a member for some operations (RFC 6902, section 4.1 and following)."""
    return {
        "if": {"properties": {"op": {"enum": list(operations)}}, "required": ["op"]},
        "then": {"required": [member]},
    }


def _pointer(description: str) -> Schema:
    return {
        "type": "string",
        "description": description,
        "maxLength": MAX_POINTER,
        "pattern": POINTER,
    }


PATCH: Schema = {
    "type": "array",
    "title": "JSON Patch",
    "description": "Changes to a service, applied in order and atomically (RFC 6902).",
    "maxItems": MAX_PATCH_OPERATIONS,
    # RFC 6902 requires to ignore members that it does not define (section 4).
    "items": {
        "type": "object",
        "title": "JSON Patch operation",
        "properties": {
            "op": {
                "description": "The operation.",
                "enum": ["add", "remove", "replace", "move", "copy", "test"],
            },
            "path": _pointer("JSON Pointer to the target location."),
            "value": {"description": "The value to add, replace with or compare with."},
            "from": _pointer("JSON Pointer to the source of a move or copy."),
        },
        "required": ["op", "path"],
        "allOf": [
            _needs(("add", "replace", "test"), "value"),
            _needs(("move", "copy"), "from"),
        ],
    },
}

OPERATION_ACTION: Schema = record(
    "Operator's action on an operation",
    {
        "action": {"enum": ["retry", "cancel"]},
        "project_id": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": TEXT},
        "service_id": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": TEXT},
    },
    required=("action", "project_id", "service_id"),
)

TENANT_ACTION: Schema = record(
    "Tenant's action on an operation",
    {"cancel": record("No arguments", {}, required=())},
    required=("cancel",),
)
