# SPDX-License-Identifier: Apache-2.0
"""Validation of a document against the server's OpenAPI description."""

from collections.abc import Mapping
from typing import Any

import jsonschema
import referencing
import referencing.jsonschema

_HOME = "urn:poppy:openapi"
_PLACE = (
    "paths",
    "/v1.0/services",
    "post",
    "requestBody",
    "content",
    "application/json",
    "schema",
)
_MOST = 20


def breaches(description: Mapping[str, Any], document: Any) -> list[str] | None:
    """List the schema violations of a service document as ``[path]-message``; empty if valid.

    Args:
        description: an OpenAPI 3.1 document; its schemas are JSON Schema 2020-12.

    Returns:
        At most 20 violations; None if the description does not define a service.
    """
    place: Any = description
    for key in _PLACE:
        if not isinstance(place, Mapping) or key not in place:
            return None
        place = place[key]
    # Use the whole description as the base so that "$ref" finds "#/components/...".
    resource = referencing.jsonschema.DRAFT202012.create_resource(description)
    registry: Any = referencing.Registry().with_resource(_HOME, resource)
    pointer = "/".join(key.replace("~", "~0").replace("/", "~1") for key in _PLACE)
    validator = jsonschema.Draft202012Validator({"$ref": f"{_HOME}#/{pointer}"}, registry=registry)
    found = sorted(validator.iter_errors(document), key=lambda error: str(error.json_path))
    return [_text(error) for error in found[:_MOST]]


def _text(error: jsonschema.ValidationError) -> str:
    path = "".join(f"[{part}]" for part in error.absolute_path) or "[document]"
    return f"{path}-{error.message}"
