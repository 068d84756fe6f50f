# SPDX-License-Identifier: Apache-2.0
"""The truth: all of a service and its operations, in one partition of ``services``.

**Reading and writing.** Whoever changes anything of a service reads the partition, decides, and
writes in one conditional batch, ``IF writer = <as read>``; each write leaves another ``writer``,
a random UUID. Cassandra decides conditions by Paxos per partition, so of all writers that read
the same, one is applied; the others read and decide again. A batch to one partition is one
mutation: service and operations change together or not at all.

**What lies outside** is either written *before* the truth (claims to domains, places, uses of
flavors, hints) or *after* it (views), so that a process may die anywhere:

* Before: what no truth names is an orphan, and harmless. Anyone may drop it who first *fences*
  the partition: gives it another ``writer``. A process that slept between the two then can't
  write its truth, reads again and does it all again. (That an orphan first has to be some
  minutes old only keeps live processes from disturbing each other; safety needs no clock.)
* After: views are written with the partition's ``clock`` as their timestamp, which grows with
  each write. A writer that was overtaken can't overwrite newer content, nor bring a removed
  service back, whenever it wakes. If it died, whoever finds the hint that it left writes the
  views from the truth.
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
from poppy.model.operations import Operation, OperationKey
from poppy.model.services import Service
from poppy.storage.cassandra import codec
from poppy.storage.cassandra.session import Call, Database, Row, Undecided

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
READ_WITH_CLOCK = (
    f"SELECT clock, {_OPERATION} FROM services WHERE project_id = :project_id "
    "AND service_id = :service_id AND operation_id = :operation_id"
)
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
"""Seconds after which what no truth names counts as an orphan; more than a request takes."""

_ATTEMPTS = 40


class Held(NamedTuple):
    """An operation as it is stored, and the slot that its hint is in.

    Attributes:
        slot: None for an operation that is finished, and for one that has begun: until the
            first sign of life of its run, the hint of before leads to it.
        before: with that hint, as far as it is known.
    """

    operation: Operation
    slot: int | None
    before: "Held | None" = None


@dataclass(frozen=True)
class Truth:
    """A partition as it was read.

    Attributes:
        writer: of the last write; None while nothing was ever written.
        clock: of the last write, in microseconds: later than any before, and not much behind
            the time of day.
        queue: the states of the unfinished operations, and of superseded ones whose run has
            not ended, by id.
        claims: the service's domains, each with the token of its claim.
        service: None if there is none; of a removed one, as it was last.
        removed_at: when it was removed, or fenced before it was created.
        operations: those that were read with it, by id.
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
    def identity(self) -> dict[str, str]:
        """The partition key."""
        return {"project_id": self.project_id, "service_id": self.service_id}

    def tick(self) -> int:
        """A clock for the next write."""
        return max(self.clock + 1, codec.now())


@dataclass(frozen=True)
class Change:
    """What to write; whatever is None stays as it is.

    Attributes:
        clock: from :meth:`Truth.tick`.
        operations: to store, each with the slot of its hint.
    """

    clock: int
    service: Service | None = None
    claims: Mapping[str, str] | None = None
    removed_at: int | None = None
    operations: Sequence[Held] = ()


def read(database: Database, key: tuple[str, ...], level: int | None = None) -> Truth:
    """A service's partition, without operations."""
    project_id, service_id = key[:2]
    identity = {"project_id": project_id, "service_id": service_id}
    rows = database.read(READ, identity, level)
    return _to_truth(project_id, service_id, rows[0]) if rows else Truth(project_id, service_id)


def read_each(database: Database, keys: Sequence[tuple[str, str]]) -> list[Truth]:
    """Several services' partitions, without operations, asked side by side."""
    identities = [{"project_id": key[0], "service_id": key[1]} for key in keys]
    answers = database.read_each((READ, identity) for identity in identities)
    return [
        _to_truth(*key, rows[0]) if rows else Truth(*key)
        for key, rows in zip(keys, answers, strict=True)
    ]


def scan(database: Database) -> Iterator[Truth]:
    """Every partition, page by page in the order of their hashes."""
    for project_id, service_id, *row in database.scan(SCAN):
        yield _to_truth(project_id, service_id, row)


def read_with_operation(database: Database, key: OperationKey) -> Truth:
    """A service's partition and one operation.

    If there is no such operation, nothing at all is found, as the static columns come with a
    row.
    """
    rows = database.read(READ_WITH_OPERATION, key._asdict())
    return to_truth(key, rows)


def with_operations(database: Database, truth: Truth, wanted: Any) -> Truth:
    """The same with more operations. If they are newer than it, it can't be written any more."""
    missing = [it for it in wanted if it not in truth.operations]
    if not missing:
        return truth
    rows = database.read(READ_OPERATIONS, {**truth.identity, "operation_ids": missing})
    held = (to_held(truth.project_id, truth.service_id, row) for row in rows)
    found = {it.operation.operation_id: it for it in held}
    return replace(truth, operations={**truth.operations, **found})


def to_truth(key: OperationKey, rows: Sequence[Row]) -> Truth:
    """From the rows of :data:`READ_WITH_OPERATION`."""
    if not rows:
        return Truth(key.project_id, key.service_id)
    truth = _to_truth(key.project_id, key.service_id, rows[0])
    held = to_held(key.project_id, key.service_id, rows[0][_N_STATICS:])
    return replace(truth, operations={key.operation_id: held})


def to_held(project_id: str, service_id: str, row: Row) -> Held:
    """From the columns of an operation."""
    operation_id, slot, *columns = row
    key = OperationKey(project_id, service_id, operation_id)
    return Held(codec.to_operation(key, columns), slot)


def write(
    database: Database, truth: Truth, change: Change, serial: int | None = None
) -> Truth | None:
    """Write the truth, if it is still as it was read: one conditional batch.

    Args:
        serial: the level of claims where the truth gives claims their meaning, for fences have
            that level too.

    An unknown outcome is decided by a serial read, which brings a write under way to its end:
    it finds our writer (applied), the one we read (not applied), or another's, which hides
    whether ours was there in between.

    Returns:
        The truth as it is now; None if another was quicker.

    Raises:
        Unavailable: it may or may not have been written. To repeat the whole call is safe: it
            reads what has come of it, and decides by that.
    """
    writer = uuid.uuid4()
    changed = _apply(truth, change, writer)
    calls = [_statement(changed, change, truth.writer)]
    for held in change.operations:
        ttl = database.retention if held.operation.state.finished else 0
        row = {**codec.operation_columns(held.operation, held.slot), "ttl": ttl}
        calls.append((PUT_OPERATION, row))
    serial = database.levels.operations if serial is None else serial
    try:
        applied, found = database.cas(calls, serial)
        # A request that the driver sent again finds what its first copy wrote.
        if applied or (found is not None and found.get("writer") == writer):
            return changed
    except Undecided:
        rows = database.read(READ_WRITER, truth.identity, serial)
        stored = rows[0][0] if rows else None
        if stored == writer:
            return changed
        if stored != truth.writer:
            raise
    return None


def fence(database: Database, truth: Truth, orphan: int = 0) -> bool:
    """Make sure that nobody who read the partition before can still write by what they read.

    A service that is not there (yet) is closed for good, as its id is never used again.

    Args:
        orphan: the clock of what is to be deleted; any later write gets a later one.

    Returns:
        Whether it was still as read.
    """
    closed = codec.now() if truth.service is None else truth.removed_at
    change = Change(max(truth.tick(), orphan), removed_at=closed)
    return write(database, truth, change, database.levels.claims) is not None


def attempts() -> Iterator[None]:
    """Goes round while other writers are quicker, with pauses that set them apart.

    Raises:
        Unavailable: they always were.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, min(0.25, 0.004 * 2 ** min(attempt, 6))))
        yield
    raise errors.Unavailable("Too many others write at the same time")


@contextlib.contextmanager
def best_effort(log: Any, what: str) -> Iterator[None]:
    """For what someone else will do if we can't."""
    try:
        yield
    except errors.Unavailable as exc:
        log.warning("%s is left for later: %s", what, exc)


def _statement(changed: Truth, change: Change, as_read: uuid.UUID | None) -> Call:
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


def _apply(truth: Truth, change: Change, writer: uuid.UUID) -> Truth:
    queue = dict(truth.queue)
    for held in change.operations:
        queue.pop(held.operation.operation_id, None)
        if not held.operation.state.finished or held.operation.is_held:
            queue[held.operation.operation_id] = str(held.operation.state)
    written = {held.operation.operation_id: held for held in change.operations}
    return replace(
        truth,
        writer=writer,
        clock=change.clock,
        queue=dict(sorted(queue.items())),
        claims=truth.claims if change.claims is None else change.claims,
        service=change.service or truth.service,
        removed_at=truth.removed_at if change.removed_at is None else change.removed_at,
        operations={**truth.operations, **written},
    )


def _to_truth(project_id: str, service_id: str, row: Row) -> Truth:
    writer, clock, queue, claims, removed_at, *service = row[:_N_STATICS]
    return Truth(
        project_id,
        service_id,
        writer=writer,
        clock=clock or 0,
        queue=json.loads(queue) if queue else {},
        claims=json.loads(claims) if claims else {},
        service=None if service[0] is None else codec.to_service(project_id, service_id, service),
        removed_at=removed_at,
    )
