# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin/domains``: whose a domain is, and what a provider's name serves."""

from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import tagged
from poppy.transport.pecan.controllers.base import Resource, handler
from poppy.transport.pecan.paging import MAX_ENTRIES, listing
from poppy.transport.pecan.request import Request, integer, parameter
from poppy.transport.pecan.response import Response


class Domains(Resource):
    """All domains, by the name of a provider that serves them."""

    @handler("cdn:admin_domains:list")
    def get(self, request: Request, response: Response) -> Response:
        """A page of them, in order; the header ``Link`` leads to the next."""
        url = parameter(request, "provider_url") or ""
        marker = parameter(request, "marker")
        limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
        found = self.manager.lookups.domains_at(url, marker, limit)
        following = {"provider_url": url, "marker": found[-1] if found else ""}
        return listing(request, list(found), limit, following)


class Domain(Resource):
    """One domain."""

    @handler("cdn:admin_domains:get")
    def get(self, request: Request, response: Response, domain: str) -> Response:
        """The service that has it."""
        service = self.manager.lookups.by_domain(domain)
        return tagged(request, views.service(service, request.base_url), service.revision)
