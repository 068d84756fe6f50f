# SPDX-License-Identifier: Apache-2.0
"""Changes of operations in Cassandra, among them the fenced writes of runs.

Every writing method reads the service's partition and writes it by one conditional batch
(:func:`.partition.write`). If another writer was faster, it reads and decides again.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.model.operations import Operation, OperationKey, Purge, State
from poppy.model.provider_details import ProviderDetails
from poppy.model.services import Service
from poppy.storage import operations as contract
from poppy.storage.cassandra import codec, fencing, partition
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.due_index import DueIndex
from poppy.storage.cassandra.failed_operations import FailedOperations
from poppy.storage.cassandra.opened import Opened
from poppy.storage.cassandra.operation_reads import OperationReads
from poppy.storage.cassandra.partition import Change, Held, ServicePartition, best_effort
from poppy.storage.cassandra.projections import Projections
from poppy.storage.cassandra.services import give_way, let_go, superseded
from poppy.storage.cassandra.session import Database
from poppy.storage.cassandra.states import States

LOG = log.getLogger(__name__)


_RUNS = 1000
"""How many of this process's runs to remember."""


class OperationStore(OperationReads):
    """Implements the writing methods of the contract; see it for each method."""

    def __init__(
        self,
        database: Database,
        claims: Claims,
        due_index: DueIndex,
        projections: Projections,
        failed: FailedOperations,
        states: States,
        opened: Opened,
    ) -> None:
        super().__init__(database, due_index, projections, failed, states, opened)
        self._claims = claims
        self._projections = projections
        # The partition after the last write of each run, so that the next write need not read it.
        # If it is outdated, the conditional write fails.
        self._runs: dict[OperationKey, ServicePartition] = {}

    def join(self, project_id: str, service_id: str, purge: Purge) -> Operation | None:
        """Change the last queued operation, on the condition that the partition is unchanged."""
        for _ in partition.attempts():
            found = partition.read(self._database, (project_id, service_id))
            unfinished = [it for it, state in found.queue.items() if state != State.SUPERSEDED]
            if found.alive is None or not unfinished:
                return None
            found = partition.with_operations(self._database, found, [max(unfinished)])
            held = found.operations.get(max(unfinished))
            joined = held and held.operation.joined(purge)
            if held is None or joined is None or joined == held.operation:
                return joined
            if self._write(found, [joined]) is not None:
                return joined
        raise AssertionError("attempts() ends with an error")

    def requeue(self, operation: Operation, next_attempt_at: datetime.datetime) -> bool:
        """Take a due operation, on the condition that the partition is unchanged."""
        for _ in partition.attempts():
            found = partition.read_with_operation(self._database, operation.key)
            held = found.operations.get(operation.operation_id)
            if held is None or _moment(held.operation) != _moment(operation):
                return False
            lost = held.operation.state is State.RUNNING
            taken = replace(
                held.operation,
                state=State.QUEUED,
                next_attempt_at=next_attempt_at,
                crashes=held.operation.crashes + int(lost),
            )
            if self._write(found, [taken]) is not None:
                return True
        raise AssertionError("attempts() ends with an error")

    def begin(
        self, key: OperationKey, runner: str, now: datetime.datetime, until: datetime.datetime
    ) -> contract.Run:
        """Begin a run, on the condition that the partition is unchanged."""
        for _ in partition.attempts():
            found = partition.read_with_operation(self._database, key)
            held = found.operations.get(key.operation_id)
            service = found.alive
            if held is None or service is None:
                raise errors.NotRunnable(f"Operation {key.operation_id} or its service is gone")
            others = [it for it, state in found.queue.items() if state in fencing.MAY_PASS]
            found = partition.with_operations(self._database, found, others)
            fencing.check_runnable(found, held.operation, runner, now)
            lost = held.operation.state is State.RUNNING
            begun = replace(
                held.operation,
                state=State.RUNNING,
                attempt=held.operation.attempt + 1,
                crashes=held.operation.crashes + int(lost),
                runner=runner,
                next_attempt_at=until,
                updated_at=now,
            )
            # This ends superseded leases that have lapsed; a run that wakes up must find out.
            if self._begin(found, held, begun):
                return contract.Run(_utc(begun), service)
        raise AssertionError("attempts() ends with an error")

    def _begin(self, found: ServicePartition, before: Held, begun: Operation) -> bool:
        """Write the beginning of a run; return False if another writer was faster.

        With a single data centre only the partition is written: the previous hint stands in, if it
        comes before the lease lapses.
        """
        overtaken = give_way(found, begun)
        if overtaken or not (self._database.is_one_region and _comes_first(before, begun)):
            return self._write(found, [begun, *let_go(found), *overtaken]) is not None
        held = [Held(begun, None, before), *(Held(it, None) for it in let_go(found))]
        clock = found.tick()
        # In parallel with the partition, to save time. If this process dies now, the operation
        # stays listed as queued until another process takes it over.
        finish = self._database.send(self._states.puts([begun], clock))
        stored = partition.write(self._database, found, Change(clock, operations=held))
        with best_effort(LOG, "Updating the view of operations by state"):
            finish()
            if stored is not None:
                self._due_index.begun([before], held, clock)
        if stored is not None:
            self._remember_runs(stored, held)
        return stored is not None

    def save(self, operation: Operation, details: ProviderDetails | None) -> Operation | None:
        """Write a run's progress and its consequences."""
        for _ in partition.attempts():
            found, service = self._find_run(operation)
            following = None
            if contract.lets_others_begin(operation):
                found, following = self._following(found, operation.key, operation.updated_at)
            changed = _advance(service, operation, details)
            kept = found.claims
            if contract.may_release(operation) and not self._is_deploying(found, operation):
                kept = {name: it for name, it in found.claims.items() if name in service.claims}
            dropped = {name: it for name, it in found.claims.items() if name not in kept}
            if dropped and changed is None:
                changed = service
            operations = [operation] if following is None else [operation, following]
            self._claims.stamp(found, dropped, codec.to_number(operation.updated_at))
            if self._write(found, operations, changed, kept) is not None:
                with best_effort(LOG, "Releasing domains"):
                    self._claims.give_back(dropped)
                return following
        raise AssertionError("attempts() ends with an error")

    def renew(self, key: OperationKey, attempt: int, until: datetime.datetime) -> bool:
        """Renew the lease of a run."""
        for _ in partition.attempts():
            found = self._read_run(key)
            run = fencing.held_by(found, key, attempt) or fencing.check_ours(
                found, key, attempt, None
            )
            if self._write(found, [replace(run, next_attempt_at=until)]) is not None:
                return not run.state.finished
        raise AssertionError("attempts() ends with an error")

    def acknowledge(
        self, key: OperationKey, attempt: int, now: datetime.datetime
    ) -> Operation | None:
        """End the lease of a superseded run."""
        for _ in partition.attempts():
            found = partition.read_with_operation(self._database, key)
            run = fencing.held_by(found, key, attempt)
            if run is None or found.alive is None:
                return None
            found, following = self._following(found, key, now)
            ended = [replace(run, next_attempt_at=None)]
            if following is not None:
                ended.append(following)
            if self._write(found, ended) is not None:
                return following
        raise AssertionError("attempts() ends with an error")

    def remove(self, operation: Operation) -> None:
        """Mark a service as removed, then release what it held.

        Its partition stays, marked as removed. If the release fails or the process dies, the
        finder of the operation's last hint completes it. Domains can be claimed at once in any
        case.

        Raises:
            Unavailable: it may or may not have been removed. If it was, a repetition raises
                Fenced.
        """
        for _ in partition.attempts():
            found, service = self._find_run(operation)
            found = partition.with_operations(self._database, found, found.queue)
            ended = [operation, *superseded(found, operation), *let_go(found)]
            clock = found.tick()
            change = Change(
                clock,
                service,
                removed_at=codec.to_number(operation.updated_at),
                operations=self._due_index.put(ended, clock),
            )
            stored = partition.write(self._database, found, change)
            if stored is not None:
                self._due_index.write_later(self._opened.changes(ended, clock))
                with best_effort(LOG, "Releasing what a removed service held"):
                    self._projections.refresh(stored, found, self._due_index.dropped())
                    self._due_index.drop(found.operations.values(), (), clock)
                return

    def _write(
        self,
        found: ServicePartition,
        operations: Sequence[Operation],
        service: Service | None = None,
        claims: Mapping[str, str] | None = None,
    ) -> ServicePartition | None:
        """Write hints, then the partition, then projections, then delete superseded hints.

        The partition stands even if later steps fail. If the projections fail, the previous hints
        stay, and their finder writes the projections.
        """
        clock = found.tick()
        self._failed.put(operations)
        held = self._due_index.put(operations, clock)
        change = Change(clock, service, claims if service else None, operations=held)
        stored = partition.write(self._database, found, change)
        if stored is None:
            return None
        self._remember_runs(stored, held)
        written = {it.operation.operation_id for it in held}
        before = [it for name, it in found.operations.items() if name in written]
        with best_effort(LOG, "Updating views"):
            self._due_index.write_later(self._opened.changes(operations, clock))
            if service is not None or any(it.operation.state.finished for it in held):
                self._projections.refresh(stored, found, self._due_index.dropped())
            self._due_index.drop_later(before, held, clock)
        return stored

    def _following(
        self, found: ServicePartition, key: OperationKey, now: datetime.datetime
    ) -> tuple[ServicePartition, Operation | None]:
        """Return the operation that waited for this one, with a due time of now."""
        queued = [
            it
            for it, state in sorted(found.queue.items())
            if it != key.operation_id and state == State.QUEUED
        ]
        if not queued:
            return found, None
        found = partition.with_operations(self._database, found, queued[:1])
        held = found.operations.get(queued[0])
        if held is None:
            return found, None
        return found, _utc(replace(held.operation, next_attempt_at=now))

    def _is_deploying(self, found: ServicePartition, done: Operation) -> bool:
        """Whether another operation of the service will deploy it."""
        others = [
            it
            for it, state in found.queue.items()
            if it != done.operation_id and state != State.SUPERSEDED
        ]
        known = partition.with_operations(self._database, found, others).operations
        return any(known[it].operation.kind.deploys for it in others if it in known)

    def _find_run(self, operation: Operation) -> tuple[ServicePartition, Service]:
        found = self._read_run(operation.key)
        fencing.check_ours(found, operation.key, operation.attempt, operation.runner)
        if found.alive is None:
            raise fencing.fenced(operation.key)
        return found, found.alive

    def _read_run(self, key: OperationKey) -> ServicePartition:
        remembered = self._runs.pop(key, None)
        # Regions that decide independently may write in the same millisecond. Then the cells of
        # both writes are mixed, and a matching writer does not prove that the run is still valid.
        if remembered is not None and self._database.is_one_region:
            return remembered
        return partition.read_with_operation(self._database, key)

    def _remember_runs(self, stored: ServicePartition, written: Sequence[Held]) -> None:
        if len(self._runs) > _RUNS:
            self._runs.clear()
        for held in written:
            if held.operation.state is State.RUNNING:
                self._runs[held.operation.key] = stored


def _advance(
    service: Service, operation: Operation, details: ProviderDetails | None
) -> Service | None:
    if details is None:
        return None
    return replace(
        service.with_details(details),
        updated_at=operation.updated_at,
        revision=service.revision + 1,
    )


def _comes_first(hinted: Held, begun: Operation) -> bool:
    first, lease = hinted.operation.next_attempt_at, begun.next_attempt_at
    return hinted.slot is not None and bool(first and lease and first <= lease)


def _moment(operation: Operation) -> tuple[State, int, datetime.datetime | None]:
    return operation.state, operation.attempt, operation.next_attempt_at


def _utc(operation: Operation) -> Operation:
    """Return the operation with times as they are read back."""
    moment = codec.optional_number(operation.next_attempt_at)
    return replace(
        operation,
        next_attempt_at=None if moment is None else codec.to_moment(moment),
        updated_at=codec.to_moment(codec.to_number(operation.updated_at)),
    )
