# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/limits``: how many services a project may have."""

from http import HTTPStatus

from poppy.transport.pecan.controllers.base import Resource, handler, project
from poppy.transport.pecan.request import Request, document
from poppy.transport.pecan.response import Response, reply


class Limit(Resource):
    """The limit of one project."""

    @handler("cdn:admin_limits:get")
    def get(self, request: Request, response: Response, project_id: str) -> Response:
        """Return the project's limit, or the default if it has none."""
        return reply({"limit": self.manager.limits.get(project(project_id))})

    @handler("cdn:admin_limits:update")
    def put(self, request: Request, response: Response, project_id: str) -> Response:
        """Set the project's limit. 201."""
        body = document(request, self.settings.max_body_size)
        self.manager.limits.set(project(project_id), body)
        return reply(status=HTTPStatus.CREATED)
