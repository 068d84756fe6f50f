# SPDX-License-Identifier: Apache-2.0
"""Finding due operations: follow the due index, and delete stale hints on the way."""

import datetime
import threading
from collections.abc import Mapping, Sequence

from oslo_log import log

from poppy.common.chunks import chunks
from poppy.model import fairness
from poppy.model.operations import Operation, State
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.due_index import DueIndex, Hint
from poppy.storage.cassandra.due_index_copy import DueIndexCopy
from poppy.storage.cassandra.partition import GRACE, Held, best_effort
from poppy.storage.cassandra.projections import Projections
from poppy.storage.cassandra.session import Database, Row

LOG = log.getLogger(__name__)

_SPARE = 50
"""How many hints to read beyond the wanted number, because some may be stale."""

_REGION_GRACE = 86400.0
"""Seconds after which other regions settle hints that a region has not settled itself."""


class DueIndexReader:
    """Finds due operations."""

    def __init__(self, database: Database, due_index: DueIndex, projections: Projections) -> None:
        self._database = database
        self._due_index = due_index
        self._projections = projections
        self._copy = DueIndexCopy(due_index)
        self._lock = threading.Lock()

    def find(
        self, now: datetime.datetime, limit: int, had: Mapping[str, int]
    ) -> Sequence[Operation]:
        """Follow hints in fair order until enough operations are found.

        Raises:
            Unavailable: the cluster does not answer.
        """
        # Two hints may point to a running operation.
        due: dict[str, Operation] = {}
        with self._lock:
            for hints in chunks(self._copy.due(codec.to_number(now), had), limit + _SPARE):
                due.update((it.operation_id, it) for it in self._look(hints, now))
                if len(due) >= limit:
                    break
        found = sorted(due.values(), key=lambda it: (it.next_attempt_at, it.operation_id))
        return list(fairness.ordered(found, _place, had))[:limit]

    def _look(self, hints: Sequence[Hint], now: datetime.datetime) -> Sequence[Operation]:
        """Return the operations of hints, if they are due as the hints say."""
        rows = self._database.read_each(
            (partition.READ_OPERATION, hint.key._asdict()) for hint in hints
        )
        due = []
        for hint, found in zip(hints, rows, strict=True):
            held = _held(hint, found)
            if held is not None and _is_meant(hint, held):
                due.append(held.operation)
            elif held is not None and _has_begun(held):
                # This hint may stand in for the operation's own one.
                lease = held.operation.next_attempt_at
                if lease is not None and lease <= now:
                    due.append(held.operation)
            else:
                self._copy.discard(hint)
                if self._is_left(hint):
                    self._settle(hint)
        return due

    def _is_left(self, hint: Hint) -> bool:
        # A write of another region may arrive later than its hint.
        patience = GRACE if hint.region == self._database.region else _REGION_GRACE
        return codec.now() - hint.written_at > patience * 1_000_000

    def _settle(self, hint: Hint) -> None:
        """Finish the work of a process that did not get to drop its hint."""
        with best_effort(LOG, "Settling a stale hint"):
            found = partition.read(self._database, hint.key, self._database.levels.operations)
            self._projections.refresh(found)
            if not partition.fence(self._database, found, hint.clock):
                return
            # The serial read may have completed a write with an unknown outcome, which no one had
            # seen before. Older writers can't write any more.
            held = _held(hint, self._database.read(partition.READ_OPERATION, hint.key._asdict()))
            if held is None or not (_is_meant(hint, held) or _has_begun(held)):
                self._due_index.forget(hint)


def _held(hint: Hint, found: Sequence[Row]) -> Held | None:
    if not found:
        return None
    return partition.to_held(hint.key.project_id, hint.key.service_id, found[0])


def _is_meant(hint: Hint, held: Held) -> bool:
    due_at = codec.optional_number(held.operation.next_attempt_at)
    return not held.operation.state.finished and (due_at, held.slot) == (hint.due_at, hint.slot)


def _place(operation: Operation) -> fairness.Place:
    return fairness.Place(operation.project_id, operation.priority)


def _has_begun(held: Held) -> bool:
    return held.slot is None and held.operation.state is State.RUNNING
