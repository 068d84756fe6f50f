# SPDX-License-Identifier: Apache-2.0
"""Reads of operations in Cassandra: of the service's partition, of projections, and of hints."""

import abc
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence

from poppy.common import errors
from poppy.model.operations import Operation, OperationKey, State
from poppy.storage import operations as contract
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.due_index import DueIndex
from poppy.storage.cassandra.due_index_reader import DueIndexReader
from poppy.storage.cassandra.failed_operations import FailedOperations
from poppy.storage.cassandra.opened import Opened
from poppy.storage.cassandra.projections import Projections
from poppy.storage.cassandra.session import Database
from poppy.storage.cassandra.states import States

_AT_A_TIME = 50
"""How many operations to read in parallel."""

_FIND_PAGE = 1000
_FAR = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
"""Later than any due time, even an absurd one."""


class OperationReads(contract.OperationStore, abc.ABC):
    """Implements the reading methods of the contract; see it for each method."""

    def __init__(
        self,
        database: Database,
        due_index: DueIndex,
        projections: Projections,
        failed: FailedOperations,
        states: States,
        opened: Opened,
    ) -> None:
        self._database = database
        self._due_index = due_index
        self._due = DueIndexReader(database, due_index, projections)
        self._failed = failed
        self._states = states
        self._opened = opened

    def get(self, key: OperationKey) -> Operation:
        """Read an operation by primary key."""
        rows = self._database.read(partition.READ_OPERATION, key._asdict())
        if not rows:
            raise errors.NotFound(f"There is no operation {key.operation_id}")
        return partition.to_held(key.project_id, key.service_id, rows[0]).operation

    def list(self, project_id: str, service_id: str) -> Sequence[Operation]:
        """Read all operations of a service, which may be gone."""
        parameters = {"project_id": project_id, "service_id": service_id}
        rows = self._database.read(partition.LIST_OPERATIONS, parameters)
        # A partition that was fenced before its service was stored has no operation rows.
        return [partition.to_held(project_id, service_id, row).operation for row in rows if row[0]]

    def history(
        self, project_id: str, service_id: str, marker: str | None, limit: int
    ) -> Sequence[Operation]:
        """Read a slice of the service's partition, backwards."""
        parameters = {"project_id": project_id, "service_id": service_id, "page": limit}
        statement = partition.HISTORY
        if marker is not None:
            statement, parameters = partition.HISTORY_AFTER, {**parameters, "marker": marker}
        rows = self._database.read(statement, parameters)
        return [partition.to_held(project_id, service_id, row).operation for row in rows if row[0]]

    def find(
        self,
        states: Collection[State],
        before: datetime.datetime,
        marker: contract.Marker | None = None,
    ) -> Iterator[Operation]:
        """Read the projection by state; see :class:`.states.States`."""
        # Include operations that this process has just begun or ended.
        self._due_index.flush()
        for operation in self._states.find(states, codec.to_number(before), marker):
            if operation.created_at <= before:
                yield operation

    def fill(self) -> None:
        """Add operations stored by an earlier version to the projection by state. Safe to repeat.

        Raises:
            Unavailable: the cluster does not answer.
        """
        for hints in self._due_index.pages(codec.to_number(_FAR), _FIND_PAGE):
            self._states.fill(hint.key for hint in hints)
        self._states.fill(self._failed.keys())

    def failures(self, limit: int) -> Sequence[Operation]:
        """Follow the latest hints of failures, more than asked for.

        Some hints are stale: those of operations that were retried or have failed repeatedly.
        """
        keys = self._failed.latest(2 * limit + _AT_A_TIME)
        failed = [it for it in self._read(keys) if it.state is State.FAILED]
        return failed[:limit]

    def _read(self, keys: Sequence[OperationKey]) -> Iterator[Operation]:
        calls = [(partition.READ_OPERATION, key._asdict()) for key in keys]
        for key, rows in zip(keys, self._database.read_each(calls), strict=True):
            if rows:
                yield partition.to_held(key.project_id, key.service_id, rows[0]).operation

    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Leave empty partitions of the projection behind. Cassandra expires operations itself."""
        return self._states.tidy(limit)

    def due(
        self, now: datetime.datetime, limit: int, had: Mapping[str, int] | None = None
    ) -> Sequence[Operation]:
        """Follow hints; see :class:`.due_index_reader.DueIndexReader`."""
        return self._due.find(now, limit, had or {})

    def count_open(
        self, project_id: str, limit: int, now: datetime.datetime
    ) -> contract.Unfinished:
        """Count the project's rows; see :class:`.opened.Opened`."""
        return self._opened.count(project_id, limit, codec.to_number(now))
