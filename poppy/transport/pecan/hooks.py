# SPDX-License-Identifier: Apache-2.0
"""What happens before each handler, and when one raises."""

from http import HTTPStatus
from typing import Any

import pecan.hooks
from oslo_context import context
from oslo_log import log
from oslo_middleware import request_id

from poppy.common import errors
from poppy.model import names
from poppy.transport.pecan import errors as http_errors
from poppy.transport.pecan.controllers.base import Resource, Settings
from poppy.transport.pecan.request import (
    BASE_URL,
    PROJECT_ID,
    PROJECT_ID_IN_URL,
    Request,
    acceptable,
    host_url,
)
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routing import PROJECT_SEGMENT, VERSION

LOG = log.getLogger(__name__)


class ContextHook(pecan.hooks.PecanHook):  # type: ignore[misc]
    """Settles whose request it is, what its links begin with, and that JSON will do."""

    priority = 1

    def __init__(self, settings: Settings) -> None:
        self._project_id_in_url = settings.project_id_in_url

    def before(self, state: Any) -> None:
        """Runs once the handler is known, so that an unknown path is a 404 for anybody."""
        request: Request = state.request
        resource: Resource = state.controller.__self__
        if acceptable(request, resource.media_types) is None:
            offered = " or ".join(resource.media_types)
            raise http_errors.RequestRefused(
                HTTPStatus.NOT_ACCEPTABLE, f"The answer can only be {offered}"
            )
        base = f"{host_url(request)}/{VERSION}"
        project_id = None
        if resource.needs_project and request.method != "OPTIONS":
            project_id = self._project(request)
            # A link must be one that the router takes back.
            if self._project_id_in_url and PROJECT_SEGMENT.fullmatch(project_id):
                base = f"{base}/{project_id}"
        request.environ[BASE_URL] = base
        context.RequestContext(
            request_id=request.request_id,
            global_request_id=request.environ.get(request_id.GLOBAL_REQ_ID),
            project_id=project_id,
        )

    @staticmethod
    def _project(request: Request) -> str:
        """The header is the authority: auth middleware sets it. The URL may only repeat it."""
        project_id: str | None = request.environ.get("HTTP_X_PROJECT_ID")
        if not project_id:
            raise errors.InvalidRequest("The Project ID must be provided.")
        if not names.PROJECT_ID.fullmatch(project_id):
            raise errors.InvalidRequest("The Project ID in the X-Project-ID header is not valid")
        in_url = request.environ.get(PROJECT_ID_IN_URL)
        if in_url is not None and in_url != project_id:
            raise errors.InvalidRequest(
                "The Project ID in the URL is not the one of the X-Project-ID header"
            )
        request.environ[PROJECT_ID] = project_id
        return project_id


class ErrorHook(pecan.hooks.PecanHook):  # type: ignore[misc]
    """Turns every expected error into its answer; handlers just raise."""

    def on_error(self, state: Any, error: Exception) -> Response | None:
        """The answer, or None for a bug, which then reaches the outermost middleware."""
        identifier = state.request.request_id
        if isinstance(error, http_errors.RequestRefused):
            return reply(http_errors.document(str(error), identifier), error.status, error.headers)
        if not isinstance(error, errors.PoppyError):
            return None
        status = http_errors.status_of(error)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.error("Request %s failed", identifier, exc_info=error)
        return reply(
            http_errors.document_of(error, identifier), status, http_errors.headers_of(error)
        )
