# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/services``: services of all projects."""

from http import HTTPStatus

from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.paging import MAX_ENTRIES, listing, next_link
from poppy.transport.pecan.request import Request, document, integer, parameter
from poppy.transport.pecan.response import Response, reply


class Services(Resource):
    """All services, by status."""

    @handler("cdn:admin_services:list")
    def get(self, request: Request, response: Response) -> Response:
        """A page of them; the header ``Link`` leads to the next."""
        status = parameter(request, "status") or ""
        marker = _marker(request)
        limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
        found = self.manager.lookups.by_status(status, marker, limit)
        entries = [{**entry._asdict(), "status": status} for entry in found]
        following = {"status": status, "marker": found[-1].service_id if found else ""}
        return listing(request, entries, limit, following)


class Action(Resource):
    """Something done to the services of a project, or to the one that has a domain."""

    @handler("cdn:admin_services:action")
    def post(self, request: Request, response: Response) -> Response:
        """Accepted; of a project with many services, the header ``Link`` leads to the rest."""
        body = document(request, self.settings.max_body_size)
        marker = self.manager.actions.act(body, _marker(request), request.request_id)
        headers = {} if marker is None else {"Link": next_link(request, {"marker": marker})}
        return reply(status=HTTPStatus.ACCEPTED, headers=headers)


class Status(Resource):
    """What became of a service, said by hand."""

    @handler("cdn:admin_services:set_status")
    def post(self, request: Request, response: Response) -> Response:
        """201, or 202 when it is being deployed instead."""
        body = document(request, self.settings.max_body_size)
        deploys = self.manager.actions.set_status(body, request.request_id)
        return reply(status=HTTPStatus.ACCEPTED if deploys else HTTPStatus.CREATED)


class ProviderDetails(Resource):
    """Where the names of a service's domains point, said by hand."""

    @handler("cdn:admin_services:set_provider_details")
    def patch(self, request: Request, response: Response, service_id: str) -> Response:
        """201, or 202 when there is nothing to change."""
        body = document(request, self.settings.max_body_size)
        service_id = uuid(service_id, "service id")
        changed = self.manager.actions.move(service_id, body, request.request_id)
        return reply(status=HTTPStatus.CREATED if changed else HTTPStatus.ACCEPTED)


def _marker(request: Request) -> str | None:
    marker = parameter(request, "marker")
    return None if marker is None else uuid(marker, "marker")
