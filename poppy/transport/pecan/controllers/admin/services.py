# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/services``: services of all projects."""

from poppy.transport.pecan.controllers.base import Resource, handler, uuid
from poppy.transport.pecan.paging import MAX_ENTRIES, listing
from poppy.transport.pecan.request import Request, integer, parameter
from poppy.transport.pecan.response import Response


class Services(Resource):
    """All services, by status."""

    @handler
    def get(self, request: Request, response: Response) -> Response:
        """A page of them; the header ``Link`` leads to the next."""
        status = parameter(request, "status") or ""
        marker = parameter(request, "marker")
        if marker is not None:
            marker = uuid(marker, "marker")
        limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
        found = self.manager.lookups.by_status(status, marker, limit)
        entries = [{**entry._asdict(), "status": status} for entry in found]
        following = {"status": status, "marker": found[-1].service_id if found else ""}
        return listing(request, entries, limit, following)
