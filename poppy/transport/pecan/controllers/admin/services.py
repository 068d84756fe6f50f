# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/services``: services of all projects."""

from http import HTTPStatus

from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.paging import MAX_ENTRIES, listing, next_link
from poppy.transport.pecan.request import Request, document, integer, parameter
from poppy.transport.pecan.response import Response, reply


class Services(Resource):
    """The services of all projects, by status."""

    @handler("cdn:admin_services:list")
    def get(self, request: Request, response: Response) -> Response:
        """Return a page of services; the ``Link`` header points to the next page."""
        status = parameter(request, "status") or ""
        marker = _marker(request)
        limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
        found = self.manager.admin_search.by_status(status, marker, limit)
        entries = [{**entry._asdict(), "status": status} for entry in found]
        following = {"status": status, "marker": found[-1].service_id if found else ""}
        return listing(request, entries, limit, following)


class Action(Resource):
    """An action on a project's services, or on the service with a domain."""

    @handler("cdn:admin_services:action")
    def post(self, request: Request, response: Response) -> Response:
        """Enable, disable or delete services. 202.

        If a project has many services, the ``Link`` header points to the rest.
        """
        body = document(request, self.settings.max_body_size)
        marker = self.manager.actions.act(body, _marker(request), request.request_id)
        headers = {} if marker is None else {"Link": next_link(request, {"marker": marker})}
        return reply(status=HTTPStatus.ACCEPTED, headers=headers)


class Status(Resource):
    """The status of a service, set by an operator."""

    @handler("cdn:admin_services:set_status")
    def post(self, request: Request, response: Response) -> Response:
        """Set the status. 201, or 202 if the service is deployed instead."""
        body = document(request, self.settings.max_body_size)
        deploys = self.manager.actions.set_status(body, request.request_id)
        return reply(status=HTTPStatus.ACCEPTED if deploys else HTTPStatus.CREATED)


class ProviderDetails(Resource):
    """The targets of a service's operator names, set by an operator."""

    @handler("cdn:admin_services:set_provider_details")
    def patch(self, request: Request, response: Response, service_id: str) -> Response:
        """Point an operator name to a provider hostname. 201, or 202 without a change."""
        body = document(request, self.settings.max_body_size)
        service_id = uuid(service_id, "service id")
        changed = self.manager.actions.move(service_id, body, request.request_id)
        return reply(status=HTTPStatus.CREATED if changed else HTTPStatus.ACCEPTED)


def _marker(request: Request) -> str | None:
    marker = parameter(request, "marker")
    return None if marker is None else uuid(marker, "marker")
