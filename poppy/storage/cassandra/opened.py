# SPDX-License-Identifier: Apache-2.0
"""The approximate number of each project's unfinished operations: a projection of them.

Each has a row. A row is written before the partition that contains its operation, again some time
after the operation is parked, and deleted some time after the operation ends. Rows left by a dead
process are found when they matter: when a project has reached its limit, its oldest rows are
checked against the partition. Bulk work has no rows.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from poppy.model import ids
from poppy.model.operations import Operation, Priority, State
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.partition import GRACE
from poppy.storage.cassandra.session import Call, Database, Row
from poppy.storage.cassandra.views import View
from poppy.storage.operations import Unfinished

_LIFE = 7 * 86400
"""Seconds after which every row expires."""

_SMALL = 50
"""Numbers up to this one are never cached."""

_AGE = 1.0
"""Seconds for which a larger number is cached."""

_SKEW = 60.0
"""Seconds by which ids may be out of order, because of clock skew and slow writes."""

_CHECKED, _PROJECTS = 100, 10_000

ROWS = View(
    "open_operations",
    ("project_id",),
    ("operation_id",),
    ("service_id", "parked_until"),
    expires=True,
)
READ = (
    "SELECT operation_id, service_id, WRITETIME(service_id), parked_until FROM open_operations "
    "WHERE project_id = :project_id AND operation_id >= :floor LIMIT :page"
)


@dataclass
class _Known:
    """The cached state of a project.

    Attributes:
        floor: the lowest id that an open operation may have, so that ended ones are not read
            again.
        total: the number of rows.
        parked: the due times of parked operations.
    """

    floor: str
    total: int
    parked: Sequence[int]
    limit: int
    read_at: float

    def upto(self, limit: int, now: int) -> Unfinished:
        """Return the numbers, up to a limit."""
        parked = sum(until > now for until in self.parked[:limit])
        return Unfinished(min(limit, self.total), parked)


class Opened:
    """Records the begin and end of operations, and counts the open ones."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._projects: dict[str, _Known] = {}

    @staticmethod
    def begins(operation: Operation, clock: int) -> Iterator[Call]:
        """Return the writes to make before an operation is stored."""
        if operation.priority is not Priority.BULK:
            yield _put(operation, 0, clock)

    @staticmethod
    def changes(operations: Iterable[Operation], clock: int) -> Iterator[Call]:
        """Return the writes to make some time after operations were stored as ended or parked."""
        for operation in operations:
            if operation.priority is Priority.BULK:
                continue
            if operation.state.finished:
                yield ROWS.drop(operation.key._asdict(), clock)
            elif operation.state is State.WAITING and operation.next_attempt_at is not None:
                yield _put(operation, codec.to_number(operation.next_attempt_at), clock)

    def count(self, project_id: str, limit: int, now: int) -> Unfinished:
        """Count open operations, up to a limit; large numbers may be a second old.

        Args:
            now: the time in microseconds since 1970.
        """
        known = self._projects.get(project_id)
        age = time.monotonic() - known.read_at if known else _AGE
        if known and known.total > _SMALL and known.limit >= limit and age < _AGE:
            return known.upto(limit, now)
        where = {"project_id": project_id, "floor": known.floor if known else "", "page": limit}
        rows = self._database.read(READ, where)
        if len(rows) >= limit:
            rows = self._check(project_id, rows)
        latest = ids.earliest(time.time_ns() - int(_SKEW * 1e9))
        floor = min(latest, rows[0][0]) if rows else latest
        if len(self._projects) >= _PROJECTS:
            self._projects.clear()
        parked = [row[3] or 0 for row in rows]
        known = _Known(floor, len(rows), parked, limit, time.monotonic())
        self._projects[project_id] = known
        return known.upto(limit, now)

    def _check(self, project_id: str, rows: Sequence[Row]) -> list[Row]:
        """Delete the rows of ended operations and return the rest."""
        oldest = list(rows[:_CHECKED])
        found = self._database.read_each(
            (
                partition.READ_OPERATION,
                {"project_id": project_id, "service_id": service, "operation_id": operation},
            )
            for operation, service, _clock, _until in oldest
        )
        young = ids.earliest(time.time_ns() - int(GRACE * 1e9))
        ended = {
            row[0]: row[2]
            for row, stored in zip(oldest, found, strict=True)
            if _has_ended(project_id, row, stored, young)
        }
        self._database.write(
            ROWS.drop({"project_id": project_id, "operation_id": operation_id}, clock)
            for operation_id, clock in ended.items()
        )
        return [row for row in rows if row[0] not in ended]


def _has_ended(project_id: str, row: Row, stored: Sequence[Row], young: str) -> bool:
    """Whether an operation has ended, or was never stored."""
    operation_id, service_id, _clock, _until = row
    if not stored:
        return bool(operation_id < young)
    state: State = partition.to_held(project_id, service_id, stored[0]).operation.state
    return state.finished


def _put(operation: Operation, parked_until: int, clock: int) -> Call:
    row = {**operation.key._asdict(), "parked_until": parked_until, "ttl": _LIFE}
    return ROWS.add(row, clock)
