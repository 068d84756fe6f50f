# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas and examples of responses about services, and about what projects use."""

import copy

from poppy.manager.dry_run import Action
from poppy.model import certificates, schemas
from poppy.model.dns_records import Purpose, RecordStatus
from poppy.model.document import codec
from poppy.model.document.fields import OptionalFields
from poppy.model.limits import DocumentLimits
from poppy.model.schema_parts import Schema
from poppy.model.services import Status
from poppy.transport.pecan.openapi.answers import (
    BASE,
    LINK,
    PROJECT_ID,
    SERVICE_ID,
    TEXT,
    UUID,
    answer,
    array,
)

DNS_RECORD = answer(
    "DNS record",
    {
        "domain": {"type": "string", "description": "The service's domain that needs the record."},
        "purpose": {
            "description": "ownership: proves that the project owns the domain. The domain is not "
            "deployed before.",
            "enum": [purpose.value for purpose in Purpose],
        },
        "type": {"type": "string", "description": "The record type: TXT or CNAME."},
        "name": {"type": "string", "description": "The record's name."},
        "value": {"type": "string", "description": "The record's data."},
        "provider": {
            "type": ["string", "null"],
            "description": "The provider that requires the record; null for Poppy itself.",
        },
        "status": {
            "description": "The result of the last lookup; wrong: the record has other data.",
            "enum": [status.value for status in RecordStatus],
        },
        "checked_at": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "The time of the last lookup.",
        },
    },
)


_OPTIONAL = tuple(it.name for it in codec.members(OptionalFields))


def _stored() -> Schema:
    """Return the schemas of the members of a stored document."""
    sent: Schema = copy.deepcopy(schemas.SERVICE["properties"])
    limits = DocumentLimits()
    for name in ("domains", *limits.by_list, *limits.by_optional_list):
        # Stored documents may exceed the limits of requests, such as after a limit is lowered.
        sent[name].pop("maxItems")
        sent[name]["items"]["properties"].get("rules", {}).pop("maxItems", None)
    for name in limits.by_object:
        sent[name]["properties"]["rules"].pop("maxItems")
    del sent["restrictions"]["items"]["properties"]["type"]
    return sent


def _service() -> Schema:
    """Return the schema of a service: the request's document with defaults, plus its status."""
    sent = _stored()
    sent["domains"]["items"]["properties"]["certificate_status"] = {
        "description": "With https: the status of the certificate.",
        "enum": list(certificates.STATES),
    }
    return answer(
        "Service document",
        {
            "id": UUID,
            "project_id": TEXT,
            **sent,
            "status": {
                "description": "The status of the service.",
                "enum": [status.value for status in Status],
            },
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {
                "type": "string",
                "format": "date-time",
                "description": "When its last operation was requested.",
            },
            "errors": array(answer("Failure", {"message": TEXT}), "Why the service failed."),
            "dns_records": array(
                DNS_RECORD,
                "Records to create in the DNS of the domains. Missing if there are none.",
            ),
            "drift": array(
                answer(
                    "Difference",
                    {
                        "source": {"description": "A provider, or dns.", "type": "string"},
                        "message": TEXT,
                        "found_at": {"type": "string", "format": "date-time"},
                    },
                ),
                "How the deployed service differs from what the last audit found at providers and "
                "in DNS. Missing if it does not.",
            ),
            "links": array(LINK, "self, flavor, and access_url: the CNAME target of the domains."),
        },
        optional=("dns_records", "drift", *_OPTIONAL),
    )


SERVICE = _service()

SERVICE_REQUEST_EXAMPLE = {
    "name": "my web site",
    "flavor_id": "standard",
    "domains": [{"domain": "www.example.com", "protocol": "http"}],
    "origins": [
        {
            "origin": "origin.example.com",
            "port": 80,
            "ssl": False,
            "hostheadertype": "domain",
            "rules": [{"name": "all", "request_url": "/*"}],
        }
    ],
    "caching": [
        {
            "name": "default",
            "ttl": 86400,
            "rules": [{"name": "all", "request_url": "/*"}],
        }
    ],
    "restrictions": [
        {
            "name": "ours",
            "access": "whitelist",
            "rules": [{"name": "site", "referrer": "www.example.com", "request_url": "/*"}],
        }
    ],
    "log_delivery": {"enabled": False},
}

SERVICE_EXAMPLE = {
    "id": SERVICE_ID,
    "project_id": PROJECT_ID,
    **SERVICE_REQUEST_EXAMPLE,
    "status": "deployed",
    "created_at": "2030-01-02T03:04:05Z",
    "updated_at": "2030-01-02T03:04:05Z",
    "errors": [],
    "links": [
        {"href": f"{BASE}/services/{SERVICE_ID}", "rel": "self"},
        {"href": f"{BASE}/flavors/standard", "rel": "flavor"},
        {"href": "www.example.com.cdn.example.net", "rel": "access_url"},
    ],
}

SERVICES = answer(
    "Services",
    {
        "services": array(SERVICE, "The services, oldest first."),
        "links": array(LINK, "next, if the page is full."),
    },
)

SERVICES_EXAMPLE = {
    "services": [SERVICE_EXAMPLE],
    "links": [{"href": f"{BASE}/services?marker={SERVICE_ID}&limit=1", "rel": "next"}],
}

_ACTION: Schema = {
    "description": "What would be done.",
    "enum": [action.value for action in Action],
}

PLAN = answer(
    "Dry run",
    {
        "valid": {"const": True, "description": "An invalid request gets an error instead."},
        "plan": answer(
            "Plan",
            {
                "service": answer("Planned document", _stored(), _OPTIONAL),
                "providers": array(
                    answer("Plan at a provider", {"provider": TEXT, "action": _ACTION})
                ),
                "dns": array(
                    answer("Plan in DNS", {"domain": TEXT, "name": TEXT, "action": _ACTION}),
                    "The operator names of the domains.",
                ),
                "certificates": array(
                    answer(
                        "Plan of a certificate",
                        {"domain": TEXT, "certificate": TEXT, "action": _ACTION},
                    )
                ),
                "dns_records": array(DNS_RECORD, "Records that the tenant would have to create."),
            },
        ),
    },
)

PLAN_EXAMPLE = {
    "valid": True,
    "plan": {
        "service": SERVICE_REQUEST_EXAMPLE,
        "providers": [{"provider": "edge", "action": "create"}],
        "dns": [
            {
                "domain": "www.example.com",
                "name": "www.example.com.cdn.example.net",
                "action": "create",
            }
        ],
        "certificates": [],
        "dns_records": [],
    },
}

_USAGE = answer(
    "Usage",
    {
        "limit": {"type": ["integer", "null"], "description": "null: no limit."},
        "used": {"type": "integer", "description": "It can exceed a limit that was lowered."},
    },
)

_RATE = array(
    answer(
        "Rate",
        {
            "limit": {"type": "integer", "description": "Requests."},
            "seconds": {"type": "integer", "description": "The time for which it applies."},
            "used": {"type": "integer", "description": "Requests in this time so far."},
        },
    ),
    "Each limit applies. Empty without one.",
)

QUOTA = answer(
    "Quota",
    {
        "services": _USAGE,
        "operations": _USAGE,
        "rate": answer("Rates", {"changes": _RATE, "reads": _RATE}),
    },
)

_POINTS = array(
    answer("Point", {"timestamp": TEXT, "count": {"type": "number"}}),
    "The points, in order of time.",
)

ANALYTICS: Schema = {
    "type": "object",
    "title": "Analytics",
    "properties": {"domain": TEXT, "provider": TEXT, "flavor": TEXT},
    "required": ["domain", "provider", "flavor"],
    "additionalProperties": {
        "type": "object",
        "description": "The counts by zone, under the name of the metric.",
        "additionalProperties": _POINTS,
    },
}

ANALYTICS_EXAMPLE = {
    "domain": "www.example.com",
    "requestCount": {"EMEA": [{"timestamp": "2026-01-01T00:00:00", "count": 1234}]},
    "provider": "mock",
    "flavor": "standard",
}
