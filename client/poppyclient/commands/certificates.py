# SPDX-License-Identifier: Apache-2.0
"""``cdn service certificate ...``: certificates that you bring."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from poppyclient.commands import base

#: The fields of a certificate, and their titles.
_FIELDS = {"domain": "Domain", "names": "Names", "expires_at": "Expires", "fingerprint": "SHA-256"}


class Set(base.Base):
    """Set the custom certificate of a domain."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = _with_domain(super().get_parser(prog_name))
        parser.add_argument(
            "--chain",
            metavar="<file>",
            required=True,
            help="File with the certificate and its intermediates in PEM",
        )
        parser.add_argument(
            "--key", metavar="<file>", required=True, help="File with the private key in PEM"
        )
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Send the certificate and its key."""
        chain, key = _read(parsed_args.chain), _read(parsed_args.key)
        service_id = self.client.find_service(parsed_args.service)
        answer = self.client.set_certificate(service_id, parsed_args.domain, chain, key)
        base.wait(self.client, parsed_args, service_id, "update", answer.request_id)


class Show(base.Base, command.ShowOne):
    """Show the custom certificate of a domain."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        return _with_domain(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Show it."""
        service_id = self.client.find_service(parsed_args.service)
        found = self.client.certificate(service_id, parsed_args.domain)
        values = [base.Lines(it) if isinstance(it, list) else it for it in map(found.get, _FIELDS)]
        return tuple(_FIELDS.values()), values


class Delete(base.Base):
    """Delete the custom certificate of a domain."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = _with_domain(super().get_parser(prog_name))
        base.add_wait(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Delete it."""
        service_id = self.client.find_service(parsed_args.service)
        answer = self.client.delete_certificate(service_id, parsed_args.domain)
        base.wait(self.client, parsed_args, service_id, "update", answer.request_id)


def _with_domain(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    base.add_service(parser)
    parser.add_argument(
        "domain", metavar="<domain>", help="A domain of the service, with a custom certificate"
    )
    return parser


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except (OSError, ValueError) as exc:
        raise exceptions.CommandError(f"Can't read {path}: {exc}") from exc
