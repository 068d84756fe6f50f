# SPDX-License-Identifier: Apache-2.0
"""``/v1.0``: the home document."""

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.request import JSON, JSON_HOME, Request, acceptable
from poppy.transport.pecan.response import Response, reply


class Home(Resource):
    """The URLs of the resources (draft-nottingham-json-home)."""

    media_types = (JSON, JSON_HOME)

    @handler("cdn:home:get")
    def get(self, request: Request, response: Response) -> Response:
        """Return the document, as plain JSON unless the client accepts json-home."""
        content_type = acceptable(request, self.media_types) or JSON
        return reply(views.HOME, content_type=content_type)
