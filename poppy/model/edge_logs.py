# SPDX-License-Identifier: Apache-2.0
"""Objects with access logs that nodes of the operator's own edge deliver."""

from typing import NamedTuple

from poppy.model.schema_parts import IDENTIFIER, PROJECT_ID, Schema, record, text

#: Bytes of an object: a node's files are much smaller, even if they can't be compressed.
MAX_SIZE = 64 * 1024 * 1024
#: The last second of the year 9999.
_MAX_TIME = 253_402_300_799


class LogObject(NamedTuple):
    """An object that a node wants to put into the operator's bucket.

    Attributes:
        start: of the period of the lines, in seconds since 1970.
        id: distinguishes it from the node's other objects of the service and the period.
        size: in bytes.
    """

    project_id: str
    service_id: str
    start: int
    id: str
    size: int


SCHEMA: Schema = record(
    "Log object",
    {
        "project_id": text("The project that gets the access logs.", 1, 255, PROJECT_ID),
        "service_id": text("The service, which may be deleted.", 1, 64, IDENTIFIER),
        "start": {
            "type": "integer",
            "description": "The start of the period, in seconds since 1970.",
            "minimum": 0,
            "maximum": _MAX_TIME,
        },
        "id": text("Distinguishes the object from others of the period.", 16, 16, IDENTIFIER),
        "size": {
            "type": "integer",
            "description": "The size of the object in bytes.",
            "minimum": 1,
            "maximum": MAX_SIZE,
        },
    },
    LogObject._fields,
)
