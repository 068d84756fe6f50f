# SPDX-License-Identifier: Apache-2.0
"""List facts about vendors that are due for a check; see ``tools/vendor-facts``."""

import datetime
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

#: How long a check of a fact is valid.
VALID = datetime.timedelta(days=183)


class Fact(NamedTuple):
    """A row of a page's table.

    Attributes:
        vendor: the name of the page.
        text: what the driver relies on.
        source: where the vendor says so.
        checked: the date of the last check.
    """

    vendor: str
    text: str
    source: str
    checked: datetime.date


def read(directory: Path) -> Iterator[Fact]:
    """Yield the facts of all pages.

    Raises:
        ValueError: a row has not three cells, or no date in the last one; the message has it.
    """
    for page in sorted(directory.glob("*.rst")):
        _intro, _head, *rows = re.split(r"^   \* - ", page.read_text("utf-8"), flags=re.MULTILINE)
        for row in rows:
            cells = [" ".join(cell.split()) for cell in re.split(r"\n     - ", row)]
            try:
                text, source, checked = cells
                yield Fact(page.stem, text, source, datetime.date.fromisoformat(checked))
            except ValueError as exc:
                raise ValueError(f"{page}: {cells[0]}: {exc}") from exc


def due(facts: Iterator[Fact], today: datetime.date) -> list[Fact]:
    """Return the facts whose last check is too old, the oldest first."""
    return sorted((it for it in facts if today - it.checked > VALID), key=lambda it: it.checked)


def main(argv: Sequence[str]) -> int:
    """Print the facts that are due, and return 1 if there are any."""
    found = due(read(Path(argv[0])), datetime.datetime.now(datetime.UTC).date())
    for fact in found:
        print(f"{fact.checked} {fact.vendor}: {fact.text} ({fact.source})")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
