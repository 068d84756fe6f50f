# SPDX-License-Identifier: Apache-2.0
"""Services in Cassandra."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.model import lifecycle
from poppy.model.operations import Operation
from poppy.model.services import Service, Status
from poppy.storage import services as contract
from poppy.storage.cassandra import codec, partition, projections
from poppy.storage.cassandra.claims import Claims
from poppy.storage.cassandra.due_index import DueIndex
from poppy.storage.cassandra.flavor_references import FlavorReferences
from poppy.storage.cassandra.idempotency import Keys
from poppy.storage.cassandra.lookups import Lookups
from poppy.storage.cassandra.opened import Opened
from poppy.storage.cassandra.partition import Change, ServicePartition, best_effort
from poppy.storage.cassandra.projections import Projections
from poppy.storage.cassandra.quota import Quota
from poppy.storage.cassandra.session import Database

LOG = log.getLogger(__name__)

QUEUE_LIMIT = 500
"""The maximum number of unfinished operations per service: every write rewrites their list."""


class ServiceStore(contract.ServiceStore):
    """Implements the contract; see it for each method."""

    def __init__(
        self,
        database: Database,
        claims: Claims,
        quota: Quota,
        references: FlavorReferences,
        due_index: DueIndex,
        projections: Projections,
        lookups: Lookups,
        opened: Opened,
    ) -> None:
        self._database = database
        self._claims = claims
        self._quota = quota
        self._references = references
        self._due_index = due_index
        self._projections = projections
        self._lookups = lookups
        self._opened = opened
        self._keys = Keys(database)

    def create(
        self,
        service: Service,
        operation: Operation,
        default_limit: int,
        key: contract.IdempotencyKey | None = None,
    ) -> None:
        """Take what the service needs, then store it with its operation in one batch.

        On failure everything is released. If that fails too, the rest are orphans, which others
        can take over some minutes later.

        Raises:
            Unavailable: it may or may not have been stored. If it was, its operation runs.
        """
        empty = ServicePartition(service.project_id, service.service_id)
        if key is not None:
            self._keys.claim(empty, key)
        tokens: dict[str, str] = {}
        clock = empty.tick()
        try:
            self._references.begin(empty, service.spec.flavor_id, clock)
            self._quota.take(service.project_id, service.service_id, default_limit)
            at = codec.to_number(operation.created_at)
            self._claims.claim(empty, service, service.claims, tokens, at)
            stored = self._store_first(empty, service, operation, tokens, clock)
        except errors.PoppyError as exc:
            with best_effort(LOG, "Releasing what a refused service held"):
                if not isinstance(exc, errors.Unavailable) or self._is_closed(empty):
                    self._give_back(replace(empty, clock=clock), service, tokens)
                    if key is not None:
                        self._keys.release(empty, key)
            raise
        with best_effort(LOG, "Updating the project's list of services"):
            self._projections.refresh(stored)

    def created_by(self, project_id: str, key: contract.IdempotencyKey) -> str | None:
        """Read the key's row, and check that its service's partition exists."""
        return self._keys.find(project_id, key)

    def get(self, project_id: str, service_id: str) -> Service:
        """Read a service: the static columns of one partition."""
        service = partition.read(self._database, (project_id, service_id)).alive
        if service is None:
            raise _not_found(service_id)
        return service

    def list(
        self, project_id: str, marker: str | None, limit: int, status: Status | None = None
    ) -> Sequence[Service]:
        """Read a slice of the project's partition, starting after the marker."""
        if status is not None:
            return self._lookups.of_project(project_id, str(status), marker, limit)
        parameters = {"project_id": project_id, "marker": marker or "", "page": limit}
        return [
            codec.from_document(project_id, service_id, document)
            for service_id, document in self._database.read(projections.LIST, parameters)
        ]

    def scan(self) -> Iterator[Service]:
        """Read all services from the partition, skipping removed ones."""
        for found in partition.scan(self._database):
            if found.alive is not None:
                yield found.alive

    def submit(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue an operation in one batch.

        Concurrent writes of runs are no reason to fail: it is retried as long as the revision is
        the one that was read.

        Raises:
            Unavailable: it may or may not have been stored. If it was, a repetition raises
                Changed.
        """
        tokens: dict[str, str] = {}
        try:
            stored, gone = self._submit(service, operation, tokens)
        except errors.PoppyError as exc:
            with best_effort(LOG, "Releasing domains of a refused change"):
                if not isinstance(exc, errors.Unavailable) or self._is_unnamed(service, tokens):
                    self._claims.give_back(tokens)
            raise
        with best_effort(LOG, "Updating the project's list of services"):
            overtaken = [it.operation for it in stored.operations.values()]
            self._projections.refresh(stored, gone, self._opened.changes(overtaken, stored.clock))
            self._due_index.drop(
                gone.operations.values(), stored.operations.values(), stored.clock
            )
            if gone.service is not None:
                flavor_id = gone.service.spec.flavor_id
                if flavor_id != service.spec.flavor_id:
                    self._references.drop(stored, flavor_id)

    def reopen(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue a failed operation in one batch."""
        for _ in partition.attempts():
            found = partition.read_with_operation(self._database, operation.key)
            if not found.operations:
                raise _not_found(service.service_id)
            changed = _replaced(found, service)
            before = found.operations[operation.operation_id]
            lifecycle.check_failed(before.operation, operation)
            clock = found.tick()
            along = list(self._opened.begins(operation, clock))
            held = self._due_index.put([operation], clock, along)
            change = Change(clock, changed, operations=held)
            stored = partition.write(self._database, found, change)
            if stored is not None:
                with best_effort(LOG, "Updating the project's list of services"):
                    self._projections.refresh(stored, found)
                    self._due_index.drop([before], held, clock)
                return
        raise AssertionError("attempts() ends with an error")

    def amend(self, service: Service) -> None:
        """Write the partition, which must have an empty queue.

        If the process dies before it has written the projections, there is no hint to repair them:
        they may be outdated until the next change.
        """
        for _ in partition.attempts():
            found = partition.read(self._database, (service.project_id, service.service_id))
            changed = _replaced(found, service)
            lifecycle.check_idle(found.queue, service)
            stored = partition.write(self._database, found, Change(found.tick(), changed))
            if stored is not None:
                with best_effort(LOG, "Updating the project's list of services"):
                    self._projections.refresh(stored, found)
                return

    def _store_first(
        self,
        empty: ServicePartition,
        service: Service,
        operation: Operation,
        tokens: dict[str, str],
        clock: int,
    ) -> ServicePartition:
        held = self._due_index.put([operation], clock, list(self._opened.begins(operation, clock)))
        change = Change(clock, service, claims=dict(tokens), operations=held)
        stored = partition.write(self._database, empty, change, self._database.levels.claims)
        if stored is None:
            # Fenced by a delete of the flavor, or because the create took too long.
            self._references.begin(replace(empty, clock=clock), service.spec.flavor_id, clock)
            raise errors.Unavailable("The service could not be stored in time")
        return stored

    def _is_closed(self, empty: ServicePartition) -> bool:
        """Whether a create with an unknown outcome was not stored and never will be."""
        found = partition.read(self._database, (empty.project_id, empty.service_id), self._serial)
        if found.writer is None:
            return partition.fence(self._database, found)
        return found.alive is None

    def _give_back(
        self, refused: ServicePartition, service: Service, tokens: dict[str, str]
    ) -> None:
        self._claims.give_back(tokens)
        self._quota.give_back(service.project_id, service.service_id)
        self._references.drop(refused, service.spec.flavor_id)

    @property
    def _serial(self) -> int:
        return self._database.levels.claims

    def _is_unnamed(self, service: Service, tokens: dict[str, str]) -> bool:
        """Whether no partition names, or ever will name, the claims of an undecided change."""
        if not tokens:
            return False
        for _ in partition.attempts():
            key = (service.project_id, service.service_id)
            found = partition.read(self._database, key, self._serial)
            if not set(found.claims.values()).isdisjoint(tokens.values()):
                return False
            if found.removed_at is not None or partition.fence(self._database, found):
                return True
        raise AssertionError("attempts() ends with an error")

    def _submit(
        self, service: Service, operation: Operation, tokens: dict[str, str]
    ) -> tuple[ServicePartition, ServicePartition]:
        """Write the partition; return the new and the previous one."""
        for _ in partition.attempts():
            found = partition.read(self._database, (service.project_id, service.service_id))
            changed = _replaced(found, service)
            clock = found.tick()
            flavor_id = service.spec.flavor_id
            moved = found.service is not None and found.service.spec.flavor_id != flavor_id
            if moved:
                self._references.begin(found, flavor_id, clock)
            wanted = service.claims if operation.kind.deploys else frozenset[str]()
            added = wanted - found.claims.keys()
            at = codec.to_number(operation.created_at)
            self._claims.claim(found, service, added, tokens, at)
            needed = lifecycle.needed_to_submit(found.queue, operation)
            found = partition.with_operations(self._database, found, needed)
            ended = lifecycle.superseded_by(found.aggregate, operation)
            along = list(self._opened.begins(operation, clock))
            held = self._due_index.put([*ended, operation], clock, along)
            change = Change(
                clock,
                changed,
                claims={**found.claims, **{name: tokens[name] for name in added}},
                operations=held,
            )
            serial = self._serial if added or moved else None
            stored = partition.write(self._database, found, change, serial)
            if stored is not None:
                return stored, found
        raise AssertionError("attempts() ends with an error")


def _replaced(found: ServicePartition, service: Service) -> Service:
    changed = lifecycle.replaced(found.alive, service)
    if len(found.queue) >= QUEUE_LIMIT:
        raise errors.ServiceBusy(
            f"Service {service.service_id} already has {QUEUE_LIMIT} unfinished operations"
        )
    return changed


def _not_found(service_id: str) -> errors.NotFound:
    return errors.NotFound(f"There is no service {service_id}")
