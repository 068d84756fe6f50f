# SPDX-License-Identifier: Apache-2.0
"""What OpenStackClient asks a plug-in for (its documentation: "Plugins")."""

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
    """The options of "openstack" that are ours."""
    add_options(parser, "--os-cdn-endpoint", "--os-cdn-project-id")
    parser.add_argument(
        "--os-cdn-api-version",
        metavar="<version>",
        default=utils.env("OS_CDN_API_VERSION", default=DEFAULT_API_VERSION),
        help="Version of the CDN API; there is 1 (Env: OS_CDN_API_VERSION)",
    )
    return parser


def add_options(parser: argparse.ArgumentParser, endpoint: str, project: str) -> None:
    """Where the server is, and for one without Keystone who asks."""
    parser.add_argument(
        endpoint,
        metavar="<url>",
        dest="cdn_endpoint_override",
        default=utils.env("OS_CDN_ENDPOINT_OVERRIDE", "POPPY_ENDPOINT"),
        help="URL of Poppy, instead of the catalogue's "
        "(Env: OS_CDN_ENDPOINT_OVERRIDE, POPPY_ENDPOINT)",
    )
    parser.add_argument(
        project,
        metavar="<project>",
        dest="cdn_project_id",
        default=utils.env("OS_CDN_PROJECT_ID", "POPPY_PROJECT_ID"),
        help="The project to act for, at a server without Keystone "
        "(Env: OS_CDN_PROJECT_ID, POPPY_PROJECT_ID)",
    )


def make_client(instance: Any) -> api.Client:
    """The client for a ClientManager of osc-lib."""
    config = instance.get_configuration()
    project = config.get("cdn_project_id") or config.get("auth", {}).get("project_id")
    http = adapter.Adapter(
        instance.session,
        service_type=SERVICE_TYPE,
        interface=instance.interface,
        region_name=instance.region_name or None,
        endpoint_override=config.get("cdn_endpoint_override") or None,
        client_name="python-poppyclient",
        auth=instance.auth,
    )
    return api.Client(connection.Connection(http, project, connection.PATIENCE))
