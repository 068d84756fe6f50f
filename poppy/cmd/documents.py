# SPDX-License-Identifier: Apache-2.0
"""Documents that the commands write to files and read again, one at a time.

YAML: one document behind each ``---``. JSON: one document in each line.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from poppy.common import errors

# Many times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BASE: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BASE):  # type: ignore[misc]
    """Without anchors: what is there twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def add_format(parser: argparse.ArgumentParser) -> None:
    """Let the user choose what is written."""
    parser.add_argument(
        "-f",
        "--format",
        choices=("yaml", "json"),
        default="yaml",
        help="yaml (default), or json: one document in each line",
    )


def add_file(parser: argparse.ArgumentParser) -> None:
    """Let the user name what is read."""
    parser.add_argument("file", metavar="FILE", help="YAML, or JSON lines; - is standard input")


def write(documents: Iterable[Any], form: str) -> int:
    """Print each document as it comes.

    Args:
        form: ``yaml`` or ``json``.

    Returns:
        How many there were.
    """
    count = 0
    for document in documents:
        count += 1
        if form == "json":
            print(json.dumps(document))
        else:
            text = yaml.dump(
                document,
                Dumper=_Dumper,
                explicit_start=True,
                sort_keys=False,
                allow_unicode=True,
                width=1000,
            )
            print(text, end="")
    return count


def read(path: str) -> Iterator[Any]:
    """Each document of a file, as it is asked for; a file that begins with ``{`` is JSON.

    Args:
        path: ``-`` is standard input.

    Raises:
        InvalidRequest: the file can't be read, or is neither YAML nor JSON; says where.
    """
    name = "standard input" if path == "-" else path
    try:
        with contextlib.ExitStack() as stack:
            file = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
            yield from _read(file)
    except OSError as exc:
        raise errors.InvalidRequest(f"{name}: {exc.strerror or exc}") from exc
    except yaml.YAMLError as exc:
        raise errors.InvalidRequest(f"{name} is no YAML: {exc}") from exc
    except (TypeError, ValueError, RecursionError) as exc:
        # Dates, NaN and the like, and what is no JSON at all.
        raise errors.InvalidRequest(f"{name} has what JSON has not: {exc}") from exc


def _read(file: Any) -> Iterator[Any]:
    found: Iterable[Any]
    if file.peek(1)[:1] == b"{":
        found = (json.loads(line) for line in file if line.strip())
    else:
        found = (it for it in yaml.load_all(file, Loader=_LOADER) if it is not None)
    for document in found:
        yield json.loads(json.dumps(document, allow_nan=False))
