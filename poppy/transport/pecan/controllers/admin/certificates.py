# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/certificates``: certificate orders of all projects."""

from http import HTTPStatus

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.paging import next_link
from poppy.transport.pecan.request import JSON, JSON_PATCH, Request, document, integer, parameter
from poppy.transport.pecan.response import Response, reply

#: Small, because each order is a separate read.
_MAX_PAGE = 100


class Certificates(Resource):
    """All orders, by status."""

    @handler("cdn:admin_certificates:list")
    def get(self, request: Request, response: Response) -> Response:
        """Return a page of orders; the ``Link`` header points to the next page."""
        status = parameter(request, "status") or ""
        marker = parameter(request, "marker")
        if marker is not None:
            marker = uuid(marker, "marker")
        limit = integer(request, "limit", _MAX_PAGE, _MAX_PAGE)
        found, following = self.manager.certificates.by_status(status, marker, limit)
        headers = {}
        if following is not None:
            query = {"status": status, "marker": following, "limit": str(limit)}
            headers["Link"] = next_link(request, query)
        return reply([views.certificate(order) for order in found], headers=headers)


class Certificate(Resource):
    """The orders for one domain."""

    @handler("cdn:admin_certificates:update")
    def patch(self, request: Request, response: Response, domain: str) -> Response:
        """Set the status of an order. 204."""
        body = document(request, self.settings.max_body_size, (JSON, JSON_PATCH))
        cert_type = parameter(request, "cert_type")
        self.manager.certificates.set_status(domain, cert_type, body, request.request_id)
        return reply(status=HTTPStatus.NO_CONTENT)
