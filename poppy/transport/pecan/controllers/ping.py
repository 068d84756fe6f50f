# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/ping``: whether this server can serve requests, for load balancers."""

from http import HTTPStatus

from poppy.common import errors
from poppy.transport.pecan.controllers.base import PUBLIC, Resource, handler
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response, reply


class Ping(Resource):
    """The combined health of storage and the job board."""

    @handler(PUBLIC)
    def get(self, request: Request, response: Response) -> Response:
        """Return 204, or 503 if either does not answer."""
        if not self.manager.health.ping():
            raise errors.Unavailable("Storage or the job board does not answer")
        return reply(status=HTTPStatus.NO_CONTENT)
