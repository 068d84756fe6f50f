# SPDX-License-Identifier: Apache-2.0
"""``cdn operation ...``."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from poppyclient import waiting
from poppyclient.commands import base

#: The most operations that the server lists.
_MOST = 1000


class List(base.Base, command.Lister):
    """List a service's operations, or with --all-projects the unfinished and failed ones."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser, nargs="?")
        parser.add_argument(
            "--limit", type=base.positive, metavar="<number>", help="Maximum number to list"
        )
        parser.add_argument(
            "--all-projects",
            action="store_true",
            help="(Operators) List unfinished and failed operations of all projects",
        )
        parser.add_argument(
            "--state",
            metavar="<state>",
            help="With --all-projects: queued, running, waiting, unfinished or failed",
        )
        parser.add_argument(
            "--provider",
            metavar="<name>",
            help="With --all-projects: only those blocked on this provider",
        )
        parser.add_argument(
            "--older-than",
            type=base.positive,
            metavar="<seconds>",
            help="With --all-projects: only those requested at least this long ago",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """List the operations."""
        if parsed_args.all_projects == (parsed_args.service is not None):
            raise exceptions.CommandError("Give either a service or --all-projects")
        narrowed = {
            "state": parsed_args.state,
            "provider": parsed_args.provider,
            "older_than": parsed_args.older_than,
        }
        if parsed_args.all_projects:
            found = self.client.open_operations(limit=parsed_args.limit, **narrowed)
            extra: tuple[str, ...] = ("project_id", "service_id")
        else:
            if any(value is not None for value in narrowed.values()):
                raise exceptions.CommandError(
                    "--state, --provider and --older-than require --all-projects"
                )
            service_id = self.client.find_service(parsed_args.service)
            found = list(self.client.operations(service_id, parsed_args.limit))
            extra = ()
        columns = ("ID", "Action", "State", "Attempts", "Created", "Next attempt", "Reason")
        keys = ("id", "action", "state", "attempts", "created_at", "next_attempt_at", "reason")
        heads = tuple(key.removesuffix("_id").title() for key in extra)
        return (*columns, *heads), [
            tuple(operation[key] or "" for key in (*keys, *extra)) for operation in found
        ]


class Show(base.Base, command.ShowOne):
    """Show an operation and its progress; by default the latest one of the service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        parser.add_argument(
            "operation", metavar="<operation>", nargs="?", help="ID of the operation"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Show the operation."""
        service_id = self.client.find_service(parsed_args.service)
        if parsed_args.operation:
            operation = self.client.operation(service_id, parsed_args.operation)
        else:
            operation = next(self.client.operations(service_id, 1), {})
            if not operation:
                raise exceptions.CommandError(f"Service {service_id} has no operation")
        row = {key: value for key, value in operation.items() if key != "links"}
        row["steps"] = [_step(step) for step in operation["steps"]]
        return base.fields(row)


def _step(step: Mapping[str, Any]) -> str:
    text = f"{waiting.step_name(step)}: {step['state']}"
    return f"{text} ({step['message']})" if step["message"] else text


class _Act(base.Base):
    """An operator's action on an operation."""

    action: str

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("operation", metavar="<operation>", help="ID of the operation")
        parser.add_argument(
            "--service", metavar="<id>", help="ID of its service; looked up by default"
        )
        parser.add_argument(
            "--project", metavar="<id>", help="ID of its project; looked up by default"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Send the action."""
        project, service = parsed_args.project, parsed_args.service
        if not (project and service):
            for found in self.client.open_operations(limit=_MOST):
                if found["id"] == parsed_args.operation:
                    project, service = found["project_id"], found["service_id"]
        if not (project and service):
            raise exceptions.CommandError(
                f"Operation {parsed_args.operation} is not among the {_MOST} oldest unfinished or "
                "failed ones; give --project and --service"
            )
        self.client.act(self.action, parsed_args.operation, project, service)


class Retry(_Act):
    """(Operators) Retry a failed operation."""

    action = "retry"


class Cancel(_Act):
    """Cancel a waiting operation; its state becomes failed.

    With --service and without --project, it cancels an operation of your own project. All other
    forms are for operators, and also cancel a queued operation.
    """

    action = "cancel"

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Cancel the operation."""
        if parsed_args.service and not parsed_args.project:
            service_id = self.client.find_service(parsed_args.service)
            self.client.cancel(service_id, parsed_args.operation)
        else:
            super().take_action(parsed_args)
