# SPDX-License-Identifier: Apache-2.0
"""Read JSON objects field by field, with messages that name the field."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class Reader:
    """Reads a JSON object. Each method raises ValueError for an invalid field."""

    def __init__(self, document: Any) -> None:
        if not isinstance(document, Mapping):
            raise ValueError(f"{document!r:.80} is no JSON object")
        self._document = document

    def field(self, name: str, kind: type[T]) -> T:
        """Return a field of a JSON type."""
        value = self._document.get(name)
        # In Python, but not in JSON, a boolean is an integer.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{name} is {value!r:.80}")
        return value

    def number(self, name: str, least: int, most: int) -> int:
        """Return an integer in these bounds."""
        value = self.field(name, int)
        if not least <= value <= most:
            raise ValueError(f"{name} is {value}, not {least} to {most}")
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        """Return a text that a pattern matches as a whole."""
        try:
            return matching(self.field(name, str), pattern)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from exc

    def each(self, name: str, most: int, read: Callable[[Any], T]) -> list[T]:
        """Return the entries of a list, each read by a function."""
        values = self.field(name, list)
        if len(values) > most:
            raise ValueError(f"{name} has {len(values)} entries, more than {most}")
        try:
            return [read(value) for value in values]
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from exc

    def any(self, name: str, most: int, read: Callable[[Any], T]) -> list[T]:
        """Do as :meth:`each`, but the field may be missing."""
        return self.each(name, most, read) if name in self._document else []


def matching(value: Any, pattern: re.Pattern[str]) -> str:
    """Return a text that a pattern matches as a whole.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not allowed")
    return value
