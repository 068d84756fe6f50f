# SPDX-License-Identifier: Apache-2.0
"""Operations by state, for listings: a projection.

It says where to look; the service's partition decides.

A row is written before the service's partition, with that partition's clock, and deleted after the
partition has moved on. The reader checks the service's partition, so a row without one is skipped,
and dropped once the partition is newer. The rules behind this:

* A row holds the operation too. If the operation is parked, that is enough: a page of parked
  operations reads no service partition. An operation is parked if it waits for a time that has
  not come, and its row is older than :data:`SETTLED`, so no write of it is in progress. If a
  writer died before it dropped the row, the row is wrong until that time at most.
* Most operations pass through their states within a second, and leave tombstones. So each
  partition covers one minute of creation times: a page of the oldest operations does not scan the
  tombstones of later minutes, nor of minutes that were left behind.
* An index lists the partitions. An empty partition is left behind: its index row is deleted as
  read, if it was written more than :data:`MARGIN` ago. The writer of a row writes the index row
  too, unless its process has done so within :data:`FRESH`. So while writes take less than the
  difference of the two, no row is on its way to an index row that is old enough to be deleted.
"""

import heapq
import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from poppy.common.chunks import chunks
from poppy.model.operations import Operation, OperationKey, State
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.partition import Held
from poppy.storage.cassandra.session import Call, Database, Row
from poppy.storage.cassandra.views import View
from poppy.storage.operations import Marker

WIDTH = 60_000_000
"""The microseconds of creation times in a partition."""

LISTED = (State.QUEUED, State.RUNNING, State.WAITING, State.FAILED)
"""The states that operators can list."""

_PARKED = (State.QUEUED, State.WAITING)

MARGIN = 120.0
FRESH = 30.0
SETTLED = 20.0
"""Seconds; see the module's docstring."""

_FOREVER = 2**62
"""Later than any time in microseconds."""

_REMEMBERED = 4096
_PAGE = 50
"""How many rows of a partition, and operations, to read at a time."""
_TOGETHER = 10
"""How many operations of a project to read with one request."""
_BUCKETS, _MOST_BUCKETS = 8, 64
"""How many partitions to read in parallel: at first, and at most."""

ROW = View(
    "operations_by_state",
    ("state", "bucket"),
    ("operation_id",),
    ("project_id", "service_id", "document"),
    expires=True,
)
BUCKET = View("state_buckets", ("state",), ("bucket",), ("written_at",), expires=True)
BUCKETS = (
    "SELECT bucket, written_at FROM state_buckets "
    "WHERE state = :state AND bucket >= :first AND bucket <= :last LIMIT :page"
)
ROWS = (
    "SELECT operation_id, project_id, service_id, WRITETIME(project_id), WRITETIME(document), "
    "document FROM operations_by_state "
    "WHERE state = :state AND bucket = :bucket AND operation_id > :marker LIMIT :page"
)


class Entry(NamedTuple):
    """A row as read; the fields are in the order of listings."""

    bucket: int
    operation_id: str
    project_id: str
    service_id: str
    state: str
    clock: int
    document_clock: int | None
    document: str | None

    @property
    def key(self) -> OperationKey:
        """The key of the operation."""
        return OperationKey(self.project_id, self.service_id, self.operation_id)

    def parked(self, now: int) -> Operation | None:
        """Return the operation if it is parked; see the module's docstring."""
        is_settled = now - self.clock > SETTLED * 1_000_000
        # A writer of an earlier version leaves the document of the previous one.
        if self.document is None or self.document_clock != self.clock or not is_settled:
            return None
        operation = codec.from_operation_document(self.key, self.document)
        due_at = codec.optional_number(operation.next_attempt_at)
        is_parked = operation.state in _PARKED and due_at is not None and due_at > now
        return operation if is_parked else None


class _Found(NamedTuple):
    """An operation as stored, and the clock of its service partition."""

    clock: int
    operation: Operation


class States:
    """Writes and reads the projection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # When this process last wrote an index row, by (state, bucket).
        self._indexed: dict[tuple[str, int], float] = {}
        # Where to continue tidying up, by state.
        self._tidied: dict[str, int] = {}

    def puts(self, operations: Iterable[Operation], clock: int) -> Iterator[Call]:
        """Return the rows of operations that are about to be stored.

        Args:
            clock: the clock of the coming service partition.
        """
        for it in operations:
            if it.state in LISTED:
                # Failed operations expire, as in the partition.
                ttl = self._database.retention if it.state.finished else 0
                state, bucket = str(it.state), _bucket(codec.to_number(it.created_at))
                where = {"state": state, "bucket": bucket, "ttl": ttl}
                if self._is_new((state, bucket)):
                    yield BUCKET.add(where, codec.now())
                document = codec.operation_document(it)
                yield ROW.add({**where, **it.key._asdict(), "document": document}, clock)

    def drops(self, gone: Iterable[Held], kept: Iterable[Held], clock: int) -> Iterator[Call]:
        """Return the deletions of rows that the partition has superseded.

        Args:
            clock: the clock of that service partition.
        """
        staying = {(it.operation.operation_id, it.operation.state) for it in kept}
        for held in gone:
            operation = held.operation
            known = (operation.operation_id, operation.state)
            if operation.state in LISTED and known not in staying:
                bucket = _bucket(codec.to_number(operation.created_at))
                row = {**operation.key._asdict(), "state": str(operation.state), "bucket": bucket}
                yield ROW.drop(row, clock)

    def find(
        self, states: Collection[State], until: int, marker: Marker | None
    ) -> Iterator[Operation]:
        """Iterate over operations in these states, by the minute of their creation, then by id.

        Args:
            until: the last minute; a time in microseconds.
            marker: only operations after it.

        Raises:
            Unavailable: the cluster does not answer.
        """
        last = _bucket(until)
        entries = heapq.merge(*(self._entries(str(it), last, marker) for it in states))
        # An operation that has just changed its state may have a row in each.
        rows = (list(group) for _key, group in itertools.groupby(entries, lambda it: it.key))
        for page in chunks(rows, _PAGE):
            for operation in self._current(page):
                if operation.state in states:
                    yield operation

    def _current(self, rows: Sequence[Sequence[Entry]]) -> Iterator[Operation]:
        """Iterate over operations as they are now, given the rows of each."""
        now = codec.now()
        parked = {
            entry.key: operation
            for entry, *others in rows
            if not others and (operation := entry.parked(now)) is not None
        }
        doubtful = [entry for entry in itertools.chain(*rows) if entry.key not in parked]
        found = self._read(dict.fromkeys(entry.key for entry in doubtful))
        self._drop_stale(doubtful, found)
        for key in (entry.key for entry, *_others in rows):
            if key in parked:
                yield parked[key]
            elif key in found:
                yield found[key].operation

    def _read(self, keys: Iterable[OperationKey]) -> dict[OperationKey, "_Found"]:
        """Read operations, several of a project with one request."""
        calls: list[Call] = []
        for project_id, group in itertools.groupby(sorted(keys), lambda it: it.project_id):
            for together in chunks(group, _TOGETHER):
                services = {it.service_id for it in together}
                operations = {it.operation_id for it in together}
                where = {"project_id": project_id, "service_ids": list(services)}
                calls.append(
                    (partition.READ_WITH_CLOCKS, {**where, "operation_ids": list(operations)})
                )
        found = {}
        for call, rows in zip(calls, self._database.read_each(calls), strict=True):
            project_id = str(call[1]["project_id"])
            for service_id, clock, *row in rows:
                operation = partition.to_held(project_id, service_id, row).operation
                found[operation.key] = _Found(clock, operation)
        return found

    def _drop_stale(
        self, entries: Sequence[Entry], stored: Mapping[OperationKey, "_Found"]
    ) -> None:
        """Drop stale rows, left by processes that died."""
        orphaned = codec.now() - int(partition.GRACE * 1_000_000)
        stale = []
        for entry in entries:
            found = stored.get(entry.key)
            if found is None:
                is_stale = entry.clock < orphaned
            else:
                # If the partition is older, the row's own partition may still follow.
                is_stale = str(found.operation.state) != entry.state and found.clock >= entry.clock
            if is_stale:
                stale.append(ROW.drop(entry._asdict(), entry.clock))
        self._database.write(stale)

    def _entries(self, state: str, last: int, marker: Marker | None) -> Iterator[Entry]:
        first, after = 0, ""
        if marker is not None:
            first = _bucket(codec.to_number(marker.created_at))
            after = marker.operation_id
        page, begin = _BUCKETS, first
        while True:
            where = {"state": state, "first": begin, "last": last, "page": page}
            index = self._database.read(BUCKETS, where)
            places = [
                {"state": state, "bucket": bucket, "marker": after if bucket == first else ""}
                for bucket, _written_at in index
            ]
            calls = [(ROWS, {**place, "page": _PAGE}) for place in places]
            pages = self._database.read_each(calls)
            self._leave(state, index, pages, first if marker is not None else None)
            for place, rows in zip(places, pages, strict=True):
                yield from self._partition(place, rows)
            if len(index) < page:
                return
            begin, page = index[-1][0] + 1, min(2 * page, _MOST_BUCKETS)

    def _partition(self, place: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[Entry]:
        """Iterate over all entries of a partition, given its first page."""
        state, bucket = place["state"], place["bucket"]
        while True:
            for operation_id, project_id, service_id, *written in rows:
                yield Entry(bucket, operation_id, project_id, service_id, state, *written)
            if len(rows) < _PAGE:
                return
            where = {**place, "marker": rows[-1][0], "page": _PAGE}
            rows = self._database.read(ROWS, where)

    def _leave(
        self,
        state: str,
        index: Sequence[tuple[int, int]],
        pages: Sequence[Sequence[object]],
        partial: int | None = None,
    ) -> int:
        """Leave empty partitions behind; return their number.

        Args:
            partial: a partition that was not read from its beginning.
        """
        oldest = codec.now() - int(MARGIN * 1_000_000)
        calls = [
            BUCKET.drop({"state": state, "bucket": bucket}, written_at)
            for (bucket, written_at), rows in zip(index, pages, strict=True)
            if not rows and written_at < oldest and bucket != partial
        ]
        self._database.write(calls)
        return len(calls)

    def tidy(self, limit: int) -> int:
        """Leave empty partitions behind, in case readers do not.

        Args:
            limit: the maximum number of partitions to check per state.

        Returns:
            How many were left behind.
        """
        left = 0
        for state in map(str, LISTED):
            first = self._tidied.get(state, 0)
            where = {"state": state, "first": first, "last": _FOREVER, "page": limit}
            index = self._database.read(BUCKETS, where)
            calls = [
                (ROWS, {"state": state, "bucket": bucket, "marker": "", "page": 1})
                for bucket, _written_at in index
            ]
            left += self._leave(state, index, self._database.read_each(calls))
            self._tidied[state] = index[-1][0] + 1 if len(index) == limit else 0
        return left

    def fill(self, keys: Iterable[OperationKey]) -> None:
        """Write the rows of operations that an earlier version has stored."""
        for some in chunks(keys, _PAGE):
            self._database.write(
                put
                for clock, operation in self._read(some).values()
                for put in self.puts([operation], clock)
            )

    def _is_new(self, place: tuple[str, int]) -> bool:
        """Whether an index row must be written (again)."""
        now = time.monotonic()
        written = self._indexed.get(place)
        if written is not None and now - written < FRESH:
            return False
        if len(self._indexed) > _REMEMBERED:
            self._indexed.clear()
        self._indexed[place] = now
        return True


def _bucket(moment: int) -> int:
    return moment - moment % WIDTH
