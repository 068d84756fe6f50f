# SPDX-License-Identifier: Apache-2.0
"""The resources of ``conn.cdn``. Their fields are those of Poppy's documents."""

from openstack import resource


class Service(resource.Resource):
    """A CDN service.

    ``id``, ``project_id``, ``status``, the times, ``errors``, ``links``, ``dns_records`` and
    ``drift`` are read-only. Optional fields that were never set are None.
    """

    resource_key = None
    resources_key = "services"
    base_path = "/services"

    #: ``create_in_progress``, ``update_in_progress``, ``delete_in_progress``, ``deployed``,
    #: ``failed`` or ``disabled``.
    status = resource.Body("status")
    project_id = resource.Body("project_id")
    created_at = resource.Body("created_at")
    updated_at = resource.Body("updated_at")
    errors = resource.Body("errors", type=list)
    links = resource.Body("links", type=list)
    dns_records = resource.Body("dns_records", type=list)
    drift = resource.Body("drift", type=list)

    flavor_id = resource.Body("flavor_id")
    domains = resource.Body("domains", type=list)
    origins = resource.Body("origins", type=list)
    caching = resource.Body("caching", type=list)
    restrictions = resource.Body("restrictions", type=list)
    log_delivery = resource.Body("log_delivery", type=dict)
    delivery = resource.Body("delivery", type=dict)
    redirects = resource.Body("redirects", type=list)
    headers = resource.Body("headers", type=list)
    cors = resource.Body("cors", type=dict)
    error_pages = resource.Body("error_pages", type=list)
    signed_urls = resource.Body("signed_urls", type=dict)
    waf = resource.Body("waf", type=dict)
    tags = resource.Body("tags", type=list)

    @property
    def access_urls(self) -> list[str]:
        """The targets of the domains' CNAME records."""
        return [link["href"] for link in self.links or () if link["rel"] == "access_url"]


class Flavor(resource.Resource):
    """A flavor: a name for one or more providers."""

    resource_key = None
    resources_key = "flavors"
    base_path = "/flavors"

    providers = resource.Body("providers", type=list)
    links = resource.Body("links", type=list)
    #: What all providers of the flavor can do; only of a single flavor, not in lists.
    capabilities = resource.Body("capabilities", type=list)


class Operation(resource.Resource):
    """An operation of a service, such as a create, a purge or a delete."""

    resource_key = None
    resources_key = "operations"
    base_path = "/services/%(service_id)s/operations"

    service_id = resource.URI("service_id")
    action = resource.Body("action")
    #: ``queued``, ``running``, ``waiting``, ``succeeded``, ``failed`` or ``superseded``.
    state = resource.Body("state")
    reason = resource.Body("reason")
    attempts = resource.Body("attempts", type=int)
    created_at = resource.Body("created_at")
    next_attempt_at = resource.Body("next_attempt_at")
    request_id = resource.Body("request_id")
    steps = resource.Body("steps", type=list)
