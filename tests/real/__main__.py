# SPDX-License-Identifier: Apache-2.0
"""Real servers for experiments by hand; run by ``tools/lab``."""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.real.lab import PARTS, Lab, LabError, Record


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    lab = Lab(options.state, options.watch)
    if options.verb == "keep":
        lab.keep(options.names[0])
        return 0
    if options.verb == "up":
        return _up(lab, options.names)
    if options.verb == "down":
        return _down(lab, options.names or list(PARTS))
    for name in options.names or PARTS:
        print(f"{name:12} {lab.status(name)}")
    _tell(lab.running(), options.names or PARTS)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/lab",
        description="Start real servers on loopback, in the background, and stop them.",
        epilog="What they keep is gone when they are down.",
    )
    parser.add_argument("--state", type=Path, default=Path(".lab"), help=argparse.SUPPRESS)
    parser.add_argument("--while", type=int, dest="watch", help=argparse.SUPPRESS)
    # "keep" is internal.
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="up|status|down")
    for verb, number, text in (
        ("up", "+", "start servers, wait until they answer, and tell how to use them"),
        ("status", "*", "tell what runs and how to use it"),
        ("down", "*", "stop servers (by default all) and remove what they kept"),
        ("keep", 1, None),
    ):
        command = verbs.add_parser(verb, help=text) if text else verbs.add_parser(verb)
        command.add_argument(
            "names", nargs=number, type=_name, metavar="NAME", help=", ".join(PARTS)
        )
    return parser


def _name(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are {', '.join(PARTS)}")
    return text


def _up(lab: Lab, names: list[str]) -> int:
    failed = 0
    for name in names:
        begun = time.monotonic()
        try:
            lab.up(name)
        except LabError as exc:
            print(f"{name} did not start: {exc}", file=sys.stderr)
            failed = 1
        else:
            print(f"{name:12} running ({time.monotonic() - begun:.1f} s)", flush=True)
    _tell(lab.running(), names)
    return failed


def _down(lab: Lab, names: list[str]) -> int:
    for name in names:
        if lab.down(name):
            print(f"{name:12} stopped")
    return 0


def _tell(running: dict[str, Record], names: Iterable[str]) -> None:
    """Print where servers are, and the options for poppy.conf."""
    records = {name: running[name] for name in names if name in running}
    groups: dict[str, dict[str, object]] = {}
    for name, record in records.items():
        print()
        for key, value in record["values"].items():
            print(f"{name} {key}: {value}")
        for group, values in record["conf"].items():
            groups.setdefault(group, {}).update(values)
    if groups:
        print("\nIn poppy.conf:")
    for group, values in sorted(groups.items()):
        print(f"\n[{group}]")
        for key, value in values.items():
            print(f"{key} = {value}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
