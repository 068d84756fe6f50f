# SPDX-License-Identifier: Apache-2.0
"""``cdn service sign-url``."""

import argparse
import datetime
import getpass
import os
import pathlib
import sys
import time

from osc_lib import exceptions

from poppyclient import signing
from poppyclient.commands import base

SECRET = "POPPY_SIGNING_SECRET"  # noqa: S105 - the name of a variable


class SignURL(base.Base):
    """Print a URL with a token, for a service with signed_urls; no server is asked.

    The secret is read from a file, from the environment (POPPY_SIGNING_SECRET), or from the
    terminal.
    """

    auth_required = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "url", metavar="<url>", help="URL, such as https://www.example.com/films/7.mp4"
        )
        parser.add_argument(
            "--key", metavar="<id>", required=True, help="ID of a key of the service"
        )
        parser.add_argument(
            "--secret-file",
            metavar="<file>",
            help="File with the key's secret; - reads standard input",
        )
        until = parser.add_mutually_exclusive_group()
        until.add_argument(
            "--expires-in",
            metavar="<seconds>",
            type=base.seconds,
            default=3600.0,
            help="How long it is valid (default: 3600)",
        )
        until.add_argument(
            "--expires",
            metavar="<time>",
            type=_moment,
            help="When it expires, such as 2030-01-31T00:00:00Z; UTC without an offset",
        )
        parser.add_argument(
            "--prefix", metavar="<path>", help="Sign all paths that begin with this one"
        )
        parser.add_argument(
            "--client-ip", metavar="<address>", help="The only address that may use it"
        )
        parser.add_argument(
            "--query",
            metavar="<name>",
            default="token",
            help="Name of the parameter, as in signed_urls (default: token)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print the URL."""
        try:
            signed = signing.sign(
                parsed_args.url,
                parsed_args.key,
                _secret(parsed_args.secret_file),
                parsed_args.expires or int(time.time() + parsed_args.expires_in),
                prefix=parsed_args.prefix,
                client_ip=parsed_args.client_ip,
                name=parsed_args.query,
            )
        except ValueError as exc:
            raise exceptions.CommandError(str(exc)) from exc
        print(signed, file=self.app.stdout)


def _secret(file: str | None) -> str:
    if file is None:
        return os.environ.get(SECRET) or getpass.getpass("Secret: ")
    try:
        text = sys.stdin.read() if file == "-" else pathlib.Path(file).read_text("utf-8")
    except (OSError, UnicodeError) as exc:
        raise exceptions.CommandError(f"The secret can't be read from {file}") from exc
    return text.rstrip("\r\n")


def _moment(text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
