# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/openapi.json``: the API's OpenAPI document."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from poppy.transport.pecan.controllers.base import PUBLIC, Resource, Settings, handler
from poppy.transport.pecan.openapi import document
from poppy.transport.pecan.request import Request, host_url
from poppy.transport.pecan.response import Response, reply

if TYPE_CHECKING:
    from poppy.manager.manager import Manager


class OpenAPI(Resource):
    """The OpenAPI document.

    Args:
        routes: the route table, including this resource.
    """

    def __init__(
        self, manager: "Manager", settings: Settings, routes: Mapping[str, Resource]
    ) -> None:
        super().__init__(manager, settings)
        self._routes = routes

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """Return the document, with the request's host as the server."""
        return reply(document.make(self._routes, self.settings, host_url(request)))
