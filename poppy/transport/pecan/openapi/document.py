# SPDX-License-Identifier: Apache-2.0
"""Build the OpenAPI document from the declarations of the routes."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from poppy.model.schema_parts import Schema
from poppy.transport.pecan.openapi import answers
from poppy.transport.pecan.request import JSON
from poppy.transport.pecan.routes import Answer, Body, Parameter, Route

if TYPE_CHECKING:
    from poppy.transport.pecan.controllers.base import Settings

VERSION = "3.1.1"

REQUEST_ID = "x-openstack-request-id"

#: Description, schema and example of each path parameter.
SEGMENTS: Mapping[str, tuple[str, dict[str, Any], Any]] = {
    "name": ("The configured name of the driver or certificate.", answers.TEXT, "mock"),
    "flavor_id": ("The flavor.", {"type": "string", "minLength": 1}, "standard"),
    "domain": ("The domain.", answers.TEXT, "www.example.com"),
    "project_id": ("The project.", answers.TEXT, answers.PROJECT_ID),
    "operation_id": ("The operation.", answers.UUID, answers.OPERATION_ID),
    "service_id": ("The service.", answers.UUID, answers.SERVICE_ID),
}

#: Description and schema of each response header.
HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    REQUEST_ID: ("The request ID. Quote it in reports.", answers.TEXT),
    "Location": ("The URL of the resource.", {"type": "string", "format": "uri"}),
    "ETag": ("The entity tag of the response.", answers.TEXT),
    "Link": ("The link to the next page (RFC 8288).", answers.TEXT),
    "Retry-After": ("Seconds to wait before the next attempt.", {"type": "integer"}),
    "WWW-Authenticate": ("How to authenticate.", answers.TEXT),
    "Accept": ("The accepted media types of the request body.", answers.TEXT),
    "Accept-Patch": ("The accepted media types of a patch.", answers.TEXT),
}

#: Description and optional headers of each common error.
ERRORS: Mapping[HTTPStatus, tuple[str, tuple[str, ...]]] = {
    HTTPStatus.BAD_REQUEST: ("The request is invalid; the message names the offender.", ()),
    HTTPStatus.UNAUTHORIZED: ("The token is missing or invalid.", ("WWW-Authenticate",)),
    HTTPStatus.FORBIDDEN: (
        "The policy forbids the request, the project in the URL is not the token's, or a limit "
        "is reached.",
        (),
    ),
    HTTPStatus.NOT_FOUND: ("The resource does not exist or belongs to another project.", ()),
    HTTPStatus.GONE: ("The changes have been pruned; take a snapshot.", ()),
    HTTPStatus.NOT_ACCEPTABLE: ("The client does not accept JSON.", ()),
    HTTPStatus.CONFLICT: ("The resource is in use, or another request is changing it.", ()),
    HTTPStatus.PRECONDITION_FAILED: ("The resource does not match If-Match.", ()),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("The body is too large.", ()),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "The Idempotency-Key was used for a different request.",
        (),
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "The media type of the body is not supported.",
        ("Accept", "Accept-Patch"),
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "The project makes too many requests, or has too many unfinished operations.",
        ("Retry-After",),
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "A required component (storage, Keystone) does not answer.",
        ("Retry-After",),
    ),
}

_INFO = """\
A CDN control plane: describe a service once, and any CDN provider can deliver it.

Every path accepts the project ID after the version: `/v1.0/{project_id}/services`. Every resource
with GET also supports HEAD, and all resources support OPTIONS. `X-Auth-Token` is a Keystone token.
An installation without Keystone takes the project from `X-Project-ID` and the roles from
`X-Roles` instead. Nodes of the operator's own edge have bearer tokens, for `/edge` only."""


def make(routes: Iterable[Route], settings: "Settings", server: str) -> dict[str, Any]:
    """Build the document.

    Args:
        server: ``scheme://host`` and mount point of this installation.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        methods = paths.setdefault(route.template, {})
        methods[route.method.lower()] = _operation(route, settings)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Poppy",
            "version": "1.0",
            "description": _INFO,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": {"Error": answers.ERROR},
            "responses": {_name(status): _error(status) for status in ERRORS},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "project": {"type": "apiKey", "in": "header", "name": "X-Project-ID"},
                "node": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: Route, settings: "Settings") -> dict[str, Any]:
    group = re.sub(r"^/(?:v1\.0/?)?", "", route.template).partition("/")[0] or "home"
    text = [route.description] if route.description else []
    text += [f"Policy: `{route.rule.name}`."] if route.rule else []
    own = {each.name for each in route.parameters if each.place == "path"}
    names = re.findall(r"{(\w+)}", route.template)
    made: dict[str, Any] = {
        "operationId": route.id,
        "tags": [group],
        "summary": route.summary,
        "security": _security(route),
        "parameters": [
            *(_segment(name) for name in names if name not in own),
            *(_parameter(each, settings) for each in route.parameters),
        ],
        "responses": _responses(route),
    }
    if text:
        made["description"] = "\n\n".join(text)
    if route.body is not None:
        schema = _schema(route.body, settings)
        made["requestBody"] = {
            "required": True,
            "content": _content(schema, route.body.example, route.body.media_types),
        }
    return made


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.node:
        return [{"node": []}]
    return [{"token": []}, {"project": []}] if route.rule else []


def _responses(route: Route) -> dict[str, Any]:
    found = {str(status.value): _answer(made) for status, made in route.answers.items()}
    for status in sorted(_errors(route)):
        found.setdefault(str(status.value), {"$ref": f"#/components/responses/{_name(status)}"})
    return found


def _errors(route: Route) -> set[HTTPStatus]:
    """Return the common errors of a route."""
    found = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, *route.errors}
    if "{" in route.template:
        found.add(HTTPStatus.NOT_FOUND)
    if route.rule is not None:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE}
        found.add(HTTPStatus.TOO_MANY_REQUESTS)
    if route.node:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE}
    if route.body is not None:
        found |= {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
    return found


def _schema(given: Parameter | Body, settings: "Settings") -> Schema:
    return given.schema(settings) if callable(given.schema) else given.schema


def _segment(name: str) -> dict[str, Any]:
    description, schema, example = SEGMENTS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def _parameter(given: Parameter, settings: "Settings") -> dict[str, Any]:
    made = {
        "name": given.name,
        "in": given.place,
        "required": given.required or given.place == "path",
        "description": given.description,
        "schema": _schema(given, settings),
    }
    return made if given.example is None else {**made, "example": given.example}


def _answer(given: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": given.description,
        "headers": _headers(given.headers, given.may_have),
    }
    if given.schema is not None:
        made["content"] = _content(given.schema, given.example, given.media_types)
    if given.links:
        made["links"] = {
            name: {"operationId": link.operation, "parameters": dict(link.parameters)}
            for name, link in given.links.items()
        }
    return made


def _error(status: HTTPStatus) -> dict[str, Any]:
    description, headers = ERRORS[status]
    return {
        "description": description,
        "headers": _headers((), headers),
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/Error"},
                "example": answers.ERROR_EXAMPLE,
            }
        },
    }


def _headers(certain: tuple[str, ...], possible: tuple[str, ...]) -> dict[str, Any]:
    """Return the headers of a response: the request ID, and the given ones."""
    always = (REQUEST_ID, *certain)
    return {
        name: {
            "description": HEADERS[name][0],
            "required": name in always,
            "schema": HEADERS[name][1],
        }
        for name in (*always, *possible)
    }


def _name(status: HTTPStatus) -> str:
    """Return the name of the component that describes a common error."""
    return f"Error{status.value}"


def _content(schema: Schema, example: Any, media_types: Iterable[str]) -> dict[str, Any]:
    shown = {} if example is None else {"example": example}
    return {media_type: {"schema": schema, **shown} for media_type in media_types}
