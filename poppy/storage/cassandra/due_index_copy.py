# SPDX-License-Identifier: Apache-2.0
"""A copy of the due index in memory: waiting operations in fair order.

To take turns between projects, a dispatcher must know everything that waits, in slots of any age.
A slot that is over can only lose hints. So a partition is read repeatedly while hints may still be
added, and rarely after that. A hint is dropped from the copy once the partition shows it to be
stale.
"""

import time
from collections.abc import Iterator, Mapping

from poppy.model import fairness
from poppy.model.operations import Priority
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.due_index import MARGIN, WIDTH, DueIndex, Hint, Partition

PAGE = 1000
"""How many hints of one partition are kept at a time."""

MOST = 20_000
"""Roughly how many hints are kept in total; bulk work beyond that is left for later."""

_CLOSING = 1.0
"""Seconds for which a copy is valid if its slot is over but a slow writer may still use it."""

_OVER = 15.0
"""Seconds for which a copy is valid if its slot is over for all writers."""

_AT_A_TIME = 32


class _Copy:
    """A partition as last read."""

    def __init__(self, hints: list[Hint]) -> None:
        # An operation may have several hints, some of them stale.
        self.hints = {(hint.due_at, hint.key): hint for hint in hints}
        self.read_at = time.monotonic()
        self.is_part = len(hints) >= PAGE
        self.is_empty = not hints

    def is_stale(self, slot: int) -> bool:
        """Whether the partition must be read again."""
        if self.is_part and len(self.hints) < PAGE // 2:
            return True
        age = time.monotonic() - self.read_at
        over = codec.now() - slot - WIDTH
        if over < WIDTH:
            return True
        if over < MARGIN:
            return age >= _CLOSING
        # Read an empty partition once more, in order to leave it behind.
        return self.is_empty or age >= _OVER


class DueIndexCopy:
    """A copy of the due index, for one dispatcher."""

    def __init__(self, due_index: DueIndex) -> None:
        self._due_index = due_index
        self._copies: dict[tuple[int, int], _Copy] = {}

    def due(self, now: int, had: Mapping[str, int]) -> Iterator[Hint]:
        """Iterate over due hints in the order of :mod:`poppy.model.fairness`.

        Args:
            had: how many turns each project has already had.

        Raises:
            Unavailable: the cluster does not answer.
        """
        self._refresh(now)
        found = [
            hint
            for copy in self._copies.values()
            for hint in copy.hints.values()
            if hint.due_at <= now
        ]
        found.sort(key=lambda hint: (hint.due_at, hint.key.operation_id))
        return fairness.ordered(found, _place, had)

    def discard(self, hint: Hint) -> None:
        """Drop a stale hint until its partition is read again."""
        copy = self._copies.get((hint.slot, hint.shard))
        if copy is not None:
            copy.hints.pop((hint.due_at, hint.key), None)

    def _refresh(self, now: int) -> None:
        index = self._due_index.index(now)
        there = {(it.slot, it.shard) for it in index}
        self._copies = {key: copy for key, copy in self._copies.items() if key in there}
        stale = [it for it in index if self._is_stale(it)]
        stale.sort(key=lambda it: (it.priority is Priority.BULK, it.slot))
        for start in range(0, len(stale), _AT_A_TIME):
            if sum(len(copy.hints) for copy in self._copies.values()) > MOST:
                break
            self._read(stale[start : start + _AT_A_TIME], now)

    def _read(self, partitions: list[Partition], now: int) -> None:
        empty = []
        for it, hints in zip(partitions, self._due_index.read(partitions, PAGE), strict=True):
            self._copies[it.slot, it.shard] = _Copy(hints)
            if not hints:
                empty.append(it)
        self._due_index.leave(empty, now)

    def _is_stale(self, partition: Partition) -> bool:
        copy = self._copies.get((partition.slot, partition.shard))
        return copy is None or copy.is_stale(partition.slot)


def _place(hint: Hint) -> fairness.Place:
    return fairness.Place(hint.key.project_id, Partition(hint.slot, hint.shard).priority)
