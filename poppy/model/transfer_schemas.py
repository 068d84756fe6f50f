# SPDX-License-Identifier: Apache-2.0
"""JSON Schema of an exported service, for transfer to another Poppy; see :mod:`.schemas`."""

from poppy.model import schemas
from poppy.model.limits import DocumentLimits
from poppy.model.provider_details import ProviderStatus
from poppy.model.schema_parts import PROJECT_ID, Schema, record, text
from poppy.model.services import Status


def _may_be_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


#: The operator's limits are checked later, with the service document.
_ANY_SIZE = DocumentLimits(*[2**31 - 1] * len(DocumentLimits._fields))

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}

_ACCESS_URL = record(
    "Access URL",
    {
        "domain": _TEXT,
        "provider_url": _TEXT,
        "operator_url": _may_be_null(_TEXT),
        "moved": _FLAG,
    },
    ("domain", "provider_url"),
)

_PROVIDER_DETAIL = record(
    "Provider detail",
    {
        "status": {"enum": list(ProviderStatus)},
        "provider_service_id": _may_be_null(_TEXT),
        "access_urls": {"type": "array", "items": _ACCESS_URL},
        "certificates": {"type": "object", "additionalProperties": _TEXT},
        "error_message": _may_be_null(_TEXT),
        "error_info": _may_be_null(_TEXT),
        "error_class": _may_be_null(_TEXT),
        "extra": {"type": "object"},
        "avoided": _FLAG,
        "dns_records": {"type": "array", "items": {"type": "object"}},
        "log_url": _TEXT,
        "certificate_messages": {"type": "object", "additionalProperties": _TEXT},
    },
    ("status", "access_urls"),
)

SERVICE: Schema = record(
    "Service of another Poppy",
    {
        "project_id": text("The project of the service.", 1, 255, PROJECT_ID),
        "service_id": text("The id of the service, which does not change.", 36, 36),
        "status": {"enum": list(Status)},
        "disabled": _FLAG,
        "log_url": _may_be_null(_TEXT),
        "spec": schemas.service(_ANY_SIZE),
        "provider_details": {"type": "object", "additionalProperties": _PROVIDER_DETAIL},
    },
    ("project_id", "service_id", "spec"),
)
