# SPDX-License-Identifier: Apache-2.0
"""Changes of operations in Cassandra, among them the fenced writes of runs.

Every writing method reads the service's partition and writes it by one conditional batch
(:func:`.partition.write`). If another writer was faster, it reads and decides again.
"""

from collections.abc import Callable, Sequence

from oslo_log import log

from poppy.model import lifecycle
from poppy.model.lifecycle import Aggregate, Transition
from poppy.model.operations import Operation, OperationKey, Purge, State
from poppy.storage import operations as contract
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.due_index import DueIndex
from poppy.storage.cassandra.failed_operations import FailedOperations
from poppy.storage.cassandra.opened import Opened
from poppy.storage.cassandra.operation_reads import OperationReads
from poppy.storage.cassandra.partition import Change, Held, ServicePartition, best_effort
from poppy.storage.cassandra.projections import Projections
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
            if self._write(found, Transition((joined,))):
                return joined
        raise AssertionError("attempts() ends with an error")

    def change(
        self,
        key: OperationKey,
        decide: Callable[[Aggregate], contract.T],
        needed: contract.Needed = lifecycle.nothing,
        *,
        by_run: bool = False,
    ) -> contract.T:
        """Write the decision on the condition that the partition is unchanged."""
        for _ in partition.attempts():
            found = self._read_run(key) if by_run else self._read_partition(key)
            found = partition.with_operations(self._database, found, needed(found.queue))
            transition = decide(found.aggregate)
            if transition is None or self._write(found, transition):
                return transition
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
            found = self._read_run(operation.key)
            found = partition.with_operations(self._database, found, found.queue)
            ended = lifecycle.remove(found.aggregate, operation).operations
            clock = found.tick()
            change = Change(
                clock,
                found.service,
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

    def _begin(self, found: ServicePartition, transition: Transition) -> bool:
        """Write only the partition: the previous hint comes before the lease lapses.

        Returns:
            False if another writer was faster.
        """
        begun, *others = transition.operations
        before = found.operations[begun.operation_id]
        held = [Held(begun, None, before), *(Held(it, None) for it in others)]
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

    def _is_hinted(self, found: ServicePartition, transition: Transition) -> bool:
        """Whether a run begins in the only region, and the hints that exist are enough."""
        if transition.run is None or not self._database.is_one_region:
            return False
        begun, *others = transition.operations
        return _comes_first(found.operations[begun.operation_id], begun) and all(
            found.operations[it.operation_id].operation.is_held for it in others
        )

    def _write(self, found: ServicePartition, transition: Transition) -> bool:
        """Write hints, then the partition, then projections, then delete superseded hints.

        The partition stands even if later steps fail. If the projections fail, the previous hints
        stay, and their finder writes the projections.

        Returns:
            False if another writer was faster.
        """
        if self._is_hinted(found, transition):
            return self._begin(found, transition)
        operations, service = transition.operations, transition.service
        dropped: dict[str, str] = {}
        if transition.releases and found.alive is not None:
            kept = found.alive.claims
            dropped = {name: it for name, it in found.claims.items() if name not in kept}
        if dropped:
            service = service or found.alive
            self._claims.stamp(found, dropped, codec.to_number(operations[0].updated_at))
        claims = {name: it for name, it in found.claims.items() if name not in dropped}
        clock = found.tick()
        self._failed.put(operations)
        held = self._due_index.put(operations, clock)
        change = Change(clock, service, claims if service else None, operations=held)
        stored = partition.write(self._database, found, change)
        if stored is None:
            return False
        self._remember_runs(stored, held)
        written = {it.operation.operation_id for it in held}
        before = [it for name, it in found.operations.items() if name in written]
        with best_effort(LOG, "Updating views"):
            self._due_index.write_later(self._opened.changes(operations, clock))
            if service is not None or any(it.operation.state.finished for it in held):
                self._projections.refresh(stored, found, self._due_index.dropped())
            self._due_index.drop_later(before, held, clock)
        with best_effort(LOG, "Releasing domains"):
            self._claims.give_back(dropped)
        return True

    def _read_run(self, key: OperationKey) -> ServicePartition:
        remembered = self._runs.pop(key, None)
        # Regions that decide independently may write in the same millisecond. Then the cells of
        # both writes are mixed, and a matching writer does not prove that the run is still valid.
        if remembered is not None and self._database.is_one_region:
            return remembered
        return self._read_partition(key)

    def _read_partition(self, key: OperationKey) -> ServicePartition:
        return partition.read_with_operation(self._database, key)

    def _remember_runs(self, stored: ServicePartition, written: Sequence[Held]) -> None:
        if len(self._runs) > _RUNS:
            self._runs.clear()
        for held in written:
            if held.operation.state is State.RUNNING:
                self._runs[held.operation.key] = stored


def _comes_first(hinted: Held, begun: Operation) -> bool:
    first, lease = hinted.operation.next_attempt_at, begun.next_attempt_at
    return hinted.slot is not None and bool(first and lease and first <= lease)
