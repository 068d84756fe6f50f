# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/domains``: find services by domain, and domains by provider hostname."""

from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import tagged
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.paging import MAX_ENTRIES, listing
from poppy.transport.pecan.request import Request, integer, parameter
from poppy.transport.pecan.response import Response


class Domains(Resource):
    """The domains behind a provider hostname."""

    @handler("cdn:admin_domains:list")
    def get(self, request: Request, response: Response) -> Response:
        """Return a page of domains, sorted; the ``Link`` header points to the next page."""
        url = parameter(request, "provider_url") or ""
        marker = parameter(request, "marker")
        limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
        found = self.manager.admin_search.domains_at(url, marker, limit)
        following = {"provider_url": url, "marker": found[-1] if found else ""}
        return listing(request, list(found), limit, following)


class Domain(Resource):
    """One domain."""

    @handler("cdn:admin_domains:get")
    def get(self, request: Request, response: Response, domain: str) -> Response:
        """Return the service with this domain."""
        service = self.manager.admin_search.by_domain(domain)
        return tagged(request, views.service(service, request.base_url), service.revision)
