# SPDX-License-Identifier: Apache-2.0
"""The ``poppy`` program: the plug-in's commands without the "cdn" prefix."""

import argparse
import functools
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Any

from cliff import commandmanager, help
from osc_lib import clientmanager, shell
from osc_lib.api import auth

from poppyclient import api, overview, plugin

_DESCRIPTION = "Command-line client of Poppy, a CDN control plane"
_PREFIX = f"{plugin.API_NAME} "


class _Commands(commandmanager.CommandManager):
    """The plug-in's commands without their prefix."""

    commands: dict[str, Any]

    def load_commands(self, namespace: str) -> None:
        super().load_commands(namespace)
        self.commands = {
            name.removeprefix(_PREFIX): command for name, command in self.commands.items()
        }


class _Clients(clientmanager.ClientManager):
    """The ``app.client_manager`` of the commands."""

    @functools.cached_property
    def cdn(self) -> api.Client:
        """The API client, created on first use."""
        return plugin.make_client(self)


class Shell(shell.OpenStackShell):
    """The cliff application."""

    def __init__(self, **streams: Any) -> None:
        super().__init__(
            description=_DESCRIPTION,
            version=importlib.metadata.version("poppy-cdn-client"),
            command_manager=_Commands(f"openstack.{plugin.API_NAME}.v1"),
            **streams,
        )

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Add our options to those of every OpenStack client."""
        parser = super().build_option_parser(description, version, argparse_kwargs)
        plugin.add_options(parser, "--endpoint", "--project-id")
        auth.build_auth_plugins_option_parser(parser)
        return parser

    def print_help_if_requested(self) -> None:
        """Print the overview for ``--help``; ``poppy help`` prints all."""
        if self.options.deferred_help:
            described = {
                name: entry.load()(self, None).get_description().strip()
                for name, entry in self.command_manager
            }
            self.stdout.write(overview.text(_DESCRIPTION, described))
            raise help.HelpExit()

    def _final_defaults(self) -> None:
        """Use no authentication if an endpoint is given without credentials."""
        super()._final_defaults()
        given = self.options.cdn_endpoint_override and not self.options.cloud
        keystone = getattr(self.options, "auth_url", None)
        self._auth_type = "none" if given and not keystone else "password"

    def initialize_app(self, argv: list[str]) -> None:
        """Create the client manager for the commands of this run."""
        super().initialize_app(argv)
        self.client_manager = _Clients(
            cli_options=self.cloud,
            api_version=self.api_version,
            pw_func=shell.prompt_for_password,
            app_name="poppy",
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return int(Shell().run(list(sys.argv[1:] if argv is None else argv)))
