# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas and examples of response documents.

The schemas of requests are in :mod:`poppy.model.schemas`. Responses that repeat a request reuse
them.
"""

from typing import Any

from poppy.model import admin_schemas, certificates, schemas
from poppy.model.capabilities import Capability
from poppy.model.schema_parts import Schema

UUID: Schema = {"type": "string", "format": "uuid"}
#: Any text.
TEXT: Schema = {"type": "string"}

BASE = "https://cdn.example.com/v1.0"
SERVICE_ID = "01981f6e-2b8f-7c3a-9d52-6f0c3a7e1b44"
OPERATION_ID = "01981f6e-4d10-7b22-8a6f-0b9e5c3d2a17"
PROJECT_ID = "5b1f0e7c9a2d4b3f8e6a1c0d2f4b6a8c"


def answer(title: str, properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with exactly these members; others are not allowed.

    Args:
        optional: names of members that may be missing.
    """
    return {
        "type": "object",
        "title": title,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def array(items: Schema, description: str = "") -> Schema:
    """Return the schema of a list."""
    made: Schema = {"type": "array", "items": items}
    return made | ({"description": description} if description else {})


LINK = answer(
    "Link",
    {
        "href": {"type": "string", "description": "The target."},
        "rel": {"type": "string", "description": "The link relation."},
    },
)

ERROR = answer(
    "Error",
    {
        "message": {
            "description": "What is wrong; for schema errors, one entry per error.",
            "oneOf": [
                TEXT,
                answer("Breaches", {"errors": array(answer("Breach", {"message": TEXT}))}),
            ],
        },
        "request_id": {
            "type": "string",
            "description": "The request ID, as in x-openstack-request-id. Quote it in reports.",
        },
    },
)

ERROR_EXAMPLE = {
    "message": "Domain www.example.com has already been taken",
    "request_id": "req-6c2a1f5e-3b7d-4e8f-9a0b-1c2d3e4f5a6b",
}

VERSIONS = answer(
    "Versions",
    {
        "versions": array(
            answer(
                "Version",
                {"id": TEXT, "status": {"enum": ["CURRENT"]}, "links": array(LINK)},
            )
        )
    },
)

VERSIONS_EXAMPLE = {
    "versions": [
        {"id": "v1.0", "status": "CURRENT", "links": [{"href": f"{BASE}/", "rel": "self"}]}
    ]
}

HOME: Schema = answer(
    "Home document",
    {
        "resources": {
            "type": "object",
            "description": "Resources by relation (draft-nottingham-json-home-06).",
            "additionalProperties": {"type": "object"},
        }
    },
)

ONLINE = answer("Part", {"online": {"enum": ["true", "false"], "description": "A string."}})

_PARTS: Schema = {
    "type": "object",
    "description": "Components by name.",
    "additionalProperties": answer("Part of a report", {**ONLINE["properties"], "links": LINK}),
}

HEALTH = answer(
    "Health", {kind: _PARTS for kind in ("storage", "dns", "distributed_task", "providers")}
)


def _health_example(kind: str, name: str) -> dict[str, Any]:
    link = {"href": f"{BASE}/health/{kind}/{name}", "rel": "self"}
    return {name: {"online": "true", "links": link}}


HEALTH_EXAMPLE = {
    "storage": _health_example("storage", "cassandra"),
    "dns": _health_example("dns", "designate"),
    "distributed_task": _health_example("distributed_task", "taskflow"),
    "providers": _health_example("provider", "edge"),
}

HEALTH_DOWN_EXAMPLE = {
    **HEALTH_EXAMPLE,
    "dns": {"designate": {**HEALTH_EXAMPLE["dns"]["designate"], "online": "false"}},
}

FLAVOR: Schema = answer(
    "Flavor document",
    {
        **{name: it for name, it in schemas.FLAVOR["properties"].items() if name != "limits"},
        "links": array(LINK),
    },
)

FLAVOR_REQUEST_EXAMPLE = {
    "id": "standard",
    "providers": [
        {
            "provider": "edge",
            "links": [{"href": "https://cdn.example.net", "rel": "provider_url"}],
        }
    ],
}

FLAVOR_EXAMPLE = {
    **FLAVOR_REQUEST_EXAMPLE,
    "links": [{"href": f"{BASE}/flavors/standard", "rel": "self"}],
}

CAPABLE_FLAVOR: Schema = answer(
    "Flavor document with capabilities",
    {
        **FLAVOR["properties"],
        "capabilities": array(
            {"oneOf": [{"const": it.key, "description": it.value} for it in Capability]},
            "What all providers of the flavor can do, sorted.",
        ),
    },
)

CAPABLE_FLAVOR_EXAMPLE = {
    **FLAVOR_EXAMPLE,
    "capabilities": ["client_ip", "https_redirect", "soft_purge"],
}

FLAVORS = answer("Flavors", {"flavors": array(FLAVOR)})


ORDER: Schema = answer(
    "Order",
    {
        **admin_schemas.CERTIFICATE["properties"],
        "cert_details": {
            "type": "object",
            "description": "Details from each provider, by provider name.",
            "additionalProperties": answer("Details", {"extra_info": {"type": "object"}}),
        },
        "status": {"enum": [*certificates.STATES, "delete_in_progress"]},
    },
)

ORDER_REQUEST_EXAMPLE = {
    "flavor_id": "standard",
    "cert_type": "san",
    "domain_name": "www.example.com",
    "project_id": PROJECT_ID,
}

ORDER_EXAMPLE = {
    **ORDER_REQUEST_EXAMPLE,
    "cert_details": {"edge": {"extra_info": {"status": "deployed"}}},
    "status": "deployed",
}

CUSTOM_CERTIFICATE: Schema = answer(
    "Custom certificate",
    {
        "domain": TEXT,
        "names": array(TEXT, "The DNS names in the certificate."),
        "expires_at": {"type": "string", "format": "date-time"},
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
)

CUSTOM_CERTIFICATE_EXAMPLE = {
    "domain": "www.example.com",
    "names": ["www.example.com", "example.com"],
    "expires_at": "2030-01-02T03:04:05Z",
    "fingerprint": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}

UPLOAD_EXAMPLE = {
    "chain": "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n",
    "key": "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
}
