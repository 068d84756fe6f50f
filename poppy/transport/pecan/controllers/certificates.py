# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/ssl_certificate``: certificates that are ordered before a service uses the domain."""

from http import HTTPStatus

from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import tagged
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.request import Request, document, parameter
from poppy.transport.pecan.response import Response, reply


class Certificates(Resource):
    """The certificate orders of a project."""

    @handler("cdn:certificates:create")
    def post(self, request: Request, response: Response) -> Response:
        """Order a certificate. 202."""
        body = document(request, self.settings.max_body_size)
        self.manager.certificates.create(request.asking_project, body, request.request_id)
        return reply(status=HTTPStatus.ACCEPTED)


class Certificate(Resource):
    """The orders for one domain."""

    @handler("cdn:certificates:get")
    def get(self, request: Request, response: Response, domain: str) -> Response:
        """Return the order, or a list if there is one of each type."""
        found = self.manager.certificates.get(request.asking_project, domain)
        shown = [views.certificate(order) for order in found]
        return tagged(request, shown[0] if len(shown) == 1 else shown)

    @handler("cdn:certificates:delete")
    def delete(self, request: Request, response: Response, domain: str) -> Response:
        """Delete an order and its certificate. 202."""
        cert_type = parameter(request, "cert_type")
        self.manager.certificates.delete(
            request.asking_project, domain, cert_type, request.request_id
        )
        return reply(status=HTTPStatus.ACCEPTED)
