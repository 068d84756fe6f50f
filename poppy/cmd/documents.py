# SPDX-License-Identifier: Apache-2.0
"""Read and write streams of documents, one at a time.

YAML: one document after each ``---``. JSON: one document per line.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from poppy.common import errors

# The C implementation is many times faster; PyYAML can be built without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BASE: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BASE):  # type: ignore[misc]
    """A dumper without anchors: it writes repeated values in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, for the output of :func:`write`."""
    parser.add_argument(
        "-f",
        "--format",
        choices=("yaml", "json"),
        default="yaml",
        help="yaml (default), or json: one document per line",
    )


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add ``FILE``, the input of :func:`read`."""
    parser.add_argument("file", metavar="FILE", help="YAML or JSON lines; - reads standard input")


def write(documents: Iterable[Any], form: str) -> int:
    """Print each document as it is produced.

    Args:
        form: ``yaml`` or ``json``.

    Returns:
        The number of documents.
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
    """Yield the documents of a file lazily; a file that begins with ``{`` is JSON lines.

    Args:
        path: the file; ``-`` is standard input.

    Raises:
        InvalidRequest: the file can't be read, or is neither YAML nor JSON; the message names it.
    """
    name = "standard input" if path == "-" else path
    try:
        with contextlib.ExitStack() as stack:
            file = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
            yield from _read(file)
    except OSError as exc:
        raise errors.InvalidRequest(f"{name}: {exc.strerror or exc}") from exc
    except yaml.YAMLError as exc:
        raise errors.InvalidRequest(f"{name} is not valid YAML: {exc}") from exc
    except (TypeError, ValueError, RecursionError) as exc:
        # YAML values without a JSON form, such as dates and NaN, or malformed JSON.
        raise errors.InvalidRequest(f"{name} has a value that JSON can't hold: {exc}") from exc


def _read(file: Any) -> Iterator[Any]:
    found: Iterable[Any]
    if file.peek(1)[:1] == b"{":
        found = (json.loads(line) for line in file if line.strip())
    else:
        found = (it for it in yaml.load_all(file, Loader=_LOADER) if it is not None)
    for document in found:
        yield json.loads(json.dumps(document, allow_nan=False))
