# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the bodies that nodes of the operator's own edge send."""

from poppy.model.edge import MAX_FAILURES, MAX_REASON
from poppy.model.edge_traffic import MAX_COUNT, MAX_COUNTRIES, MAX_DOMAINS
from poppy.model.schema_parts import COUNTRY, NODE_NAME, PROJECT_ID, Schema, record, text

REVISION: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}

JOIN: Schema = record(
    "Join",
    {
        "name": text("The node's name.", 1, 64, NODE_NAME),
        "token": text("The token for one join.", 20, 100, PROJECT_ID),
    },
    ("name", "token"),
)

_TIME = text("When the process began (ISO 8601, with a time zone).", 20, 40)

REPORT: Schema = record(
    "Report",
    {
        "instance": text("Identifies the agent's process.", 1, 64, PROJECT_ID),
        "revision": REVISION | {"description": "The revision that the node has reached."},
        "ready": {"type": "boolean", "description": "Whether the node may serve clients."},
        "version": text("The version of the software.", 1, 64),
        "started": record("Processes", {"agent": _TIME, "haproxy": _TIME, "varnish": _TIME}, ()),
        "failures": {
            "type": "object",
            "title": "Failures",
            "description": "Why the node does not serve the program of a service, by its ID.",
            "maxProperties": MAX_FAILURES,
            "propertyNames": text("A service.", 1, 64, PROJECT_ID),
            "additionalProperties": record(
                "Failure",
                {
                    "revision": REVISION,
                    # Any text, since a refused report would hide all that the node says.
                    "reason": {"type": "string", "minLength": 1, "maxLength": MAX_REASON},
                },
                ("revision", "reason"),
            ),
        },
        "prewarms": {
            "type": "object",
            "title": "Prewarms",
            "description": "How far the node is with prewarms of services, by their IDs.",
            "maxProperties": MAX_FAILURES,
            "propertyNames": text("A service.", 1, 64, PROJECT_ID),
            "additionalProperties": record(
                "Prewarm",
                {
                    "revision": REVISION,
                    "done": {"type": "boolean"},
                    "reason": {"type": "string", "maxLength": MAX_REASON},
                },
                ("revision", "done", "reason"),
            ),
        },
    },
    ("instance", "revision", "ready", "version", "started", "failures"),
)

_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_COUNT}
_COUNTS: Schema = {
    "responses": {
        "type": "array",
        "description": "The responses by class, 1xx to 5xx.",
        "minItems": 5,
        "maxItems": 5,
        "items": _COUNT,
    },
    "hits": _COUNT | {"description": "The responses from the cache."},
    "sent": _COUNT | {"description": "The bytes that were sent to clients."},
}

TRAFFIC: Schema = record(
    "Traffic",
    {
        "source": text("Identifies the sums, which are of one hour.", 16, 64, PROJECT_ID),
        "hour": text("The start of the hour (ISO 8601, with a time zone).", 20, 40),
        "sequence": REVISION | {"description": "Greater than that of any earlier sums."},
        "total": record("Total", _COUNTS, tuple(_COUNTS)),
        "domains": {
            "type": "array",
            "description": "The sums of domains that have changed.",
            "maxItems": MAX_DOMAINS,
            "items": record(
                "Domain",
                {
                    "service_id": text("The service that had the domain.", 1, 64, PROJECT_ID),
                    "domain": text("The domain.", 1, 253),
                    **_COUNTS,
                    "countries": {
                        "type": "object",
                        "title": "Countries",
                        "description": "The parts of clients with a known country, by its "
                        "ISO 3166-1 code of two letters.",
                        "maxProperties": MAX_COUNTRIES,
                        "propertyNames": text("A country.", 2, 2, COUNTRY),
                        "additionalProperties": record("Country", _COUNTS, tuple(_COUNTS)),
                    },
                },
                ("service_id", "domain", *_COUNTS),
            ),
        },
    },
    ("source", "hour", "sequence", "total", "domains"),
)
