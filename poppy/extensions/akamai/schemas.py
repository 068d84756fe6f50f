# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of the extension's request bodies; see :mod:`poppy.model.schemas`."""

from poppy.model import certificates
from poppy.model.schema_parts import PROJECT_ID, Schema, host, record, text

_PROJECT_ID = text("A project.", 1, 200, PROJECT_ID)
_FLAVOR_ID = text("A flavor.", 1, 256)
_CERT_TYPE: Schema = {"description": "Kind of certificate.", "enum": list(certificates.TYPES)}
_ENABLED: Schema = {"type": "boolean", "description": "Whether it accepts further domains."}
_NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}


def _queue(title: str, entry: Schema) -> Schema:
    """Return the schema of a list of unique entries."""
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
        "new_cert": host("The certificate's edge host, with or without edgekey.net."),
        "cert_status": {
            "description": "Status of the certificate.",
            "enum": list(certificates.STATES),
            "default": "deployed",
        },
    },
    ("project_id", "service_id", "domain_name", "new_cert"),
)

CHECK: Schema = record(
    "Check certificates again",
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
    "properties": {"job_type": {"description": "The kind of job.", "enum": list(JOBS)}},
    "required": ["job_type"],
}

SAN_MAPPING: Schema = _queue(
    "Domains with a certificate to check",
    record(
        "Domain",
        {
            "domain_name": host("The domain."),
            "project_id": _PROJECT_ID,
            "flavor_id": _FLAVOR_ID,
            "cert_type": _CERT_TYPE,
            "cert_details": {"type": "object", "description": "Details of the certificate."},
        },
        ("domain_name", "project_id", "flavor_id", "cert_type"),
    ),
)

RETRY_LIST: Schema = _queue(
    "Domains with a certificate to order again",
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
            "description": "Maximum domains of a SAN certificate.",
            "minimum": 1,
            "maximum": 200,
        }
    },
    ("san_cert_hostname_limit",),
)
