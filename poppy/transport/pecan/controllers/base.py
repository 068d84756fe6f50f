# SPDX-License-Identifier: Apache-2.0
"""What all resources have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

import pecan

from poppy.common import errors
from poppy.model import ids, names
from poppy.model.limits import DocumentLimits
from poppy.transport.pecan.request import JSON, JSON_PATCH, Request
from poppy.transport.pecan.response import Response, reply

if TYPE_CHECKING:
    from poppy.manager.manager import Manager

F = TypeVar("F", bound=Callable[..., Response])

#: The rule of what anybody may ask, without a token.
PUBLIC = None

#: The media types that the body of a PATCH may have; it is a JSON Patch (RFC 6902) in any case.
PATCH_TYPES = (JSON, JSON_PATCH)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator decides about the API.

    Attributes:
        max_services_per_page: the largest ``limit`` of a list.
        max_body_size: in bytes.
        project_id_in_url: whether links carry the project id.
        document_limits: on service documents, for their schema.
        purge_without_query_is_all: whether a purge that does not say what is for everything.
    """

    max_services_per_page: int
    max_body_size: int
    project_id_in_url: bool
    document_limits: DocumentLimits = DocumentLimits()
    purge_without_query_is_all: bool = False


def handler(rule: str | None) -> Callable[[F], F]:
    """Mark a method as one that answers requests.

    Args:
        rule: the policy rule that must allow it (see :mod:`poppy.policies`), or ``PUBLIC``.
    """
    if callable(rule):
        raise TypeError(f'{rule} needs a policy rule: @handler("cdn:..."), or @handler(PUBLIC)')

    def mark(function: F) -> F:
        exposed = pecan.expose(content_type=JSON)(function)
        exposed.rule = rule
        return cast(F, exposed)

    return mark


class Resource:
    """Something that has a URL.

    Its methods ``get``, ``post``, ``put``, ``patch`` and ``delete`` answer requests. Each takes
    the request, Pecan's empty response and the variable segments of the URL; it checks, calls
    the manager and returns what a view makes of the result. It raises for anything else.

    Attributes:
        media_types: what answers can be, best first.
        handlers: by method, in the order of the ``Allow`` header.
    """

    media_types: ClassVar[tuple[str, ...]] = (JSON,)

    def __init__(self, manager: "Manager", settings: Settings) -> None:
        self.manager = manager
        self.settings = settings
        self.handlers: dict[str, Callable[..., Response]] = {}
        for method in _METHODS:
            if hasattr(self, method.lower()):
                self.handlers[method] = getattr(self, method.lower())
        if "GET" in self.handlers:
            self.handlers["HEAD"] = self.handlers["GET"]
        self.handlers["OPTIONS"] = self.options

    @handler(PUBLIC)
    def options(self, request: Request, response: Response, *segments: str) -> Response:
        """Which methods there are (RFC 9110, section 9.3.7), and what PATCH accepts.

        RFC 5789, section 3.1.
        """
        headers = {"Allow": ", ".join(self.handlers)}
        if "PATCH" in self.handlers:
            headers["Accept-Patch"] = ", ".join(PATCH_TYPES)
        return reply(status=HTTPStatus.NO_CONTENT, headers=headers)


def project(text: str) -> str:
    """A project that an operator names.

    Raises:
        InvalidRequest: it can't be one.
    """
    if not names.PROJECT_ID.fullmatch(text):
        raise errors.InvalidRequest("The project id is not valid")
    return text


def uuid(text: str, what: str) -> str:
    """An identifier from the client, as it is stored.

    Raises:
        InvalidRequest: it is no UUID.
    """
    if not ids.is_uuid(text):
        raise errors.InvalidRequest(f"The {what} must be a UUID")
    return text.lower()
