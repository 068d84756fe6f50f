# SPDX-License-Identifier: Apache-2.0
"""The plug-in interface of OpenStackClient (see "Plugins" in its documentation)."""

import argparse
from typing import Any

from keystoneauth1 import adapter
from osc_lib import utils

from poppyclient import api, connection

API_NAME = "cdn"
SERVICE_TYPE = "cdn"
DEFAULT_API_VERSION = "1"
API_VERSION_OPTION = "os_cdn_api_version"
API_VERSIONS = {"1": "poppyclient.api.Client"}


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add our options to those of ``openstack``."""
    add_options(parser, "--os-cdn-endpoint", "--os-cdn-project-id")
    parser.add_argument(
        "--os-cdn-api-version",
        metavar="<version>",
        default=utils.env("OS_CDN_API_VERSION", default=DEFAULT_API_VERSION),
        help="Version of the CDN API; only 1 exists (Env: OS_CDN_API_VERSION)",
    )
    return parser


def add_options(parser: argparse.ArgumentParser, endpoint: str, project: str) -> None:
    """Add the options for the server's URL and, for servers without Keystone, the project."""
    parser.add_argument(
        endpoint,
        metavar="<url>",
        dest="cdn_endpoint_override",
        default=utils.env("OS_CDN_ENDPOINT_OVERRIDE", "POPPY_ENDPOINT"),
        help="URL of Poppy; overrides the catalogue "
        "(Env: OS_CDN_ENDPOINT_OVERRIDE, POPPY_ENDPOINT)",
    )
    parser.add_argument(
        project,
        metavar="<project>",
        dest="cdn_project_id",
        default=utils.env("OS_CDN_PROJECT_ID", "POPPY_PROJECT_ID"),
        help="ID of the project, for a server without Keystone "
        "(Env: OS_CDN_PROJECT_ID, POPPY_PROJECT_ID)",
    )


def make_client(instance: Any) -> api.Client:
    """Create the API client for an osc-lib ClientManager."""
    config = instance.get_configuration()
    project = config.get("cdn_project_id") or config.get("auth", {}).get("project_id")
    http = adapter.Adapter(
        instance.session,
        service_type=SERVICE_TYPE,
        interface=instance.interface,
        region_name=instance.region_name or None,
        endpoint_override=config.get("cdn_endpoint_override") or None,
        client_name="poppy-cdn-client",
        auth=instance.auth,
    )
    return api.Client(connection.Connection(http, project, connection.PATIENCE))
