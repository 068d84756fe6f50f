# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of what operators send; see :mod:`poppy.model.schemas`."""

from poppy.model.schemas import Schema, host, record, text

LIMIT: Schema = record(
    "Limit",
    {
        "limit": {
            "type": "integer",
            "description": "How many services the project may have.",
            "minimum": 0,
            "maximum": 2**31 - 1,
        }
    },
    ("limit",),
)

_PROJECT_ID = text("A project.", 1, 255)
_SERVICE_ID = text("The id of a service.", 36, 36)
_ACTION: Schema = {
    "description": "What is done.",
    "enum": ["enable", "disable", "delete"],
}

SERVICE_ACTION: Schema = {
    "type": "object",
    "title": "Action on services",
    "properties": {
        "action": _ACTION,
        "project_id": text("All services of this project.", 1, 255),
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
            "description": "What became of it at its providers.",
            "enum": ["deployed", "failed"],
        },
        "project_id": _PROJECT_ID,
        "service_id": _SERVICE_ID,
    },
    ("status", "project_id", "service_id"),
)

PROVIDER_DETAILS: Schema = record(
    "Where a domain's name points",
    {
        "project_id": _PROJECT_ID,
        "domain_name": host("A domain of the service."),
        "operator_url": host("The operator's name for it."),
        "provider_url": host("The provider's name that this is to be a CNAME to."),
    },
    ("project_id", "domain_name", "operator_url", "provider_url"),
)
