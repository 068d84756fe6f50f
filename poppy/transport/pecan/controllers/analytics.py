# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/services/{id}/analytics``: traffic statistics from the provider."""

from poppy.transport.pecan import views
from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.request import Request, parameter
from poppy.transport.pecan.response import Response, reply


class Analytics(Resource):
    """Statistics of a service's domains."""

    @handler("cdn:services:analytics")
    def get(self, request: Request, response: Response, service_id: str) -> Response:
        """Return one metric of one domain, by zone."""
        names = ("domain", "metricType", "startTime", "endTime")
        asked = [parameter(request, name) for name in names]
        service_id = uuid(service_id, "service id")
        found = self.manager.analytics.report(request.project_id, service_id, *asked)
        return reply(views.analytics(found))
