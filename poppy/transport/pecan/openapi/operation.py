# SPDX-License-Identifier: Apache-2.0
"""How one route is described."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from poppy.model.schemas import Schema
from poppy.transport.pecan.request import JSON


@dataclass(frozen=True)
class Parameter:
    """A query parameter, or a header field of the request.

    Attributes:
        example: a value that makes sense.
        place: ``query`` or ``header``.
    """

    name: str
    description: str
    schema: Schema
    example: Any = None
    place: str = "query"
    required: bool = False


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Attributes:
        schema: the very one that the request is checked by.
    """

    schema: Schema
    example: Any
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True)
class Link:
    """What can be asked next with what an answer tells (OpenAPI 3.1.1, section 4.8.20).

    Attributes:
        operation: the id of another operation.
        parameters: runtime expression by its parameters' names.
    """

    operation: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer that is no error, or an error with a body of its own.

    Attributes:
        schema: of the body; None when there is none.
        headers: names of header fields it has besides those that all answers have.
        may_have: names of header fields that only some of these answers have.
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
    """A route: one method at one URL.

    Attributes:
        id: what generated clients call it.
        answers: by status, those that are no ordinary errors.
        errors: statuses of ordinary errors, besides those that follow from the route: 400 and
            406 always; 404 with a variable segment in the URL; 401, 403, 429 and 503 unless it
            is public; 413 and 415 with a body.
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
    "Entity tags of what the client has seen: if none matches, it is a 412.",
    {"type": "string"},
    place="header",
)


def tagged(operation: Operation) -> Operation:
    """A GET whose answer has an entity tag; 304 or 412 as its conditions say."""
    found = operation.answers[HTTPStatus.OK]
    return replace(
        operation,
        parameters=(
            *operation.parameters,
            Parameter(
                "If-None-Match",
                "Entity tags of what the client has already.",
                {"type": "string"},
                place="header",
            ),
            _IF_MATCH,
        ),
        answers={
            **operation.answers,
            HTTPStatus.OK: replace(found, headers=(*found.headers, "ETag")),
            HTTPStatus.NOT_MODIFIED: Answer("It is as If-None-Match says.", headers=("ETag",)),
        },
        errors=(*operation.errors, HTTPStatus.PRECONDITION_FAILED),
    )


def conditional(operation: Operation) -> Operation:
    """A change that is made only if the thing is as the client has seen it."""
    return replace(
        operation,
        parameters=(
            *operation.parameters,
            _IF_MATCH,
            Parameter(
                "If-None-Match",
                "Entity tags of what is not to be changed: one that matches is a 412.",
                {"type": "string"},
                place="header",
            ),
        ),
        errors=(*operation.errors, HTTPStatus.PRECONDITION_FAILED),
    )
