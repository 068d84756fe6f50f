# SPDX-License-Identifier: Apache-2.0
"""Poppy as a service of openstacksdk (https://docs.openstack.org/openstacksdk/).

Connect to the cloud, and add Poppy as ``conn.cdn``::

    import openstack
    from poppyclient import sdk

    conn = sdk.add_to(openstack.connect(cloud="mycloud"))
    service = conn.cdn.create_service(
        name="shop",
        flavor_id="standard",
        domains=[{"domain": "shop.example.com"}],
        origins=[{"origin": "origin.example.com"}],
        wait=True,
    )
    conn.cdn.purge_service(service, urls=["/index.html"])

Without Keystone, connect with :func:`connect`.
"""

from typing import Any

import openstack
import openstack.connection
from openstack import service_description

from poppyclient import plugin
from poppyclient.sdk.proxy import Proxy

__all__ = ["CDN", "Proxy", "add_to", "connect"]


class CDN(service_description.ServiceDescription[Proxy]):
    """The service of type ``cdn``."""

    supported_versions = {plugin.DEFAULT_API_VERSION: Proxy}


def add_to(connection: openstack.connection.Connection) -> Any:
    """Add Poppy to a connection as ``cdn``, and return the connection."""
    connection.add_service(CDN(plugin.SERVICE_TYPE))
    return connection


def connect(endpoint: str, project_id: str) -> Any:
    """Return a connection to a server without Keystone.

    Args:
        endpoint: the server's URL.
        project_id: sent as ``X-Project-ID``.
    """
    connection = openstack.connection.Connection(
        auth_type="none",
        auth={"endpoint": endpoint},
        cdn_endpoint_override=endpoint,
        cdn_project_id=project_id,
        cdn_api_version=plugin.DEFAULT_API_VERSION,
    )
    return add_to(connection)
