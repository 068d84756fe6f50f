# SPDX-License-Identifier: Apache-2.0
"""The service partition: a service and all its operations, in one partition of ``services``.

**Reading and writing.** To change a service, a writer reads the partition, decides, and writes one
conditional batch, ``IF writer = <as read>``. Each write sets another ``writer``, a random UUID.
Cassandra decides conditions by Paxos per partition. So of all writers that have read the same
state, one succeeds; the others read and decide again. A batch to one partition is one mutation:
service and operations change together or not at all.

**Everything outside** the partition is written either *before* the partition (domain claims,
places, uses of flavors, hints) or *after* it (projections), so that a process may die at any
point:

* Before: what no partition names is an orphan, and harmless. A process may drop it after it has
  *fenced* the partition, that is, given it another ``writer``. A process that slept in between
  then can't write its partition; it reads again and starts over. (Orphans must be some minutes old
  only to keep live processes from disturbing each other; safety needs no clock.)
* After: projections are written with the partition's ``clock`` as their timestamp, which grows
  with each write. So an overtaken writer, whenever it wakes up, can't overwrite newer content or
  bring a removed service back. If a writer died, the finder of its hint writes the projections
  from the partition.
"""

import contextlib
import json
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from poppy.common import errors
from poppy.model.lifecycle import Aggregate
from poppy.model.operations import Operation, OperationKey
from poppy.model.services import Service
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.session import Call, Database, Row

_STATICS = f"writer, clock, queue, claims, removed_at, {codec.SERVICE_COLUMNS}"
_OPERATION = f"operation_id, slot, {codec.OPERATION_COLUMNS}"
_N_STATICS = 12

READ = (
    f"SELECT {_STATICS} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id LIMIT 1"
)
# For operators' tools; the only statement that reads more than one partition.
SCAN = f"SELECT DISTINCT project_id, service_id, {_STATICS} FROM services"
READ_WITH_OPERATION = (
    f"SELECT {_STATICS}, {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id AND operation_id = :operation_id"
)
READ_OPERATIONS = (
    f"SELECT {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id AND operation_id IN :operation_ids"
)
READ_OPERATION = (
    f"SELECT {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id AND operation_id = :operation_id"
)
READ_WITH_CLOCKS = (
    f"SELECT service_id, clock, {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id IN :service_ids AND operation_id IN :operation_ids"
)
"""Operations of several services. Cassandra looks in each service for all the ids."""

LIST_OPERATIONS = (
    f"SELECT {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id"
)
READ_WRITER = (
    "SELECT writer FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id LIMIT 1"
)
READ_STATE = (
    "SELECT writer, removed_at FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id LIMIT 1"
)
HISTORY = (
    f"SELECT {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id ORDER BY operation_id DESC LIMIT :page"
)
HISTORY_AFTER = (
    f"SELECT {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id AND operation_id < :marker "
    "ORDER BY operation_id DESC LIMIT :page"
)
_WHERE = "WHERE project_id = :project_id AND service_id = :service_id IF writer = :as_read"
STEP = f"UPDATE services SET writer = :writer, clock = :clock, queue = :queue {_WHERE}"
CHANGE = (
    "UPDATE services SET writer = :writer, clock = :clock, queue = :queue, claims = :claims, "
    "removed_at = :removed_at, spec = :spec, provider_details = :provider_details, "
    "disabled = :disabled, revision = :revision, service_created_at = :service_created_at, "
    f"service_updated_at = :service_updated_at, log_url = :log_url {_WHERE}"
)
CLOSE = (
    "UPDATE services SET writer = :writer, clock = :clock, queue = :queue, "
    f"removed_at = :removed_at {_WHERE}"
)
PUT_OPERATION = (
    f"INSERT INTO services (project_id, service_id, {_OPERATION}) VALUES (:project_id, "
    ":service_id, :operation_id, :slot, :kind, :state, :attempt, :failures, :next_attempt_at, "
    ":runner, :progress, :created_at, :updated_at, :crashes, :priority) USING TTL :ttl"
)

GRACE = 300.0
"""Seconds after which what no partition names counts as an orphan; longer than any request."""

_ATTEMPTS = 40


class Held(NamedTuple):
    """A stored operation, and the slot of its hint.

    Attributes:
        slot: None for a finished operation, and for one that has just begun: the previous hint
            points to it until the run first renews its lease.
        before: the operation with that hint, if known.
    """

    operation: Operation
    slot: int | None
    before: "Held | None" = None


@dataclass(frozen=True)
class ServicePartition:
    """A partition as read.

    Attributes:
        writer: of the last write; None if nothing was ever written.
        clock: of the last write, in microseconds: later than any before, and close to the time of
            day.
        queue: the states of unfinished operations, and of superseded ones with a run that has
            not ended, by id.
        claims: the service's domains, each with the token of its claim.
        service: None if there is none; the last state of a removed one.
        removed_at: when it was removed, or fenced before it was created.
        operations: the operations that were read with it, by id.
    """

    project_id: str
    service_id: str
    writer: uuid.UUID | None = None
    clock: int = 0
    queue: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    service: Service | None = None
    removed_at: int | None = None
    operations: Mapping[str, Held] = field(default_factory=dict)

    @property
    def alive(self) -> Service | None:
        """The service, unless it was removed."""
        return self.service if self.removed_at is None else None

    @property
    def aggregate(self) -> Aggregate:
        """What the rules of the lifecycle decide about."""
        operations = {name: held.operation for name, held in self.operations.items()}
        return Aggregate(self.alive, self.queue, operations)

    @property
    def identity(self) -> dict[str, str]:
        """The partition key."""
        return {"project_id": self.project_id, "service_id": self.service_id}

    def tick(self) -> int:
        """Return the clock of the next write."""
        return max(self.clock + 1, codec.now())


@dataclass(frozen=True)
class Change:
    """What to write; None leaves a field unchanged.

    Attributes:
        clock: from :meth:`ServicePartition.tick`.
        operations: to store, each with the slot of its hint.
    """

    clock: int
    service: Service | None = None
    claims: Mapping[str, str] | None = None
    removed_at: int | None = None
    operations: Sequence[Held] = ()


def read(database: Database, key: tuple[str, ...], level: int | None = None) -> ServicePartition:
    """Read a service's partition, without operations."""
    project_id, service_id = key[:2]
    identity = {"project_id": project_id, "service_id": service_id}
    rows = database.read(READ, identity, level)
    return (
        _to_partition(project_id, service_id, rows[0])
        if rows
        else ServicePartition(project_id, service_id)
    )


def read_each(database: Database, keys: Sequence[tuple[str, str]]) -> list[ServicePartition]:
    """Read several services' partitions in parallel, without operations."""
    identities = [{"project_id": key[0], "service_id": key[1]} for key in keys]
    answers = database.read_each((READ, identity) for identity in identities)
    return [
        _to_partition(*key, rows[0]) if rows else ServicePartition(*key)
        for key, rows in zip(keys, answers, strict=True)
    ]


def scan(database: Database) -> Iterator[ServicePartition]:
    """Iterate over all partitions, page by page, in the order of their hashes."""
    for project_id, service_id, *row in database.scan(SCAN):
        yield _to_partition(project_id, service_id, row)


def read_with_operation(database: Database, key: OperationKey) -> ServicePartition:
    """Read a service's partition and one operation.

    If the operation does not exist, nothing is found, because static columns come with a row.
    """
    rows = database.read(READ_WITH_OPERATION, key._asdict())
    return to_partition(key, rows)


def with_operations(
    database: Database, current: ServicePartition, wanted: Any
) -> ServicePartition:
    """Return the partition with more operations. If they are newer, it can't be written."""
    missing = [it for it in wanted if it not in current.operations]
    if not missing:
        return current
    rows = database.read(READ_OPERATIONS, {**current.identity, "operation_ids": missing})
    held = (to_held(current.project_id, current.service_id, row) for row in rows)
    found = {it.operation.operation_id: it for it in held}
    return replace(current, operations={**current.operations, **found})


def to_partition(key: OperationKey, rows: Sequence[Row]) -> ServicePartition:
    """Convert the rows of :data:`READ_WITH_OPERATION`."""
    if not rows:
        return ServicePartition(key.project_id, key.service_id)
    current = _to_partition(key.project_id, key.service_id, rows[0])
    held = to_held(key.project_id, key.service_id, rows[0][_N_STATICS:])
    return replace(current, operations={key.operation_id: held})


def to_held(project_id: str, service_id: str, row: Row) -> Held:
    """Convert the columns of an operation."""
    operation_id, slot, *columns = row
    key = OperationKey(project_id, service_id, operation_id)
    return Held(codec.to_operation(key, columns), slot)


def write(
    database: Database, current: ServicePartition, change: Change, serial: int | None = None
) -> ServicePartition | None:
    """Write the partition if it is unchanged since it was read, by one conditional batch.

    Args:
        serial: the level of claims, if the partition gives claims their meaning; fences have that
            level too.

    A serial read, which completes a pending write, decides an unknown outcome. It finds this
    writer (applied), the one that was read (not applied), or another one, which hides whether this
    one was there in between.

    Returns:
        The new partition; None if another writer was faster.

    Raises:
        Unavailable: it may or may not have been written. Repeating the whole call is safe: it
            reads the result and decides by that.
    """
    writer = uuid.uuid4()
    changed = _apply(current, change, writer)
    calls = [_statement(changed, change, current.writer)]
    for held in change.operations:
        ttl = database.retention if held.operation.state.finished else 0
        row = {**codec.operation_columns(held.operation, held.slot), "ttl": ttl}
        calls.append((PUT_OPERATION, row))
    serial = database.levels.operations if serial is None else serial
    try:
        applied, found = database.cas(calls, serial)
        # A request that the driver has sent twice finds the write of its first copy.
        if applied or (found is not None and found.get("writer") == writer):
            return changed
    except Undecided:
        rows = database.read(READ_WRITER, current.identity, serial)
        stored = rows[0][0] if rows else None
        if stored == writer:
            return changed
        if stored != current.writer:
            raise
    return None


def fence(database: Database, current: ServicePartition, orphan: int = 0) -> bool:
    """Prevent writes by anyone who has read the partition earlier.

    A service that does not exist (yet) is closed for good; its id is never used again.

    Args:
        orphan: the clock of the rows to delete; all later writes get a later clock.

    Returns:
        Whether the partition was still as read.
    """
    closed = codec.now() if current.service is None else current.removed_at
    change = Change(max(current.tick(), orphan), removed_at=closed)
    return write(database, current, change, database.levels.claims) is not None


def attempts() -> Iterator[None]:
    """Iterate while other writers are faster, with random pauses.

    Raises:
        Unavailable: no attempt succeeded.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, min(0.25, 0.004 * 2 ** min(attempt, 6))))
        yield
    raise errors.Unavailable("Too many concurrent writes")


@contextlib.contextmanager
def best_effort(log: Any, what: str) -> Iterator[None]:
    """Log an outage in a block of work that another process can do later."""
    try:
        yield
    except errors.Unavailable as exc:
        log.warning("%s is left for later: %s", what, exc)


def _statement(changed: ServicePartition, change: Change, as_read: uuid.UUID | None) -> Call:
    parameters: dict[str, Any] = {
        **changed.identity,
        "as_read": as_read,
        "writer": changed.writer,
        "clock": changed.clock,
        "queue": codec.to_text(changed.queue),
    }
    if change.service is not None:
        return CHANGE, {
            **parameters,
            "claims": codec.to_text(changed.claims),
            "removed_at": changed.removed_at,
            **codec.service_columns(change.service),
        }
    if change.removed_at is not None:
        return CLOSE, {**parameters, "removed_at": changed.removed_at}
    return STEP, parameters


def _apply(current: ServicePartition, change: Change, writer: uuid.UUID) -> ServicePartition:
    queue = dict(current.queue)
    for held in change.operations:
        queue.pop(held.operation.operation_id, None)
        if not held.operation.state.finished or held.operation.is_held:
            queue[held.operation.operation_id] = str(held.operation.state)
    written = {held.operation.operation_id: held for held in change.operations}
    return replace(
        current,
        writer=writer,
        clock=change.clock,
        queue=dict(sorted(queue.items())),
        claims=current.claims if change.claims is None else change.claims,
        service=change.service or current.service,
        removed_at=current.removed_at if change.removed_at is None else change.removed_at,
        operations={**current.operations, **written},
    )


def _to_partition(project_id: str, service_id: str, row: Row) -> ServicePartition:
    writer, clock, queue, claims, removed_at, *service = row[:_N_STATICS]
    return ServicePartition(
        project_id,
        service_id,
        writer=writer,
        clock=clock or 0,
        queue=json.loads(queue) if queue else {},
        claims=json.loads(claims) if claims else {},
        service=None if service[0] is None else codec.to_service(project_id, service_id, service),
        removed_at=removed_at,
    )
