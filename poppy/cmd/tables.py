# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: tables or JSON."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

#: The maximum width of a column in characters; the last one is unlimited.
WIDEST = 60


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``."""
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="default: table"
    )


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: str) -> None:
    """Print rows.

    Args:
        rows: documents; JSON shows all fields.
        columns: the fields that a table shows.
        form: ``table`` or ``json``.
    """
    if form == "json":
        print(json.dumps(list(rows), indent=2))
        return
    lines = [[_text(row[column], column == columns[-1]) for column in columns] for row in rows]
    widths = [
        max(len(cell) for cell in (column, *(line[index] for line in lines)))
        for index, column in enumerate(columns)
    ]
    for line in (list(columns), ["-" * width for width in widths], *lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def show_one(document: Mapping[str, Any], form: str) -> None:
    """Print one document; a table has one field per line."""
    if form == "json":
        print(json.dumps(document, indent=2))
        return
    width = max(map(len, document))
    for name, value in document.items():
        if isinstance(value, list):
            print(f"{name.ljust(width)}  {'' if value else '-'}".rstrip())
            for entry in value:
                print(f"{'':{width}}  - {_inline(entry)}")
        else:
            print(f"{name.ljust(width)}  {_text(value, True)}")


def _inline(entry: Mapping[str, Any]) -> str:
    """Format the non-empty fields of an entry in one line."""
    said = {name: value for name, value in entry.items() if value not in (None, [], {})}
    return ", ".join(f"{name}: {_text(value, True)}" for name, value in said.items())


def _text(value: Any, whole: bool) -> str:
    if isinstance(value, (list, dict)):
        value = json.dumps(value)
    text = "-" if value is None else " ".join(str(value).split())
    return text if whole or len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
