# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of what operators send; see :mod:`poppy.model.schemas`."""

from poppy.model.schemas import Schema, record

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
