# SPDX-License-Identifier: Apache-2.0
"""``cdn service ...``."""

import argparse
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from poppyclient import connection, documents, plan
from poppyclient.commands import base

#: Output formats of cliff, which other commands take with ``-f``.
_FORMATS = ("csv", "json", "shell", "table", "value", "yaml")

Row = tuple[Sequence[str], Sequence[Any]]
Rows = tuple[Sequence[str], Iterable[Sequence[Any]]]


class _FromOptions(base.FromFile):
    """A command that reads a new service from a document or from options."""

    file_is_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--domain",
            metavar="<domain>",
            action="append",
            help="Without a file: a domain of the service; may be repeated",
        )
        parser.add_argument(
            "--origin", metavar="<origin>", help="Without a file: host[:port] or URL of the origin"
        )
        parser.add_argument("--flavor", metavar="<flavor>", help="Without a file: its flavor")
        parser.add_argument(
            "--name", metavar="<name>", help="Without a file: its name (default: the first domain)"
        )
        parser.add_argument(
            "--certificate",
            metavar="<kind>",
            help="Without a file: serve the domains by HTTPS, with certificates of this kind",
        )
        return parser

    @staticmethod
    def document(given: argparse.Namespace) -> documents.Document:
        """Return the document.

        Raises:
            CommandError: there are both a file and options, or neither is complete.
        """
        required = {"--domain": given.domain, "--origin": given.origin, "--flavor": given.flavor}
        optional = {"--name": given.name, "--certificate": given.certificate}
        options = [name for name, value in (required | optional).items() if value]
        if given.file is not None:
            if options:
                hint = f' For the output format, give "--format {given.file}"'
                raise exceptions.CommandError(
                    f"--file (-f) can't be used with {options[0]}."
                    + (hint if given.file in _FORMATS else "")
                )
            return documents.load(given.file)
        missing = [name for name, value in required.items() if not value]
        if missing:
            raise exceptions.CommandError(
                f"missing: {', '.join(missing)}; or give the service's document by --file"
            )
        return documents.simple(
            given.domain, given.origin, given.flavor, given.name, given.certificate
        )


class Create(_FromOptions, command.ShowOne):
    """Create a service, from a document or from options."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_wait(parser)
        parser.add_argument(
            "--idempotency-key",
            metavar="<key>",
            help="Requests with the same key create one service. The default is a new key, which "
            "protects the retries within this run",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Row:
        """Create the service."""
        document = self.document(parsed_args)
        key = parsed_args.idempotency_key or str(uuid.uuid4())
        try:
            service_id, answer = self.client.create_service(document, key)
        except connection.Unanswered as exc:
            raise exceptions.CommandError(
                f"{exc}. It is unknown whether the service is being created. Repeating the "
                f"command with --idempotency-key {key} creates at most one service"
            ) from exc
        base.wait(self.client, parsed_args, service_id, "create", answer.request_id)
        return base.shown(self.client.service(service_id)[0])


_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "ID": lambda it: it["id"],
    "Name": lambda it: it["name"],
    "Status": lambda it: it["status"],
    "Flavor": lambda it: it["flavor_id"],
    "Domains": lambda it: base.Lines([domain["domain"] for domain in it["domains"]]),
    "Access URLs": lambda it: base.Lines(base.access_urls(it)),
}
_LONG_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "Tags": lambda it: base.Lines(it.get("tags", ())),
    "Created": lambda it: it["created_at"],
    "Updated": lambda it: it["updated_at"],
    "Errors": lambda it: base.Lines([error["message"] for error in it["errors"]]),
}


class List(base.Base, command.Lister):
    """List the project's services."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--status", metavar="<status>", help="Only services with this status")
        parser.add_argument(
            "--domain", metavar="<domain>", help="Only the service with this domain"
        )
        parser.add_argument("--name", metavar="<name>", help="Only services with this name")
        parser.add_argument("--flavor", metavar="<flavor>", help="Only services with this flavor")
        parser.add_argument(
            "--tag",
            metavar="<tag>",
            action="append",
            help="Only services with this tag; may be repeated: with all of them",
        )
        parser.add_argument(
            "--sort",
            metavar="<key>[:asc|:desc],...",
            help="Order by created_at (default), name, status or updated_at",
        )
        parser.add_argument(
            "--limit", type=base.positive, metavar="<number>", help="Maximum number; default: all"
        )
        parser.add_argument(
            "--long",
            action="store_true",
            help="Show tags, times of creation and last change, and errors as well",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """List the services."""
        found = self.client.services(
            parsed_args.limit,
            status=parsed_args.status,
            domain=parsed_args.domain,
            name=parsed_args.name,
            flavor_id=parsed_args.flavor,
            tag=parsed_args.tag,
            sort=parsed_args.sort,
        )
        columns = {**_COLUMNS, **(_LONG_COLUMNS if parsed_args.long else {})}
        return tuple(columns), [tuple(cell(entry) for cell in columns.values()) for entry in found]


class Show(base.Base, command.ShowOne):
    """Show a service; the output of --format yaml can be edited and passed to set."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Row:
        """Show the service."""
        service_id = self.client.find_service(parsed_args.service)
        return base.shown(self.client.service(service_id)[0])


class MakePlan(_FromOptions):
    """Show what create would do or, if a service is given, what set would do."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser, nargs="?")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print the plan; the exit code is 1 if the server would refuse the change."""
        if parsed_args.service is None:
            made = plan.create(self.client, self.document(parsed_args))
        elif parsed_args.file is None:
            raise exceptions.CommandError("missing: --file, the service's document")
        else:
            service_id = self.client.find_service(parsed_args.service)
            made = plan.update(self.client, service_id, self.document(parsed_args))
        for line in made.lines():
            print(line, file=self.app.stdout)
        if made.problems:
            raise exceptions.CommandError("The server would refuse this change")


class Set(base.FromFile, command.ShowOne):
    """Change a service to match a document; omitted fields get their defaults."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Row:
        """Change the service."""
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
            # Another client changed the service, or the response to this change was lost.
            if self._patch(service_id, document)[0]:
                raise exceptions.CommandError(
                    f"{refused}. Nothing was changed; review the plan and try again"
                ) from refused
            request_id = None
        else:
            request_id = answer.request_id
        base.wait(self.client, parsed_args, service_id, "update", request_id)
        return base.shown(self.client.service(service_id)[0])

    def _patch(
        self, service_id: str, document: documents.Document
    ) -> tuple[list[documents.Document], str]:
        """Return the patch from the current service to the document, and its entity tag."""
        shown, tag = self.client.service(service_id)
        current = documents.writable(shown)
        return documents.patch(current, documents.written_out(document, current)), tag


class Delete(base.Base):
    """Delete services, also from their providers and DNS."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser, nargs="+")
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete the services."""
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
    """Purge cached content of a service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument(
            "--url",
            metavar="<path>",
            action="append",
            help="Path to purge, such as /images/logo.png (repeat for several paths)",
        )
        what.add_argument(
            "--tag",
            metavar="<tag>",
            action="append",
            help="Purge what the origin has tagged with it (repeat for several tags)",
        )
        what.add_argument(
            "--prefix",
            metavar="<path>",
            help="Purge everything below a directory such as /images/",
        )
        what.add_argument("--host", metavar="<domain>", help="Purge everything of a domain")
        what.add_argument("--all", action="store_true", help="Purge everything")
        parser.add_argument(
            "--soft", action="store_true", help="Mark it for revalidation instead of evicting it"
        )
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Purge the content."""
        service_id = self.client.find_service(parsed_args.service)
        scope = {name: getattr(parsed_args, name) for name in ("url", "tag", "prefix", "host")}
        answer = self.client.purge(service_id, hard=not parsed_args.soft, **scope)
        base.wait(self.client, parsed_args, service_id, "purge", answer.request_id)


class Prewarm(base.Base):
    """Let the providers of a service fetch content, so that clients get it from their caches."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        parser.add_argument(
            "--url",
            metavar="<path>",
            action="append",
            required=True,
            help="Path to fetch, such as /images/logo.png (repeat for several paths)",
        )
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Prewarm the service."""
        service_id = self.client.find_service(parsed_args.service)
        answer = self.client.prewarm(service_id, parsed_args.url)
        base.wait(self.client, parsed_args, service_id, "prewarm", answer.request_id)


class Analytics(base.Base, command.Lister):
    """Show the provider's analytics of a domain."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        parser.add_argument(
            "--domain", metavar="<domain>", help="The domain; default: the service's first one"
        )
        parser.add_argument(
            "--metric",
            metavar="<metric>",
            default="requestCount",
            help="requestCount (default), bandwidthOut, cacheHits, httpResponseCode_1XX to _5XX",
        )
        for name, what in (("start", "Start"), ("end", "End")):
            parser.add_argument(
                f"--{name}",
                metavar="<time>",
                help=f"{what} time in UTC, such as 2030-01-31T00:00:00",
            )
        parser.add_argument(
            "--by-country",
            action="store_true",
            help="Count by the clients' country (ISO 3166-1 code; ZZ is unknown)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Rows:
        """Show the analytics."""
        service_id = self.client.find_service(parsed_args.service)
        domain = parsed_args.domain or self.client.service(service_id)[0]["domains"][0]["domain"]
        query = {
            "domain": domain,
            "metricType": parsed_args.metric,
            "startTime": parsed_args.start,
            "endTime": parsed_args.end,
            "groupBy": "country" if parsed_args.by_country else None,
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
