# SPDX-License-Identifier: Apache-2.0
"""Split items into lists of limited length."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists of at most ``size``, lazily."""
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk
