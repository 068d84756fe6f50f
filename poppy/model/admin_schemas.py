# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the admin API's request bodies; see :mod:`poppy.model.schemas`."""

from poppy.model import certificates
from poppy.model.schema_parts import PROJECT_ID, Schema, host, record, text

LIMIT: Schema = record(
    "Limit",
    {
        "limit": {
            "type": "integer",
            "description": "Maximum services of the project.",
            "minimum": 0,
            "maximum": 2**31 - 1,
        }
    },
    ("limit",),
)

_PROJECT_ID = text("A project.", 1, 255, PROJECT_ID)
_SERVICE_ID = text("The id of a service.", 36, 36)
_ACTION: Schema = {
    "description": "The action.",
    "enum": ["enable", "disable", "delete"],
}

SERVICE_ACTION: Schema = {
    "type": "object",
    "title": "Action on services",
    "properties": {
        "action": _ACTION,
        "project_id": text("All services of this project.", 1, 255, PROJECT_ID),
        "domain": host("The service that has this domain."),
    },
    "required": ["action"],
    "additionalProperties": False,
    "oneOf": [{"required": ["project_id"]}, {"required": ["domain"]}],
}

SERVICE_STATUS: Schema = record(
    "Status of a service",
    {
        "status": {
            "description": "Its status at its providers.",
            "enum": ["deployed", "failed"],
        },
        "project_id": _PROJECT_ID,
        "service_id": _SERVICE_ID,
    },
    ("status", "project_id", "service_id"),
)

PROVIDER_DETAILS: Schema = record(
    "CNAME of a domain's operator name",
    {
        "project_id": _PROJECT_ID,
        "domain_name": host("A domain of the service."),
        "operator_url": host("The operator name of the domain."),
        "provider_url": host("The provider's name, the target of the operator name's CNAME."),
    },
    ("project_id", "domain_name", "operator_url", "provider_url"),
)

CERTIFICATE: Schema = record(
    "Order for a certificate",
    {
        "flavor_id": text("The flavor; each of its providers gets the certificate.", 1, 256),
        "cert_type": {
            "description": "The kind of certificate.",
            "enum": list(certificates.TYPES),
        },
        "domain_name": host("The host name of the certificate."),
        # Shorter than elsewhere: orders add a namespace to it.
        "project_id": text("The project that orders it.", 1, 200, PROJECT_ID),
    },
    ("flavor_id", "cert_type", "domain_name", "project_id"),
)

CERTIFICATE_PATCH: Schema = {
    "type": "array",
    "title": "Status of a certificate",
    "description": "A JSON Patch (RFC 6902) of exactly one operation.",
    "minItems": 1,
    "maxItems": 1,
    "items": record(
        "Replacement of the status",
        {
            "op": {"const": "replace"},
            "path": {"enum": ["/status", "status"]},
            "value": {"enum": list(certificates.STATES)},
        },
        ("op", "path", "value"),
    ),
}
