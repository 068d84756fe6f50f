# SPDX-License-Identifier: Apache-2.0
"""Whether a document is what the server's own OpenAPI description asks for."""

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
    """What is wrong with the document of a service, as ``[path]-what``; empty if nothing.

    Args:
        description: OpenAPI 3.1, whose schemas are JSON Schema 2020-12.

    Returns:
        None if the description does not say what a service is.
    """
    place: Any = description
    for key in _PLACE:
        if not isinstance(place, Mapping) or key not in place:
            return None
        place = place[key]
    # The whole description is the base, so that "$ref"s find their "#/components/...".
    resource = referencing.jsonschema.DRAFT202012.create_resource(description)
    registry: Any = referencing.Registry().with_resource(_HOME, resource)
    pointer = "/".join(key.replace("~", "~0").replace("/", "~1") for key in _PLACE)
    validator = jsonschema.Draft202012Validator({"$ref": f"{_HOME}#/{pointer}"}, registry=registry)
    found = sorted(validator.iter_errors(document), key=lambda error: str(error.json_path))
    return [_text(error) for error in found[:_MOST]]


def _text(error: jsonschema.ValidationError) -> str:
    path = "".join(f"[{part}]" for part in error.absolute_path) or "[document]"
    return f"{path}-{error.message}"
