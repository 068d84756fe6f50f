# SPDX-License-Identifier: Apache-2.0
"""The route table of the API."""

from typing import TYPE_CHECKING

from poppy.extensions import base as extensions
from poppy.transport.pecan.controllers import (
    analytics,
    assets,
    certificates,
    flavors,
    health,
    home,
    openapi,
    operations,
    ping,
    root,
    services,
)
from poppy.transport.pecan.controllers.admin import certificates as admin_certificates
from poppy.transport.pecan.controllers.admin import domains as admin_domains
from poppy.transport.pecan.controllers.admin import limits as admin_limits
from poppy.transport.pecan.controllers.admin import operations as admin_operations
from poppy.transport.pecan.controllers.admin import services as admin_services
from poppy.transport.pecan.controllers.base import Resource, Settings

if TYPE_CHECKING:
    from poppy.manager.manager import Manager


def routes(manager: "Manager", settings: Settings) -> dict[str, Resource]:
    """Return the resources by URL template.

    The router maps ``/v1.0/<project id>/...`` to ``/v1.0/...``.
    """
    table: dict[str, type[Resource]] = {
        "/": root.Versions,
        "/v1.0": home.Home,
        "/v1.0/ping": ping.Ping,
        "/v1.0/health": health.Health,
        "/v1.0/health/storage/{name}": health.StorageHealth,
        "/v1.0/health/dns/{name}": health.DNSHealth,
        "/v1.0/health/distributed_task/{name}": health.DistributedTaskHealth,
        "/v1.0/health/provider/{name}": health.ProviderHealth,
        "/v1.0/flavors": flavors.Flavors,
        "/v1.0/flavors/{flavor_id}": flavors.Flavor,
        "/v1.0/services": services.Services,
        "/v1.0/services/{service_id}": services.Service,
        "/v1.0/services/{service_id}/assets": assets.Assets,
        "/v1.0/services/{service_id}/operations": operations.Operations,
        "/v1.0/services/{service_id}/operations/{operation_id}": operations.Operation,
        "/v1.0/services/{service_id}/operations/{operation_id}/action": operations.Action,
        "/v1.0/admin/operations": admin_operations.Operations,
        "/v1.0/admin/operations/{operation_id}/action": admin_operations.OperationAction,
        "/v1.0/services/{service_id}/analytics": analytics.Analytics,
        "/v1.0/ssl_certificate": certificates.Certificates,
        "/v1.0/ssl_certificate/{domain}": certificates.Certificate,
        "/v1.0/admin/certificates": admin_certificates.Certificates,
        "/v1.0/admin/certificates/{domain}": admin_certificates.Certificate,
        "/v1.0/admin/services": admin_services.Services,
        "/v1.0/admin/services/action": admin_services.Action,
        "/v1.0/admin/services/status": admin_services.Status,
        "/v1.0/admin/services/provider_details/{service_id}": admin_services.ProviderDetails,
        "/v1.0/admin/domains": admin_domains.Domains,
        "/v1.0/admin/domains/{domain}": admin_domains.Domain,
        "/v1.0/admin/limits/{project_id}": admin_limits.Limit,
    }
    for name, extension in extensions.installed().items():
        for template, resource in extension.resources().items():
            table[extensions.url(name, template)] = resource
    resources = {template: resource(manager, settings) for template, resource in table.items()}
    resources["/v1.0/openapi.json"] = openapi.OpenAPI(manager, settings, resources)
    return resources
