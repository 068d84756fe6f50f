# SPDX-License-Identifier: Apache-2.0
"""``/``: which versions of the API there are."""

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import PUBLIC, Resource, handler
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply


class Versions(Resource):
    """The version document."""

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """All versions; 200 since there is nothing to choose between."""
        return reply(views.versions(request.base_url))
