# SPDX-License-Identifier: Apache-2.0
"""Build the OpenAPI document from the route table and the descriptions."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from poppy.extensions import base as extensions
from poppy.transport.pecan.openapi import (
    admin,
    answers,
    certificates,
    flavors,
    home,
    operations,
    services,
)
from poppy.transport.pecan.openapi.operation import Answer, Body, Operation, Parameter
from poppy.transport.pecan.request import JSON

if TYPE_CHECKING:
    from poppy.transport.pecan.controllers.base import Resource, Settings

VERSION = "3.1.1"

REQUEST_ID = "x-openstack-request-id"
_UNDESCRIBED = ("HEAD", "OPTIONS")

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
    "WWW-Authenticate": ("The URL of the identity service.", answers.TEXT),
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
`X-Roles` instead."""


def descriptions(settings: "Settings") -> dict[str, Operation]:
    """Return all descriptions by ``METHOD /template``."""
    return {
        **home.OPERATIONS,
        **flavors.OPERATIONS,
        **services.operations(settings),
        **operations.OPERATIONS,
        **certificates.OPERATIONS,
        **admin.OPERATIONS,
        **{
            f"{method} {extensions.url(name, template)}": operation
            for name, extension in extensions.installed().items()
            for template, methods in extension.operations().items()
            for method, operation in methods.items()
        },
    }


def make(routes: Mapping[str, "Resource"], settings: "Settings", server: str) -> dict[str, Any]:
    """Build the document.

    Args:
        routes: the route table.
        server: ``scheme://host`` and mount point of this installation.

    Raises:
        KeyError: a route has no description.
    """
    described = descriptions(settings)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Poppy",
            "version": "1.0",
            "description": _INFO,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": {
            template: {
                method.lower(): _operation(template, rule, described[f"{method} {template}"])
                for method, rule in rules(resource)
            }
            for template, resource in routes.items()
        },
        "components": {
            "schemas": {"Error": answers.ERROR},
            "responses": {_name(status): _error(status) for status in ERRORS},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "project": {"type": "apiKey", "in": "header", "name": "X-Project-ID"},
            },
        },
    }


def rules(resource: "Resource") -> Iterator[tuple[str, str | None]]:
    """Yield the described methods of a resource, each with its policy rule."""
    for method, handler in resource.handlers.items():
        if method not in _UNDESCRIBED:
            yield method, handler.rule  # type: ignore[attr-defined]


def _operation(template: str, rule: str | None, described: Operation) -> dict[str, Any]:
    group = re.sub(r"^/v1\.0/?", "", template).partition("/")[0] or "home"
    text = [described.description] if described.description else []
    text += [f"Policy: `{rule}`."] if rule else []
    own = {each.name for each in described.parameters if each.place == "path"}
    made: dict[str, Any] = {
        "operationId": described.id,
        "tags": [group],
        "summary": described.summary,
        "security": [{"token": []}, {"project": []}] if rule else [],
        "parameters": [
            *(_segment(name) for name in re.findall(r"{(\w+)}", template) if name not in own),
            *map(_parameter, described.parameters),
        ],
        "responses": _responses(template, rule, described),
    }
    if text:
        made["description"] = "\n\n".join(text)
    if described.body is not None:
        made["requestBody"] = {"required": True, "content": _content(described.body)}
    return made


def _responses(template: str, rule: str | None, described: Operation) -> dict[str, Any]:
    found = {str(status.value): _answer(made) for status, made in described.answers.items()}
    for status in sorted(_errors(template, rule, described)):
        found.setdefault(str(status.value), {"$ref": f"#/components/responses/{_name(status)}"})
    return found


def _errors(template: str, rule: str | None, described: Operation) -> set[HTTPStatus]:
    """Return the common errors of a route."""
    found = {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, *described.errors}
    if "{" in template:
        found.add(HTTPStatus.NOT_FOUND)
    if rule is not None:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE}
        found.add(HTTPStatus.TOO_MANY_REQUESTS)
    if described.body is not None:
        found |= {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
    return found


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


def _parameter(given: Parameter) -> dict[str, Any]:
    made = {
        "name": given.name,
        "in": given.place,
        "required": given.required or given.place == "path",
        "description": given.description,
        "schema": given.schema,
    }
    return made if given.example is None else {**made, "example": given.example}


def _answer(given: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": given.description,
        "headers": _headers(given.headers, given.may_have),
    }
    if given.schema is not None:
        made["content"] = _content(Body(given.schema, given.example, given.media_types))
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


def _content(body: Body) -> dict[str, Any]:
    example = {} if body.example is None else {"example": body.example}
    return {media_type: {"schema": body.schema, **example} for media_type in body.media_types}
