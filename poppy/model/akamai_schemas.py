# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of what operators of Akamai's driver send; see :mod:`poppy.model.schemas`."""

from poppy.model import certificates
from poppy.model.schemas import PROJECT_ID, Schema, host, record, text

_PROJECT_ID = text("A project.", 1, 200, PROJECT_ID)
_FLAVOR_ID = text("A flavor.", 1, 256)
_CERT_TYPE: Schema = {"description": "Of which kind.", "enum": list(certificates.TYPES)}
_ENABLED: Schema = {"type": "boolean", "description": "Whether it takes further domains."}
_NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}


def _queue(title: str, entry: Schema) -> Schema:
    """A list without repetitions."""
    return {
        "type": "array",
        "title": title,
        "uniqueItems": True,
        "maxItems": 1000,
        "items": entry,
    }


MIGRATION: Schema = record(
    "Move of a domain to another certificate",
    {
        "project_id": _PROJECT_ID,
        "service_id": text("The id of a service.", 36, 36),
        "domain_name": host("A domain of the service."),
        "new_cert": host("The edge host of the certificate, with or without edgekey.net."),
        "cert_status": {
            "description": "What is known of the certificate.",
            "enum": list(certificates.STATES),
            "default": "deployed",
        },
    },
    ("project_id", "service_id", "domain_name", "new_cert"),
)

CHECK: Schema = record(
    "Look at certificates again",
    {"job_type": {"const": "akamai_check_and_update_cert_status"}, "project_id": _PROJECT_ID},
    ("job_type",),
)
UPDATE: Schema = record(
    "Update properties",
    {
        "job_type": {
            "enum": [f"akamai_update_papi_property_for_mod_{kind}" for kind in certificates.TYPES]
        },
        "update_type": {"enum": ["hostnames"]},
        "action": {"enum": ["add", "remove"]},
        "property_spec": {
            "enum": [f"akamai_https_{kind}_config_numbers" for kind in certificates.TYPES]
        },
        "san_cert_domain_suffix": host("The suffix of the certificates' edge hosts."),
    },
    ("job_type",),
)

JOBS: dict[str, Schema] = {
    "akamai_check_and_update_cert_status": CHECK,
    **{f"akamai_update_papi_property_for_mod_{kind}": UPDATE for kind in certificates.TYPES},
}
"""The body of each job, by its type."""

JOB: Schema = {
    "type": "object",
    "title": "Background job",
    "properties": {"job_type": {"description": "What is done.", "enum": list(JOBS)}},
    "required": ["job_type"],
}

SAN_MAPPING: Schema = _queue(
    "Domains whose certificate is to be looked at",
    record(
        "Domain",
        {
            "domain_name": host("The domain."),
            "project_id": _PROJECT_ID,
            "flavor_id": _FLAVOR_ID,
            "cert_type": _CERT_TYPE,
            "cert_details": {"type": "object", "description": "What is known of it."},
        },
        ("domain_name", "project_id", "flavor_id", "cert_type"),
    ),
)

RETRY_LIST: Schema = _queue(
    "Domains whose certificate is to be ordered again",
    record(
        "Domain",
        {
            "domain_name": host("The domain."),
            "project_id": _PROJECT_ID,
            "flavor_id": _FLAVOR_ID,
            "validate_service": {
                "type": "boolean",
                "description": "Whether a service of the project must have the domain.",
                "default": False,
            },
        },
        ("domain_name", "project_id", "flavor_id"),
    ),
)

SAN_CONFIG: Schema = record("SAN certificate", {"spsId": _NUMBER, "enabled": _ENABLED}, ())
SNI_CONFIG: Schema = record("SNI certificate", {"enrollmentId": _NUMBER, "enabled": _ENABLED}, ())
HOSTNAME_LIMIT: Schema = record(
    "Limit of SAN certificates",
    {
        "san_cert_hostname_limit": {
            "type": "integer",
            "description": "How many domains a SAN certificate may have.",
            "minimum": 1,
            "maximum": 200,
        }
    },
    ("san_cert_hostname_limit",),
)
