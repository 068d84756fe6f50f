# SPDX-License-Identifier: Apache-2.0
"""``cdn service dns``."""

import argparse
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osc_lib.command import command

from poppyclient import records
from poppyclient.commands import base

_COLUMNS = ("Domain", "Purpose", "Type", "Name", "Value", "Provider", "Status", "Checked At")


class Records(base.Base, command.Lister):
    """List the DNS records that a service needs from you."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        base.add_service(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check",
            action="store_true",
            help="Look the records up from here, and exit with 1 unless all are right",
        )
        what.add_argument(
            "--zone-file",
            action="store_true",
            help="Print the records as lines of a zone file (RFC 1035)",
        )
        parser.add_argument(
            "--nameserver",
            metavar="<address>",
            help="With --check, ask the resolver at this <address> or <address>:<port>; default: "
            "the system's",
        )
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Print the records.

        Returns:
            The exit code: 1 if ``--check`` was given and a record is not right.
        """
        if parsed_args.zone_file:
            for line in records.zone_lines(self._read(parsed_args)):
                print(line, file=self.app.stdout)
            return 0
        self._are_right = True
        super().run(parsed_args)
        return int(parsed_args.check and not self._are_right)

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """List the records."""
        found = self._read(parsed_args)
        if parsed_args.check:
            lookup = records.Lookup(parsed_args.nameserver)
            found = [dataclasses.replace(it, status=lookup.status(it)) for it in found]
            self._are_right = all(record.status == records.OK for record in found)
        return _COLUMNS, [
            (
                record.domain,
                record.purpose,
                record.type,
                record.name,
                record.value,
                record.provider or "",
                record.status,
                "now" if parsed_args.check else record.checked_at or "never",
            )
            for record in found
        ]

    def _read(self, parsed_args: argparse.Namespace) -> list[records.Record]:
        service_id = self.client.find_service(parsed_args.service)
        service: Mapping[str, Any] = self.client.service(service_id)[0]
        return [records.Record(**entry) for entry in service.get("dns_records", ())]
