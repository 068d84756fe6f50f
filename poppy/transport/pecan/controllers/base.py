# SPDX-License-Identifier: Apache-2.0
"""What handlers share: the objects that they use, and checks of input."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from poppy.common import errors
from poppy.model import ids, names
from poppy.model.limits import DocumentLimits
from poppy.transport.pecan import views
from poppy.transport.pecan.guesses import Guesses
from poppy.transport.pecan.rate_limit import RateLimits
from poppy.transport.pecan.request import Request, document, parameter
from poppy.transport.pecan.response import Response, reply

if TYPE_CHECKING:
    from poppy.manager.manager import Manager
    from poppy.transport.pecan.routes import Route


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


@dataclass(frozen=True)
class API:
    """The first argument of every handler.

    Attributes:
        routes: all routes that are served.
        rates: the limits on requests.
    """

    manager: "Manager"
    settings: Settings
    routes: "Sequence[Route]"
    rates: RateLimits

    @functools.cached_property
    def guesses(self) -> Guesses:
        """Failed joins of nodes."""
        # Created in the process that counts: its thread does not survive a fork.
        return Guesses()

    def body(self, request: Request) -> object:
        """Return the JSON document in the body, in a media type that the route declares.

        Raises:
            RequestRefused: see :func:`.request.document`.
            InvalidRequest: see :func:`.request.document`.
        """
        declared = request.route.body
        assert declared is not None, f"{request.route.id} declares no body"
        return document(request, self.settings.max_body_size, declared.media_types)


def accepted(request: Request, service_id: str) -> Response:
    """Return 202 with the ``Location`` of the service, which shows the progress."""
    location = views.service_href(service_id, request.base_url)
    return reply(status=HTTPStatus.ACCEPTED, headers={"Location": location})


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


def marker_of(request: Request) -> str | None:
    """Return the query parameter ``marker``, a UUID; None if it is not given.

    Raises:
        InvalidRequest: the marker is not a UUID, or is given more than once.
    """
    text = parameter(request, "marker")
    return None if text is None else uuid(text, "marker")
