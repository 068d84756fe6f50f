# SPDX-License-Identifier: Apache-2.0
"""The declaration of a route.

The route table, the policy rules, the OpenAPI document and the API reference derive from it.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from oslo_policy.policy import DocumentedRuleDefault

from poppy.model.schema_parts import Schema
from poppy.policies.base import Rule
from poppy.transport.pecan.request import JSON
from poppy.transport.pecan.response import Response

if TYPE_CHECKING:
    from poppy.transport.pecan.controllers.base import Settings

#: The rule of a route that needs no token.
PUBLIC = None

Handler = Callable[..., Response]


@dataclass(frozen=True)
class Parameter:
    """A query parameter, a request header, or an extension's own variable segment of the URL.

    Attributes:
        schema: the JSON Schema, or a function that returns it for the configured limits.
        example: a realistic value.
        place: ``query``, ``header`` or ``path``.
    """

    name: str
    description: str
    schema: "Schema | Callable[[Settings], Schema]"
    example: Any = None
    place: str = "query"
    required: bool = False


@dataclass(frozen=True)
class Body:
    """A request body.

    Attributes:
        schema: the same schema that validates the request, or a function that returns it for the
            configured limits.
        media_types: the accepted media types, the recommended one first.
    """

    schema: "Schema | Callable[[Settings], Schema]"
    example: Any
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True)
class Link:
    """A follow-up request that uses values from a response (OpenAPI 3.1.1, section 4.8.20).

    Attributes:
        operation: ID of the linked route.
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
        media_types: the media types of the body, in order of preference.
    """

    description: str
    schema: Schema | None = None
    example: Any = None
    headers: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    media_types: tuple[str, ...] = (JSON,)


@dataclass(frozen=True)
class Route:
    """One method of one URL.

    Attributes:
        target: method and URL template: ``GET /things/{name}``. A segment in braces matches any
            text.
        handler: takes the :class:`~.controllers.base.API`, the request and the variable segments
            of the URL. It validates the request, calls the manager and returns the result as a
            view renders it. Errors are raised.
        rule: the policy rule that the request needs, or ``PUBLIC``.
        id: the name in generated clients.
        answers: the responses by status, without common errors.
        errors: statuses of common errors, in addition to those that follow from the route: 400
            and 406 always; 404 with a path parameter; 401, 403, 429 and 503 unless it is public;
            401 and 503 for a node; 413 and 415 with a body.
        audit: action and kind of target in audit events, if they do not follow from the rule.
        node: whether the handler authenticates a node of the operator's own edge by its token.
            Nodes send many requests, so audit events record only those that are refused.

    Raises:
        ValueError: there are no answers.
    """

    target: str
    handler: Handler
    rule: Rule | None
    id: str
    summary: str
    answers: Mapping[HTTPStatus, Answer]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: tuple[HTTPStatus, ...] = ()
    audit: tuple[str, str] | None = None
    node: bool = False

    def __post_init__(self) -> None:
        if not self.answers:
            raise ValueError(f"{self.target} has no documented answers")

    @functools.cached_property
    def method(self) -> str:
        """The method."""
        return self.target.partition(" ")[0]

    @functools.cached_property
    def template(self) -> str:
        """The URL template."""
        return self.target.partition(" ")[2]

    @functools.cached_property
    def media_types(self) -> tuple[str, ...]:
        """The media types of responses, in order of preference."""
        found = (name for answer in self.answers.values() for name in answer.media_types)
        return tuple(dict.fromkeys(found))


def rules(routes: Iterable[Route]) -> list[DocumentedRuleDefault]:
    """Return the policy rules of routes for oslo.policy, each with the routes that need it."""
    found: dict[Rule, list[Route]] = {}
    for route in routes:
        if route.rule is not PUBLIC:
            found.setdefault(route.rule, []).append(route)
    return [
        DocumentedRuleDefault(
            rule.name,
            rule.check,
            rule.description or needing[0].summary,
            [{"method": route.method, "path": route.template} for route in needing],
            scope_types=list(rule.scopes),
        )
        for rule, needing in found.items()
    ]


_IF_MATCH = Parameter(
    "If-Match",
    "Entity tags that the client has seen; 412 if none matches.",
    {"type": "string"},
    place="header",
)


def tagged(route: Route) -> Route:
    """Add an entity tag and conditions to a GET, with 304 and 412."""
    found = route.answers[HTTPStatus.OK]
    return replace(
        route,
        parameters=(
            *route.parameters,
            Parameter(
                "If-None-Match",
                "Entity tags that the client has cached; 304 if one matches.",
                {"type": "string"},
                place="header",
            ),
            _IF_MATCH,
        ),
        answers={
            **route.answers,
            HTTPStatus.OK: replace(found, headers=(*found.headers, "ETag")),
            HTTPStatus.NOT_MODIFIED: Answer("Not modified.", headers=("ETag",)),
        },
        errors=(*route.errors, HTTPStatus.PRECONDITION_FAILED),
    )


def conditional(route: Route) -> Route:
    """Add conditions to a change, so that it applies only to the version the client has seen."""
    return replace(
        route,
        parameters=(
            *route.parameters,
            _IF_MATCH,
            Parameter(
                "If-None-Match",
                "Entity tags that must not match; 412 if one does.",
                {"type": "string"},
                place="header",
            ),
        ),
        errors=(*route.errors, HTTPStatus.PRECONDITION_FAILED),
    )
