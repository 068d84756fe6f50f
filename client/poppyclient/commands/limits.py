# SPDX-License-Identifier: Apache-2.0
"""``cdn limit ...``, for operators, and ``cdn quota show``."""

import argparse
from collections.abc import Sequence
from typing import Any

from osc_lib.command import command

from poppyclient.commands import base


class ShowQuota(base.Base, command.ShowOne):
    """Show the limits of your project, and how much of them is used."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Show the quota."""
        quota = self.client.quota()
        rates = {
            name: base.Lines([_rate(it) for it in found])
            for name, found in quota.pop("rate", {}).items()
        }
        return base.fields({name: _used(it) for name, it in quota.items()} | rates)


class Show(base.Base, command.ShowOne):
    """(Operators) Show the maximum number of services of a project."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("project", metavar="<project>", help="ID of the project")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Show the limit."""
        limit = self.client.limit(parsed_args.project)
        return base.fields({"project_id": parsed_args.project, "limit": limit})


class Set(base.Base):
    """(Operators) Set the maximum number of services of a project."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("project", metavar="<project>", help="ID of the project")
        parser.add_argument("limit", metavar="<number>", type=int, help="0 or more")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Set the limit."""
        self.client.set_limit(parsed_args.project, parsed_args.limit)


def _rate(rate: dict[str, Any]) -> str:
    return f"{_used(rate)} in {rate['seconds']} s"


def _used(usage: dict[str, Any]) -> str:
    limit = usage["limit"]
    return f"{usage['used']}, no limit" if limit is None else f"{usage['used']} of {limit}"
