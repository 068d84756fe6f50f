# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/flavors``: the choices of providers that tenants can select."""

from http import HTTPStatus

from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import tagged
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.request import Request, document
from poppy.transport.pecan.response import Response, reply


class Flavors(Resource):
    """All flavors."""

    @handler("cdn:flavors:list")
    def get(self, request: Request, response: Response) -> Response:
        """List all flavors."""
        found = self.manager.flavors.list()
        shown = {"flavors": [views.flavor(entry, request.base_url) for entry in found]}
        return tagged(request, shown)

    @handler("cdn:flavors:create")
    def post(self, request: Request, response: Response) -> Response:
        """Create a flavor. 201 with its ``Location``."""
        body = document(request, self.settings.max_body_size)
        created = views.flavor(self.manager.flavors.create(body), request.base_url)
        return reply(created, HTTPStatus.CREATED, {"Location": views.self_link(created)})


class Flavor(Resource):
    """One flavor."""

    @handler("cdn:flavors:get")
    def get(self, request: Request, response: Response, flavor_id: str) -> Response:
        """Return the flavor."""
        return tagged(request, views.flavor(self.manager.flavors.get(flavor_id), request.base_url))

    @handler("cdn:flavors:delete")
    def delete(self, request: Request, response: Response, flavor_id: str) -> Response:
        """Delete the flavor. 204."""
        self.manager.flavors.delete(flavor_id)
        return reply(status=HTTPStatus.NO_CONTENT)
