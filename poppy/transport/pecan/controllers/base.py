# SPDX-License-Identifier: Apache-2.0
"""The base class of the resources, and checks that they share."""

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

#: The rule of a handler that needs no token.
PUBLIC = None

#: The media types that the body of a PATCH may have; it is a JSON Patch (RFC 6902) in any case.
PATCH_TYPES = (JSON, JSON_PATCH)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the API that the operator configures.

    Attributes:
        max_services_per_page: the maximum ``limit`` of a list of services.
        max_body_size: the maximum size of a request body in bytes.
        project_id_in_url: whether links include the project ID.
        document_limits: limits on service documents, for their schema.
        purge_without_query_is_all: whether a purge without a query purges everything.
    """

    max_services_per_page: int
    max_body_size: int
    project_id_in_url: bool
    document_limits: DocumentLimits = DocumentLimits()
    purge_without_query_is_all: bool = False


def handler(rule: str | None) -> Callable[[F], F]:
    """Mark a method as a request handler.

    Args:
        rule: the policy rule that the request needs (see :mod:`poppy.policies`), or ``PUBLIC``.
    """
    if callable(rule):
        raise TypeError(f'{rule} needs a policy rule: @handler("cdn:..."), or @handler(PUBLIC)')

    def mark(function: F) -> F:
        exposed = pecan.expose(content_type=JSON)(function)
        exposed.rule = rule
        return cast(F, exposed)

    return mark


class Resource:
    """A resource with a URL.

    Its methods ``get``, ``post``, ``put``, ``patch`` and ``delete`` handle requests. Each takes
    the request, Pecan's empty response and the variable segments of the URL. It validates the
    request, calls the manager and returns the result as a view renders it. Errors are raised.

    Attributes:
        media_types: the media types of responses, in order of preference.
        handlers: the handlers by method, in the order of the ``Allow`` header.
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
        """Return the supported methods in ``Allow`` (RFC 9110, section 9.3.7).

        ``Accept-Patch`` has what PATCH accepts (RFC 5789, section 3.1).
        """
        headers = {"Allow": ", ".join(self.handlers)}
        if "PATCH" in self.handlers:
            headers["Accept-Patch"] = ", ".join(PATCH_TYPES)
        return reply(status=HTTPStatus.NO_CONTENT, headers=headers)


def project(text: str) -> str:
    """Validate a project ID that an operator gives.

    Raises:
        InvalidRequest: the project ID is invalid.
    """
    if not names.PROJECT_ID.fullmatch(text):
        raise errors.InvalidRequest("The project id is not valid")
    return text


def uuid(text: str, what: str) -> str:
    """Validate a UUID from the client, and return it as it is stored: in lowercase.

    Raises:
        InvalidRequest: the text is not a UUID.
    """
    if not ids.is_uuid(text):
        raise errors.InvalidRequest(f"The {what} must be a UUID")
    return text.lower()
