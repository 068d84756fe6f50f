# SPDX-License-Identifier: Apache-2.0
"""``cdn operation ...``."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from poppyclient import waiting
from poppyclient.commands import base

#: As many as the server lists.
_MOST = 1000


class List(base.Base, command.Lister):
    """What was asked of a service and what became of it; or, for operators, what is not done."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser, nargs="?")
        parser.add_argument(
            "--limit", type=base.positive, metavar="<number>", help="At most so many"
        )
        parser.add_argument(
            "--all-projects",
            action="store_true",
            help="(Operators) Instead of a service's, those of all that are unfinished or failed",
        )
        parser.add_argument(
            "--state",
            metavar="<state>",
            help="With --all-projects: queued, running, waiting, unfinished or failed",
        )
        parser.add_argument(
            "--provider",
            metavar="<name>",
            help="With --all-projects: those it keeps from their end",
        )
        parser.add_argument(
            "--older-than",
            type=base.positive,
            metavar="<seconds>",
            help="With --all-projects: asked for so long ago",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        """List them."""
        if parsed_args.all_projects == (parsed_args.service is not None):
            raise exceptions.CommandError("Either a service or --all-projects has to be given")
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
                    "--state, --provider and --older-than need --all-projects"
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
    """How far an operation is; without its id, the latest of the service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        parser.add_argument("operation", metavar="<operation>", nargs="?", help="Its id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Show it."""
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
    """Something an operator does about an operation."""

    action: str

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        parser.add_argument("operation", metavar="<operation>", help="Its id")
        parser.add_argument(
            "--service", metavar="<id>", help="The id of its service; else it is looked up"
        )
        parser.add_argument(
            "--project", metavar="<id>", help="The id of its project; else it is looked up"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Do it."""
        project, service = parsed_args.project, parsed_args.service
        if not (project and service):
            for found in self.client.open_operations(limit=_MOST):
                if found["id"] == parsed_args.operation:
                    project, service = found["project_id"], found["service_id"]
        if not (project and service):
            raise exceptions.CommandError(
                f"Operation {parsed_args.operation} is not among the {_MOST} oldest that are "
                "unfinished or failed; say --project and --service"
            )
        self.client.act(self.action, parsed_args.operation, project, service)


class Retry(_Act):
    """(Operators) Have a failed operation tried anew."""

    action = "retry"


class Cancel(_Act):
    """End an operation that waits: it has failed then.

    With --service and without --project, one of the project's own. Otherwise it is for operators,
    and ends one that is queued, too.
    """

    action = "cancel"

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Do it."""
        if parsed_args.service and not parsed_args.project:
            service_id = self.client.find_service(parsed_args.service)
            self.client.cancel(service_id, parsed_args.operation)
        else:
            super().take_action(parsed_args)
