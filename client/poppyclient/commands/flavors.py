# SPDX-License-Identifier: Apache-2.0
"""``cdn flavor ...``."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from poppyclient.commands import base


class Create(base.Base, command.ShowOne):
    """(Operators) Create a flavor: a name for one or more providers, for tenants to select."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("flavor", metavar="<flavor>", help="ID of the flavor")
        parser.add_argument(
            "--provider",
            metavar="<name>=<url>",
            type=_provider,
            action="append",
            required=True,
            help="A provider and the URL of its public page (repeat for several providers)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Create the flavor."""
        document = {"id": parsed_args.flavor, "providers": parsed_args.provider}
        return _shown(self.client.create_flavor(document))


class List(base.Base, command.Lister):
    """List all flavors."""

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """List the flavors."""
        return ("ID", "Providers"), [
            (entry["id"], base.Lines(_providers(entry))) for entry in self.client.flavors()
        ]


class Show(base.Base, command.ShowOne):
    """Show a flavor."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("flavor", metavar="<flavor>", help="ID of the flavor")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Show the flavor."""
        return _shown(self.client.flavor(parsed_args.flavor))


class Delete(base.Base):
    """(Operators) Delete flavors that no service uses."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("flavor", metavar="<flavor>", nargs="+", help="ID of a flavor")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete the flavors."""
        failures = []
        for flavor_id in parsed_args.flavor:
            try:
                self.client.delete_flavor(flavor_id)
            except exceptions.CommandError as exc:
                failures.append(str(exc))
        base.complain(failures, len(parsed_args.flavor))


def _provider(text: str) -> dict[str, Any]:
    name, _, url = text.partition("=")
    if not name or not url:
        raise argparse.ArgumentTypeError(f"{text!r} is not <name>=<url>")
    return {"provider": name, "links": [{"href": url, "rel": "provider_url"}]}


def _providers(flavor: Mapping[str, Any]) -> list[str]:
    return [entry["provider"] for entry in flavor["providers"]]


def _shown(flavor: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
    row = {key: value for key, value in flavor.items() if key != "links"}
    return base.fields(row)
