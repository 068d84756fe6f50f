# SPDX-License-Identifier: Apache-2.0
"""The log of changes of the operator's own edge in Cassandra.

See :mod:`.edge_log` for how changes are appended. Rows of the log stay as they are until whole
partitions are deleted, so readers pass over no tombstones. What a service has replaced since
is left out when a page is read, because ``edge_programs`` knows each service's last revision.

The log is kept after the *tail*, the last revision that :meth:`EdgeStore.prune` has passed. Up to
the tail, only services' programs are left, and ``edge_programs`` lists them.
"""

import datetime
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from poppy.common import errors
from poppy.model import ids
from poppy.model.edge import Change, Page, Publication, Stamp
from poppy.model.operations import Purge
from poppy.storage import edge
from poppy.storage.cassandra import codec, edge_log
from poppy.storage.cassandra.edge_certificates import CertificateRows
from poppy.storage.cassandra.edge_log import SHARDS, SHELF, Entry, Log
from poppy.storage.cassandra.edge_nodes import Nodes
from poppy.storage.cassandra.edge_traffic import TrafficRows
from poppy.storage.cassandra.session import Call, Database

_BUCKETS = 20
"""Reads of the log in one call of prune(). Each returns a thousand rows at most."""

_THIS = "WHERE shard = :shard AND service_id = :service_id"
CURRENT = f"SELECT revision, at, program FROM edge_programs {_THIS}"
REVISION = f"SELECT revision FROM edge_programs {_THIS}"
PROGRAMS = "SELECT revision, service_id, size, at FROM edge_programs WHERE shard = :shard"
FORGET = f"DELETE FROM edge_programs USING TIMESTAMP :revision {_THIS}"
PURGED = (
    "SELECT revision, at FROM edge_purges "
    "WHERE service_id = :service_id AND reference = :reference"
)
PRUNED = "SELECT floor, tail, dropped FROM edge_pruned WHERE shelf = :shelf"
ADVANCE = (
    "UPDATE edge_pruned SET floor = :floor, tail = :tail, dropped = :dropped "
    "WHERE shelf = :shelf IF tail = :as_read"
)


class _Pruned(NamedTuple):
    """How far the log was pruned.

    Attributes:
        floor: the last revision of a purge or withdrawal that was pruned.
        tail: up to it, the log may be missing.
        dropped: the number of the first partition of the log that may exist.
    """

    floor: int = 0
    tail: int = 0
    dropped: int = 0


class EdgeStore(Nodes, CertificateRows, TrafficRows, edge.EdgeStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database
        self._log = Log(database)

    def publish(self, service_id: str, program: str) -> Stamp:
        """Append a row, unless the service's last program is the same."""

        def known() -> tuple[Stamp] | None:
            found = self.current(service_id)
            return (found.stamp,) if found is not None and found.program == program else None

        blob = zlib.compress(program.encode())
        return self._log.append(known, service_id=service_id, program=blob, size=len(program))

    def withdraw(self, service_id: str) -> Stamp | None:
        """Append a row, if the service has a program."""

        def known() -> tuple[Stamp | None] | None:
            found = self.current(service_id)
            if found is None:
                return (None,)
            return (found.stamp,) if found.program is None else None

        return self._log.append(known, service_id=service_id)

    def purge(self, service_id: str, purge: Purge) -> Stamp:
        """Append a row, unless the reference is known."""
        reference = purge.reference or ids.new()
        return self._command(service_id, reference, edge.purge_to_text(purge), purge.hard)

    def prewarm(self, service_id: str, paths: Sequence[str], reference: str) -> Stamp:
        """Append a row, unless the reference is known."""
        return self._command(service_id, reference, edge.prewarm_to_text(paths), False)

    def _command(self, service_id: str, reference: str, text: str | None, hard: bool) -> Stamp:
        this = {"service_id": service_id, "reference": reference}

        def known() -> tuple[Stamp] | None:
            rows = self._database.read(PURGED, this, self._database.levels.wide)
            return (_stamp(*rows[0]),) if rows else None

        return self._log.append(known, **this, url=text, hard=hard)

    def current(self, service_id: str) -> Publication | None:
        """Read the service's row."""
        rows = self._database.read(CURRENT, _key(service_id), self._database.levels.wide)
        if not rows:
            return None
        revision, at, program = rows[0]
        return Publication(_stamp(revision, at), _text(program))

    def head(self) -> int:
        """Read one row."""
        return self._log.head()

    def changes(self, after: int, limit: int, snapshot: int = 0) -> Page:
        """Read the log, or up to the tail the last programs of all services."""
        since = max(after, snapshot)
        head, pruned = self._state()
        if since > head:
            # A node may know a head that has not arrived in this region yet.
            head, pruned = self._state(self._database.levels.wide)
        if since and not pruned.floor <= since <= head:
            raise errors.Gone(f"The changes after revision {since} are not available")
        if after < pruned.tail:
            entries, until = self._programs(after, pruned.tail, limit)
        else:
            entries, until, is_broken = self._log.span(after, head, limit)
            head = until if is_broken else head
        fitting = _cut(entries)
        if len(fitting) < len(entries):
            until = fitting[-1].revision
        return Page(until, head, self._read_changes(fitting) if fitting else ())

    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Move the tail over old rows. The next call deletes the partitions before it.

        Partitions are deleted late so that a process that dies in between leaves none behind.
        """
        levels = self._database.levels
        head, as_read = self._state(levels.wide)
        dropped = edge_log.bucket(as_read.tail + 1)
        self._log.drop(as_read.dropped, dropped)
        floor, tail, _dropped = as_read
        withdrawn: list[Call] = []
        pruned = 0
        for entry in self._old(tail, head, codec.to_number(before)):
            if pruned == limit:
                break
            tail = entry.revision
            if not entry.reference:
                if entry.size or self._is_replaced(entry):
                    continue
                withdrawn.append((FORGET, {**_key(entry.service_id), "revision": tail}))
            floor = tail
            pruned += 1
        new = _Pruned(floor, tail, dropped)
        if new == as_read:
            return 0
        self._database.write(withdrawn, levels.wide)
        parameters = {**new._asdict(), "shelf": SHELF, "as_read": as_read.tail or None}
        applied, _found = self._database.cas([(ADVANCE, parameters)], levels.claims)
        return pruned if applied else 0

    def _old(self, tail: int, head: int, before: int) -> Iterator[Entry]:
        """Yield rows after the tail that are old enough, up to a limit."""
        for _ in range(_BUCKETS):
            span = self._log.span(tail, head, edge_log.BUCKET, self._database.levels.wide)
            for entry in span.entries:
                if entry.at >= before:
                    return
                yield entry
            tail = span.until

    def _state(self, level: int | None = None) -> tuple[int, _Pruned]:
        calls = [(cql, {"shelf": SHELF}) for cql in (edge_log.HEAD, PRUNED)]
        heads, pruned = self._database.read_each(calls, level)
        return (
            heads[0][0] if heads else 0,
            _Pruned(*pruned[0]) if pruned else _Pruned(),
        )

    def _is_replaced(self, entry: Entry) -> bool:
        """Return whether a withdrawal is not the last change of its service.

        If the service has no row, an earlier call has deleted it and then died.
        """
        level = self._database.levels.wide
        rows = self._database.read(REVISION, _key(entry.service_id), level)
        return bool(rows) and rows[0][0] > entry.revision

    def _programs(self, after: int, tail: int, limit: int) -> tuple[list[Entry], int]:
        """Return the services' programs of some revisions up to the tail, and how far they go."""
        answers = self._database.read_each(
            (PROGRAMS, {"shard": number}) for number in range(SHARDS)
        )
        found = sorted(
            Entry(revision, service_id, "", None, False, size, at)
            for rows in answers
            for revision, service_id, size, at in rows
            if after < revision <= tail and size
        )
        page = found[:limit]
        return page, page[-1].revision if len(found) > limit else tail

    def _read_changes(self, entries: Sequence[Entry]) -> list[Change]:
        """Return the changes of rows that no later change of their service has replaced."""
        services = dict.fromkeys(it.service_id for it in entries if not it.reference)
        answers = self._database.read_each((CURRENT, _key(it)) for it in services)
        current = dict(zip(services, answers, strict=True))
        changes = []
        for entry in entries:
            revision, service_id, reference, url, hard, size, _at = entry
            if reference:
                changes.append(edge.command(revision, service_id, url, hard))
                continue
            found, _at, program = (*current[service_id], (0, 0, None))[0]
            if found > revision:
                continue
            if found < revision and size:
                # The projection has not arrived in this region yet, or the service was pruned.
                row = self._log.read(revision)
                if row is None:
                    continue
                program = row.program
            changes.append(Change(revision, service_id, _text(program)))
        return changes


def _key(service_id: str) -> dict[str, Any]:
    return {"shard": edge_log.shard(service_id), "service_id": service_id}


def _stamp(revision: int, at: int) -> Stamp:
    return Stamp(revision, codec.to_moment(at))


def _text(program: bytes | None) -> str | None:
    return None if program is None else zlib.decompress(program).decode()


def _cut(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return the first rows that fit on a page; at least one."""
    size = 0
    for number, entry in enumerate(entries):
        size += entry.size
        if number and size > edge.PAGE_SIZE:
            return entries[:number]
    return entries
