# SPDX-License-Identifier: Apache-2.0
"""Base classes, arguments and output helpers of the commands."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from cliff import columns
from osc_lib import exceptions
from osc_lib.command import command

from poppyclient import api, documents, waiting

_TIMEOUT = 3600.0


class _Texts(list[str]):
    """A list of strings; as text, they are separated by commas."""

    def __str__(self) -> str:
        return ", ".join(map(str, self))


class _JSON:
    """A value that is JSON as text."""

    def __str__(self) -> str:
        return json.dumps(self)


class _Object(_JSON, dict[str, Any]):
    """An object."""


class _Objects(_JSON, list[Any]):
    """A list."""


# cliff converts values to text for --format value, csv and shell, and passes them to PyYAML.
yaml.SafeDumper.add_representer(_Texts, yaml.SafeDumper.represent_list)
yaml.SafeDumper.add_representer(_Objects, yaml.SafeDumper.represent_list)
yaml.SafeDumper.add_representer(_Object, yaml.SafeDumper.represent_dict)


class Nested(columns.FormattableColumn):
    """A list or an object: YAML in a table, JSON in text, unchanged in JSON and YAML."""

    def human_readable(self) -> str:
        return documents.dump(self._value).rstrip() if self._value else ""

    def machine_readable(self) -> Any:
        return _Object(self._value) if isinstance(self._value, dict) else _Objects(self._value)


class Lines(columns.FormattableColumn):
    """A list of strings: one per line in a table, separated by commas in text."""

    def human_readable(self) -> str:
        return "\n".join(str(entry) for entry in self._value)

    def machine_readable(self) -> Any:
        return _Texts(self._value)


class Base(command.Command):
    """Base of all commands."""

    @property
    def client(self) -> api.Client:
        """The API client of this run."""
        client: api.Client = self.app.client_manager.cdn
        return client


class FromFile(Base):
    """A command that reads a document; ``-f`` is the file, not the output format."""

    conflict_handler = "resolve"
    file_is_required = True

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``--file``."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "-f",
            "--file",
            metavar="<file>",
            required=self.file_is_required,
            help="YAML or JSON file with the service document; - reads standard input",
        )
        return parser


def add_service(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add the argument that selects a service."""
    parser.add_argument(
        "service", metavar="<service>", nargs=nargs, help="ID, domain or name of the service"
    )


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add ``--wait`` and ``--timeout``."""
    parser.add_argument(
        "--wait", action="store_true", help="Wait until it is done and report progress"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=_TIMEOUT,
        metavar="<seconds>",
        help=f"Maximum time to wait (default: {_TIMEOUT:g})",
    )


def seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number


def positive(text: str) -> int:
    """Parse a positive integer."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not positive")
    return number


def wait(
    client: api.Client,
    args: argparse.Namespace,
    service_id: str,
    action: str,
    request_id: str | None,
) -> None:
    """Wait if ``--wait`` was given; see :func:`waiting.follow` for the arguments."""
    if args.wait:
        waiting.follow(client, service_id, action, request_id, args.timeout)


def shown(document: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
    """Format a service for ShowOne, with its access URLs instead of all links."""
    row = {key: value for key, value in document.items() if key != "links"}
    row["access_urls"] = access_urls(document)
    row["errors"] = [entry["message"] for entry in document["errors"]]
    return fields(row)


def fields(row: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any]]:
    """Format a document for ShowOne."""
    return tuple(row), tuple(_cell(value) for value in row.values())


def access_urls(document: Mapping[str, Any]) -> list[str]:
    """Return the access URLs, the targets of the domains' CNAME records."""
    return [link["href"] for link in document["links"] if link["rel"] == "access_url"]


def _cell(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return Lines(value)
    return Nested(value) if isinstance(value, list | dict) else value


def complain(failures: Iterable[str], total: int) -> None:
    """Report the failed ones of ``total`` requests.

    Raises:
        CommandError: at least one failed.
    """
    texts = list(failures)
    if texts and total == 1:
        raise exceptions.CommandError(texts[0])
    if texts:
        raise exceptions.CommandError("\n".join((*texts, f"{len(texts)} of {total} failed")))
