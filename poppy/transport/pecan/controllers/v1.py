# SPDX-License-Identifier: Apache-2.0
"""The routes of the API."""

from dataclasses import replace

from poppy.extensions import base as extensions
from poppy.transport.pecan.controllers import (
    admin,
    assets,
    certificates,
    custom_certificates,
    edge,
    flavors,
    home,
    operations,
    quota,
    services,
)
from poppy.transport.pecan.routes import Route


def routes() -> tuple[Route, ...]:
    """Return all routes, including those of the installed extensions.

    The router maps ``/v1.0/<project id>/...`` to ``/v1.0/...``.
    """
    return (
        *home.ROUTES,
        *flavors.ROUTES,
        *services.ROUTES,
        *custom_certificates.ROUTES,
        *assets.ROUTES,
        *operations.ROUTES,
        *certificates.ROUTES,
        *quota.ROUTES,
        *admin.ROUTES,
        *operations.ADMIN_ROUTES,
        *edge.ROUTES,
        *(
            replace(route, target=f"{route.method} {extensions.url(name, route.template)}")
            for name, extension in extensions.installed().items()
            for route in extension.routes()
        ),
    )
