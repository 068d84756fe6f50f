# SPDX-License-Identifier: Apache-2.0
"""The data classes that describe a route."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from poppy.model.schemas import Schema
from poppy.transport.pecan.request import JSON


@dataclass(frozen=True)
class Parameter:
    """A query parameter, a request header, or an extension's own variable segment of the URL.

    Attributes:
        example: a realistic value.
        place: ``query``, ``header`` or ``path``.
    """

    name: str
    description: str
    schema: Schema
    example: Any = None
    place: str = "query"
    required: bool = False


@dataclass(frozen=True)
class Body:
    """A request body.

    Attributes:
        schema: the same schema that validates the request.
    """

    schema: Schema
    example: Any
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True)
class Link:
    """A follow-up request that uses values from a response (OpenAPI 3.1.1, section 4.8.20).

    Attributes:
        operation: ID of the linked operation.
        parameters: a runtime expression per parameter name.
    """

    operation: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A successful response, or an error with its own body.

    Attributes:
        schema: the body's schema; None without a body.
        headers: names of the headers in addition to those of every response.
        may_have: names of headers that are not always present.
    """

    description: str
    schema: Schema | None = None
    example: Any = None
    headers: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True)
class Operation:
    """A route: one method of one URL.

    Attributes:
        id: the name in generated clients.
        answers: the responses by status, without common errors.
        errors: statuses of common errors, in addition to those that follow from the route: 400
            and 406 always; 404 with a path parameter; 401, 403, 429 and 503 unless it is public;
            413 and 415 with a body.
    """

    id: str
    summary: str
    answers: Mapping[HTTPStatus, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: tuple[HTTPStatus, ...] = ()


_IF_MATCH = Parameter(
    "If-Match",
    "Entity tags that the client has seen; 412 if none matches.",
    {"type": "string"},
    place="header",
)


def tagged(operation: Operation) -> Operation:
    """Add an entity tag and conditions to a GET, with 304 and 412."""
    found = operation.answers[HTTPStatus.OK]
    return replace(
        operation,
        parameters=(
            *operation.parameters,
            Parameter(
                "If-None-Match",
                "Entity tags that the client has cached; 304 if one matches.",
                {"type": "string"},
                place="header",
            ),
            _IF_MATCH,
        ),
        answers={
            **operation.answers,
            HTTPStatus.OK: replace(found, headers=(*found.headers, "ETag")),
            HTTPStatus.NOT_MODIFIED: Answer("Not modified.", headers=("ETag",)),
        },
        errors=(*operation.errors, HTTPStatus.PRECONDITION_FAILED),
    )


def conditional(operation: Operation) -> Operation:
    """Add conditions to a change, so that it applies only to the version the client has seen."""
    return replace(
        operation,
        parameters=(
            *operation.parameters,
            _IF_MATCH,
            Parameter(
                "If-None-Match",
                "Entity tags that must not match; 412 if one does.",
                {"type": "string"},
                place="header",
            ),
        ),
        errors=(*operation.errors, HTTPStatus.PRECONDITION_FAILED),
    )
