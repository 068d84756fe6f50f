# SPDX-License-Identifier: Apache-2.0
"""The rows of the log of the operator's own edge: appending, and reading in their order.

**Appending.** A revision is a row of ``edge_log``, created by ``INSERT ... IF NOT EXISTS``, so one
writer gets it. A change takes two steps: the row of revision *head + 1* is inserted, and then
it is *completed*, that is, written to the projections and last to the head. A writer whose
revision is taken completes that row before it tries the next one. So revisions are consecutive,
all up to the head are in the projections, and a writer may die at any point. Projections are
written with the revision as their timestamp, so that a delayed writer changes nothing.

A writer that decides to append nothing first looks for the row of *head + 1* by a serial read:
an earlier call with an unknown outcome must not take effect later.

**Reading.** Readers ignore rows after the head. Rows may arrive in another data centre in any
order; a reader there stops before a revision that is missing.
"""

import random
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from poppy.common import errors
from poppy.model.edge import Stamp
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.session import Call, Database

T = TypeVar("T")

SHELF = 0

BUCKET = 1000
"""Revisions in a partition of the log."""

SHARDS = 16
"""Partitions of the services' programs."""

_PATIENCE = 20.0
"""Seconds for which a writer competes with others."""

_REMEMBERED = 10 * 86400
"""Seconds after which the reference of a purge is forgotten."""

_COLUMNS = "revision, writer, service_id, reference, url, hard, program, size, at"
_ENTRY = "revision, service_id, reference, url, hard, size, at"

APPEND = (
    f"INSERT INTO edge_log (bucket, {_COLUMNS}) VALUES (:bucket, :revision, :writer, "
    ":service_id, :reference, :url, :hard, :program, :size, :at) IF NOT EXISTS"
)
READ = f"SELECT {_COLUMNS} FROM edge_log WHERE bucket = :bucket AND revision = :revision"
LIST = (
    f"SELECT {_ENTRY} FROM edge_log WHERE bucket = :bucket AND revision > :after "
    "AND revision <= :until"
)
DROP = "DELETE FROM edge_log WHERE bucket = :bucket"
HEAD = "SELECT head FROM edge_head WHERE shelf = :shelf"
PUT_HEAD = (
    "INSERT INTO edge_head (shelf, head) VALUES (:shelf, :revision) USING TIMESTAMP :revision"
)
PUT_PROGRAM = (
    "INSERT INTO edge_programs (shard, service_id, revision, at, size, program) VALUES (:shard, "
    ":service_id, :revision, :at, :size, :program) USING TIMESTAMP :revision"
)
PUT_PURGE = (
    "INSERT INTO edge_purges (service_id, reference, revision, at) VALUES (:service_id, "
    ":reference, :revision, :at) USING TTL :ttl AND TIMESTAMP :revision"
)


class Row(NamedTuple):
    """A row of the log.

    Attributes:
        reference: of a purge; '' for a program or a withdrawal.
        program: compressed.
        size: the number of characters of the program; 0 for a withdrawal or a purge.
        at: in microseconds.
    """

    revision: int
    writer: uuid.UUID
    service_id: str
    reference: str
    url: str | None
    hard: bool
    program: bytes | None
    size: int
    at: int


class Entry(NamedTuple):
    """A row of the log without its program; see :class:`Row`."""

    revision: int
    service_id: str
    reference: str
    url: str | None
    hard: bool
    size: int
    at: int


class Span(NamedTuple):
    """Consecutive rows of the log.

    Attributes:
        until: the last revision of the span, or the one that it was to begin after.
        is_broken: whether the next one is missing.
    """

    entries: list[Entry]
    until: int
    is_broken: bool


def bucket(revision: int) -> int:
    """Return the partition of a revision."""
    return revision // BUCKET


def shard(service_id: str) -> int:
    """Return the partition of a service's program."""
    return zlib.crc32(service_id.encode()) % SHARDS


class Log:
    """Appends rows, and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self, level: int | None = None) -> int:
        """Return the last revision that is complete."""
        rows = self._database.read(HEAD, {"shelf": SHELF}, level)
        return rows[0][0] if rows else 0

    def append(self, known: Callable[[], tuple[T] | None], **content: Any) -> Stamp | T:
        """Append a row, unless that is not needed.

        Args:
            known: returns None to append; else a tuple with the result. It is called again
                whenever another writer was faster.
            content: the columns that say what changes.

        Raises:
            Unavailable: the row may have been appended. A repeated call finds it.
        """
        empty = {"reference": "", "url": None, "hard": False, "program": None, "size": 0}
        other: Row | None = None
        for head in self._heads():
            if other is not None and other.revision > head:
                self._complete(other)
                head = other.revision
            found = known()
            if found is not None:
                other = self._settled(head + 1)
                if other is None:
                    return found[0]
                continue
            own = {"revision": head + 1, "writer": uuid.uuid4(), "at": codec.now()}
            other = self._insert(Row(**{**empty, **content, **own}))
            if other is not None and other.writer == own["writer"]:
                self._complete(other)
                return Stamp(other.revision, codec.to_moment(other.at))
        raise AssertionError("_heads() ends with an error")

    def read(self, revision: int, level: int | None = None) -> Row | None:
        """Return a row with its program."""
        parameters = {"bucket": bucket(revision), "revision": revision}
        rows = self._database.read(READ, parameters, level)
        return Row(*rows[0]) if rows else None

    def span(self, after: int, until: int, limit: int, level: int | None = None) -> Span:
        """Return the rows after a revision up to another one, up to a limit."""
        entries: list[Entry] = []
        until = min(until, after + limit)
        while after < until:
            number = bucket(after + 1)
            end = min(until, (number + 1) * BUCKET - 1)
            parameters = {"bucket": number, "after": after, "until": end}
            for row in self._database.read(LIST, parameters, level):
                if row[0] != after + 1:
                    break
                entries.append(Entry(*row))
                after += 1
            if after < end:
                return Span(entries, after, True)
        return Span(entries, after, False)

    def drop(self, first: int, end: int) -> None:
        """Delete partitions."""
        self._database.write(
            ((DROP, {"bucket": number}) for number in range(first, end)),
            self._database.levels.wide,
        )

    def _heads(self) -> Iterator[int]:
        """Yield the head again and again, with random pauses.

        Raises:
            Unavailable: other writers were faster all the time.
        """
        deadline = time.monotonic() + _PATIENCE
        pause = 0.01
        while time.monotonic() < deadline:
            yield self.head(self._database.levels.wide)
            time.sleep(random.uniform(0, pause))
            pause = min(0.2, 2 * pause)
        raise errors.Unavailable("Too many concurrent changes of the edge")

    def _insert(self, row: Row) -> Row | None:
        """Return the row that has the revision; None if there is none."""
        call: Call = (APPEND, {**row._asdict(), "bucket": bucket(row.revision)})
        try:
            applied, found = self._database.cas([call], self._database.levels.claims)
        except Undecided:
            return self._settled(row.revision)
        if applied or found is None:
            return row
        return Row(**{name: found[name] for name in Row._fields})

    def _settled(self, revision: int) -> Row | None:
        """Return a row after all pending writes of it have been completed or excluded."""
        return self.read(revision, self._database.levels.claims)

    def _complete(self, row: Row) -> None:
        """Write the projections of a row, and then the head. May be repeated."""
        parameters = {
            **row._asdict(),
            "shelf": SHELF,
            "shard": shard(row.service_id),
            "ttl": _REMEMBERED,
        }
        wide = self._database.levels.wide
        for cql in (PUT_PURGE if row.reference else PUT_PROGRAM, PUT_HEAD):
            self._database.write([(cql, parameters)], wide)
