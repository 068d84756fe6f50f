# SPDX-License-Identifier: Apache-2.0
"""``cdn service ...``."""

import argparse
import uuid
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from poppyclient import connection, documents, plan
from poppyclient.commands import base

Row = tuple[Sequence[str], Sequence[Any]]
Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]


class Create(base.FromFile, command.ShowOne):
    """Have a service made of a document."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_wait(parser)
        parser.add_argument(
            "--idempotency-key",
            metavar="<key>",
            help="However often it is created with this key, there is one. By default a new key, "
            "which saves from lost answers within this run",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Row:
        """Create it."""
        document = documents.load(parsed_args.file)
        key = parsed_args.idempotency_key or str(uuid.uuid4())
        try:
            service_id, answer = self.client.create_service(document, key)
        except connection.Unanswered as exc:
            raise exceptions.CommandError(
                f"{exc}. Whether the service is being created is not known; with "
                f"--idempotency-key {key} the same command can be repeated, and there will be one"
            ) from exc
        base.wait(self.client, parsed_args, service_id, "create", answer.request_id)
        return base.shown(self.client.service(service_id)[0])


class List(base.Base, command.Lister):
    """The services of the project."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--status", metavar="<status>", help="Only those of this status")
        parser.add_argument("--domain", metavar="<domain>", help="Only the one with this domain")
        parser.add_argument(
            "--limit", type=base.positive, metavar="<number>", help="At most so many; else all"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """List them."""
        found = self.client.services(
            parsed_args.limit, status=parsed_args.status, domain=parsed_args.domain
        )
        return (
            ("ID", "Name", "Status", "Flavor", "Domains", "Access URLs"),
            [
                (
                    entry["id"],
                    entry["name"],
                    entry["status"],
                    entry["flavor_id"],
                    base.Lines([domain["domain"] for domain in entry["domains"]]),
                    base.Lines(base.access_urls(entry)),
                )
                for entry in found
            ],
        )


class Show(base.Base, command.ShowOne):
    """A service; with --format yaml, as a document that can be edited and given to set."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Row:
        """Show it."""
        service_id = self.client.find_service(parsed_args.service)
        return base.shown(self.client.service(service_id)[0])


class MakePlan(base.FromFile):
    """Tell what create, or with a service set, would do, without doing it."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser, nargs="?")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Tell it; the exit code is 1 if the server would refuse it."""
        document = documents.load(parsed_args.file)
        if parsed_args.service is None:
            made = plan.create(self.client, document)
        else:
            service_id = self.client.find_service(parsed_args.service)
            made = plan.update(self.client, service_id, document)
        for line in made.lines():
            print(line, file=self.app.stdout)
        if made.problems:
            raise exceptions.CommandError("The server would refuse this")


class Set(base.FromFile, command.ShowOne):
    """Change a service to what a document says; what it leaves out gets its default."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Row:
        """Change it."""
        document = documents.load(parsed_args.file)
        service_id = self.client.find_service(parsed_args.service)
        patch, tag = self._patch(service_id, document)
        if not patch:
            self.app.stderr.write("Nothing to change\n")
            return base.shown(self.client.service(service_id)[0])
        try:
            answer = self.client.update_service(service_id, patch, tag)
        except connection.Refused as refused:
            if refused.status != HTTPStatus.PRECONDITION_FAILED:
                raise
            # Somebody else was faster, or an answer that got lost was to this very change.
            if self._patch(service_id, document)[0]:
                raise exceptions.CommandError(
                    f"{refused}. Nothing was changed; look at it (service plan) and try again"
                ) from refused
            request_id = None
        else:
            request_id = answer.request_id
        base.wait(self.client, parsed_args, service_id, "update", request_id)
        return base.shown(self.client.service(service_id)[0])

    def _patch(
        self, service_id: str, document: documents.Document
    ) -> tuple[list[documents.Document], str]:
        """From how the service is to the document, and the entity tag of how it is."""
        shown, tag = self.client.service(service_id)
        current = documents.writable(shown)
        return documents.patch(current, documents.written_out(document, current)), tag


class Delete(base.Base):
    """Have services removed, from providers and DNS too."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser, nargs="+")
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete them."""
        asked = []
        failures = []
        for text in parsed_args.service:
            try:
                service_id = self.client.find_service(text)
                asked.append((service_id, self.client.delete_service(service_id)))
            except exceptions.CommandError as exc:
                failures.append(str(exc))
        for service_id, answer in asked:
            try:
                base.wait(self.client, parsed_args, service_id, "delete", answer.request_id)
            except exceptions.CommandError as exc:
                failures.append(str(exc))
        base.complain(failures, len(parsed_args.service))


class Purge(base.Base):
    """Make cached content go."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--url",
            metavar="<path>",
            action="append",
            help="A path, such as /images/logo.png (repeat it for several)",
        )
        what.add_argument("--all", action="store_true", help="Everything")
        parser.add_argument(
            "--soft", action="store_true", help="Have it revalidated instead of evicted"
        )
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Purge it."""
        service_id = self.client.find_service(parsed_args.service)
        for url in parsed_args.url or (None,):
            answer = self.client.purge(service_id, url, hard=not parsed_args.soft)
            base.wait(self.client, parsed_args, service_id, "purge", answer.request_id)


class Analytics(base.Base, command.Lister):
    """What the provider has counted for a domain."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The options."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        parser.add_argument(
            "--domain", metavar="<domain>", help="The domain; by default the service's first"
        )
        parser.add_argument(
            "--metric",
            metavar="<metric>",
            default="requestCount",
            help="requestCount (default), bandwidthOut, httpResponseCode_1XX to _5XX",
        )
        for name, what in (("start", "From"), ("end", "To")):
            parser.add_argument(
                f"--{name}", metavar="<time>", help=f"{what}: UTC, as 2030-01-31T00:00:00"
            )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Show it."""
        service_id = self.client.find_service(parsed_args.service)
        domain = parsed_args.domain or self.client.service(service_id)[0]["domains"][0]["domain"]
        query = {
            "domain": domain,
            "metricType": parsed_args.metric,
            "startTime": parsed_args.start,
            "endTime": parsed_args.end,
        }
        zones = self.client.analytics(service_id, query)[parsed_args.metric]
        return (
            ("Zone", "Time", "Count"),
            [
                (zone, point["timestamp"], point["count"])
                for zone, points in zones.items()
                for point in points
            ],
        )
