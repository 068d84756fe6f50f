# SPDX-License-Identifier: Apache-2.0
"""The due index: hints of when to look at an operation, in small partitions by time.

A queue in Cassandra drowns in the tombstones of consumed entries. Here hints decide nothing: a
hint says *look at this operation at that time*, and the reader checks the service's partition. So
a hint may be read twice, late, or after its deletion, and its tombstones are kept for hours
instead of days. Each partition covers ten seconds and one shard. Once its time has passed and it
is empty, it is left behind for good. A reader uses an index (hours, then slots) of only those
partitions that have had a hint and are not yet left behind.

Every unfinished operation has a hint. A hint is written before the service's partition, and the
superseded hint is deleted some time later. An operation that begins gets no new hint: the previous
one stays. It comes too early, so it is checked repeatedly until the run first renews its lease or
the lease has lapsed. So a quick operation costs no hint at all. The rules behind this:

* A hint is written to a slot that is not over (the current one, for a due time in the past), so
  that the index of a past slot does not come back. A slot is left behind :data:`MARGIN` after its
  end. A writer that needs more than half of that between reading the clock and storing its hint
  writes another hint. So servers' clocks must agree to half a minute.
* A hint that matches no service partition is dropped only behind a fence (see :mod:`.partition`).
* Partitions are separated by priority, and within that by project. So a project that writes many
  hints does not fill the partitions of smaller projects in other shards, or of more urgent work.
* A region sees its own writes at once. Others see them later, or much later when the network is
  down. So index rows have a region, and only its dispatchers leave them behind. The dispatchers of
  all regions read all hints, and check past empty partitions less often.
"""

import collections
import itertools
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from poppy.model.operations import Operation, OperationKey, Priority
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.partition import Held
from poppy.storage.cassandra.session import Call, Database
from poppy.storage.cassandra.states import States
from poppy.storage.cassandra.views import View

WIDTH = 10_000_000
"""The width of a slot in microseconds."""

HOUR = 3_600_000_000
MARGIN = 60_000_000
SHARDS = 4
"""Partitions of a slot per priority."""

_EARLIER = 4
"""Lower partition numbers are those of versions without priorities."""

_REMEMBERED = 4096
_WAITING = 50
"""How many deletions to collect for a later write."""
_RECHECK = 60.0
"""Seconds between checks of a past empty partition."""

ROW = View(
    "due",
    ("slot", "shard"),
    ("due_at", "project_id", "service_id", "operation_id"),
    ("region", "written_at"),
)
PUT_SLOT = (
    "INSERT INTO due_slots (hour, slot, shard, region) VALUES (:hour, :slot, :shard, :region)"
)
DELETE_SLOT = (
    "DELETE FROM due_slots WHERE hour = :hour AND slot = :slot AND shard = :shard "
    "AND region = :region"
)
PUT_HOUR = "INSERT INTO due_hours (shelf, hour, region) VALUES (0, :hour, :region)"
DELETE_HOUR = "DELETE FROM due_hours WHERE shelf = 0 AND hour = :hour AND region = :region"
HOURS = "SELECT hour, region FROM due_hours WHERE shelf = 0 AND hour <= :now"
SLOTS = "SELECT slot, shard, region FROM due_slots WHERE hour = :hour AND slot <= :now"
HINTS = (
    "SELECT due_at, project_id, service_id, operation_id, region, written_at, "
    "WRITETIME(written_at) FROM due WHERE slot = :slot AND shard = :shard LIMIT :page"
)


class Partition(NamedTuple):
    """A partition that has had hints.

    Attributes:
        ours: whether this region has written some of them.
    """

    slot: int
    shard: int
    ours: bool = True

    @property
    def priority(self) -> Priority:
        """The priority of the operations of its hints."""
        if self.shard < _EARLIER:
            return Priority.TENANT
        return Priority(min((self.shard - _EARLIER) // SHARDS, max(Priority)))


class Hint(NamedTuple):
    """A hint as read."""

    slot: int
    shard: int
    due_at: int
    key: OperationKey
    region: str
    written_at: int
    clock: int


class DueIndex:
    """Writes and reads hints, and writes the projection of operations by state along with them."""

    def __init__(self, database: Database, states: States) -> None:
        self._database = database
        self._states = states
        # Index rows that this process has written. It does not delete them while it may write
        # hints to their slots, see above.
        self._indexed: set[tuple[int, int]] = set()
        # When past partitions were found empty.
        self._passed: dict[tuple[int, int], float] = {}
        # Deletions to send along with the next write.
        self._dropped: collections.deque[Call] = collections.deque()

    def put(
        self, operations: Iterable[Operation], clock: int, along: Sequence[Call] = ()
    ) -> list[Held]:
        """Write hints of unfinished operations, before the service's partition is written.

        Args:
            clock: the clock of the coming service partition.
            along: other writes that must happen before the service's partition is written.

        Returns:
            The operations to store; finished ones have no due time.
        """
        given = list(operations)
        while True:
            begun = time.monotonic()
            moment = codec.now()
            held = [_hold(operation, moment) for operation in given]
            self._index(held)
            region = self._database.region if held else ""
            rows = self._states.puts((it.operation for it in held), clock)
            self._database.write([*_puts(held, clock, moment, region), *rows, *along])
            if time.monotonic() - begun < MARGIN / 2_000_000:
                return held

    def drop(self, gone: Iterable[Held], kept: Iterable[Held], clock: int) -> None:
        """Delete hints that the service's partition has superseded and that are not written again.

        Args:
            clock: the clock of that service partition.
        """
        gone, kept = list(gone), list(kept)
        rows = self._states.drops(gone, kept, clock)
        self._database.write([*_deletions(gone, kept, clock), *rows])

    def drop_later(self, gone: Iterable[Held], kept: Iterable[Held], clock: int) -> None:
        """Like :meth:`drop`, but with the next write, at the latest in :meth:`index`."""
        gone, kept = list(gone), list(kept)
        self.write_later(_deletions(gone, kept, clock))
        self.begun(gone, kept, clock)

    def begun(self, gone: Iterable[Held], kept: Iterable[Held], clock: int) -> None:
        """Like :meth:`drop_later`, but keep the hints, which still point to the new run."""
        self.write_later(self._states.drops(gone, kept, clock))

    def write_later(self, calls: Iterable[Call]) -> None:
        """Queue writes that are not urgent, to be sent with the next write."""
        self._dropped.extend(calls)
        if len(self._dropped) >= _WAITING:
            self.flush()

    def flush(self) -> None:
        """Send the queued writes."""
        self._database.write(self.dropped())

    def dropped(self) -> Iterator[Call]:
        """Take the queued writes, to send them along."""
        while self._dropped:
            try:
                yield self._dropped.popleft()
            except IndexError:  # another thread was faster
                return

    def forget(self, hint: Hint) -> None:
        """Delete a hint as read. If it has been written again, its clock is later and it stays."""
        row = {**hint._asdict(), **hint.key._asdict()}
        self._database.write([ROW.drop(row, hint.clock)])

    def pages(self, now: int, page: int) -> Iterator[list[Hint]]:
        """Iterate over due hints, one slot at a time, oldest slot first.

        Past empty partitions are left behind on the way.
        """
        for _slot, group in itertools.groupby(self.index(now), lambda it: it.slot):
            partitions = list(group)
            pages = self.read(partitions, page)
            self.leave([it for it, hints in zip(partitions, pages, strict=True) if not hints], now)
            found = [hint for hints in pages for hint in hints if hint.due_at <= now]
            found.sort(key=lambda hint: (hint.due_at, hint.key.operation_id))
            yield found

    def index(self, now: int) -> list[Partition]:
        """Return the partitions that may have due hints, oldest first."""
        self.flush()
        region = self._database.region
        over = min(now, codec.now()) - MARGIN
        earliest = time.monotonic() - _RECHECK
        found: list[Partition] = []
        hours = self._database.read(HOURS, {"now": now})
        for hour in sorted({row[0] for row in hours}):
            index = self._database.read(SLOTS, {"hour": hour, "now": now})
            ours = {(slot, shard) for slot, shard, owner in index if owner == region}
            found.extend(
                Partition(*it, it in ours)
                for it in sorted({(slot, shard) for slot, shard, _region in index})
                if self._passed.get(it, 0.0) <= earliest
            )
            if not ours and hour + HOUR < over and [hour, region] in map(list, hours):
                self._database.write([(DELETE_HOUR, {"hour": hour, "region": region})])
        return found

    def read(self, partitions: Sequence[Partition], page: int) -> list[list[Hint]]:
        """Return the first hints of each partition, in order of time."""
        pages = self._database.read_each(
            (HINTS, {"slot": it.slot, "shard": it.shard, "page": page}) for it in partitions
        )
        return [
            [
                Hint(it.slot, it.shard, due_at, OperationKey(project, service, operation), *more)
                for due_at, project, service, operation, *more in rows
            ]
            for it, rows in zip(partitions, pages, strict=True)
        ]

    def leave(self, empty: Sequence[Partition], now: int) -> None:
        """Leave past partitions behind; for good if they are this region's."""
        over = min(now, codec.now()) - MARGIN
        left = [it for it in empty if it.slot + WIDTH < over]
        region = self._database.region
        self._database.write(
            (
                DELETE_SLOT,
                {"hour": _hour(it.slot), "slot": it.slot, "shard": it.shard, "region": region},
            )
            for it in left
            if it.ours
        )
        if len(self._passed) > 16 * _REMEMBERED:
            self._passed.clear()
        others = ((it.slot, it.shard) for it in left if not it.ours)
        self._passed.update((it, time.monotonic()) for it in others)

    def _index(self, held: Sequence[Held]) -> None:
        entries = {(it.slot, _shard(it.operation)) for it in held if it.slot is not None}
        calls: list[Call] = []
        for slot, shard in entries - self._indexed:
            row = {"hour": _hour(slot), "region": self._database.region}
            calls.append((PUT_HOUR, row))
            calls.append((PUT_SLOT, {**row, "slot": slot, "shard": shard}))
        self._database.write(calls)
        if len(self._indexed) > _REMEMBERED:
            self._indexed.clear()
        self._indexed |= entries


def _hold(operation: Operation, moment: int) -> Held:
    if operation.is_held:
        # A superseded run's lease needs no hint: only the waiting delete cares when it lapses.
        return Held(operation, None)
    if operation.state.finished or operation.next_attempt_at is None:
        return Held(replace(operation, next_attempt_at=None), None)
    due_at = max(codec.to_number(operation.next_attempt_at), moment)
    return Held(operation, due_at - due_at % WIDTH)


def _deletions(gone: Iterable[Held], kept: Iterable[Held], clock: int) -> Iterator[Call]:
    staying = {_identify(held) for held in kept}
    for held in gone:
        hinted = held.before or held
        if hinted.slot is not None and _identify(hinted) not in staying:
            yield ROW.drop(_parameters(hinted), clock)


def _puts(held: Iterable[Held], clock: int, moment: int, region: str) -> Iterator[Call]:
    written = {"written_at": moment, "region": region}
    for it in held:
        if it.slot is not None:
            yield ROW.add({**_parameters(it), **written}, clock)


def _parameters(held: Held) -> dict[str, object]:
    return {
        "slot": held.slot,
        "shard": _shard(held.operation),
        "due_at": codec.optional_number(held.operation.next_attempt_at),
        **held.operation.key._asdict(),
    }


def _identify(held: Held) -> tuple[str, int | None, object]:
    return held.operation.operation_id, held.slot, held.operation.next_attempt_at


def _shard(operation: Operation) -> int:
    spread = zlib.crc32(operation.project_id.encode("utf-8", "surrogatepass")) % SHARDS
    return _EARLIER + operation.priority * SHARDS + spread


def _hour(slot: int) -> int:
    return slot - slot % HOUR
