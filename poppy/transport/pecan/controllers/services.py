# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services``: the services of tenants."""

from collections.abc import Callable
from http import HTTPStatus

from poppy.model.services import Service as ServiceModel
from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import idempotency_key, precondition, tagged
from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.request import (
    JSON,
    JSON_PATCH,
    Request,
    document,
    integer,
    parameter,
)
from poppy.transport.pecan.response import Response, reply

DEFAULT_LIMIT = 10


class Services(Resource):
    """The services of a project."""

    @handler("cdn:services:list")
    def get(self, request: Request, response: Response) -> Response:
        """Return a page of services, oldest first."""
        limit = integer(request, "limit", DEFAULT_LIMIT, self.settings.max_services_per_page)
        marker = parameter(request, "marker")
        if marker is not None:
            marker = uuid(marker, "marker")
        filters = {name: parameter(request, name) for name in ("status", "domain")}
        given = {name: text for name, text in filters.items() if text is not None}
        found = self.manager.services.list(request.project_id, marker, limit, **given)
        return tagged(request, views.services(found, limit, request.base_url, given))

    @handler("cdn:services:create")
    def post(self, request: Request, response: Response) -> Response:
        """Create a service. 202 with its ``Location``."""
        body = document(request, self.settings.max_body_size)
        service_id = self.manager.services.create(
            request.project_id,
            body,
            request.request_id,
            key=idempotency_key(request),
            token=request.token,
        )
        return accepted(request, service_id)


class Service(Resource):
    """One service."""

    @handler("cdn:services:get")
    def get(self, request: Request, response: Response, service_id: str) -> Response:
        """Return the service."""
        found = self.manager.services.get(request.project_id, uuid(service_id, "service id"))
        return tagged(request, views.service(found, request.base_url), found.revision)

    @handler("cdn:services:update")
    def patch(self, request: Request, response: Response, service_id: str) -> Response:
        """Update the service by a JSON Patch (RFC 6902). 202 with its ``Location``."""
        service_id = uuid(service_id, "service id")
        body = document(request, self.settings.max_body_size, (JSON, JSON_PATCH))
        self.manager.services.update(
            request.project_id,
            service_id,
            body,
            request.request_id,
            check=_check(request),
            token=request.token,
        )
        return accepted(request, service_id)

    @handler("cdn:services:delete")
    def delete(self, request: Request, response: Response, service_id: str) -> Response:
        """Delete the service from its providers and from DNS. 202."""
        service_id = uuid(service_id, "service id")
        self.manager.services.delete(
            request.project_id, service_id, request.request_id, check=_check(request)
        )
        return reply(status=HTTPStatus.ACCEPTED)


def _check(request: Request) -> Callable[[ServiceModel], None] | None:
    return precondition(request, lambda service: views.service(service, request.base_url))


def accepted(request: Request, service_id: str) -> Response:
    """Return 202 with the ``Location`` of the service, which shows the progress."""
    location = views.service_href(service_id, request.base_url)
    return reply(status=HTTPStatus.ACCEPTED, headers={"Location": location})
