# SPDX-License-Identifier: Apache-2.0
"""``/``: the versions of the API."""

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import PUBLIC, Resource, handler
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply


class Versions(Resource):
    """The version document."""

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """Return all versions. 200, not 300: there is only one to choose."""
        return reply(views.versions(request.base_url))
