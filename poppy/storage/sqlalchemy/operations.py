# SPDX-License-Identifier: Apache-2.0
"""Operations in SQL, and the fenced writes of runs."""

import datetime
import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.model import lifecycle
from poppy.model.lifecycle import Aggregate, Transition
from poppy.model.operations import Operation, OperationKey, Purge, State
from poppy.model.provider_details import ProviderDetails
from poppy.model.secrets import Secret
from poppy.model.services import Service
from poppy.storage import operations as contract
from poppy.storage.sqlalchemy import claims, queries, queue, rows, statements
from poppy.storage.sqlalchemy.database import Database

_FINISHED = tuple(str(state) for state in State if state.finished)
_FIRST = contract.Marker(datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), "")
_FIND_PAGE = 100
"""The default page size of operators' listings, so that a page takes one query."""


class OperationStore(contract.OperationStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database, policy: Callable[[], Policy]) -> None:
        self._database = database
        self._policy = policy

    def get(self, key: OperationKey) -> Operation:
        """Read an operation by primary key."""
        with self._database.read() as conn:
            row = conn.execute(statements.GET, _identify(key)).first()
        if row is None:
            raise errors.NotFound(f"There is no operation {key.operation_id}")
        return rows.to_operation(row)

    def list(self, project_id: str, service_id: str) -> Sequence[Operation]:
        """Read all operations of a service, which may be gone."""
        parameters = {"project": project_id, "service": service_id}
        with self._database.read() as conn:
            return [rows.to_operation(row) for row in conn.execute(statements.LIST, parameters)]

    def history(
        self, project_id: str, service_id: str, marker: str | None, limit: int
    ) -> Sequence[Operation]:
        """Read a page of the primary key's index backwards."""
        parameters = {"project": project_id, "service": service_id, "page": limit}
        statement = statements.HISTORY
        if marker is not None:
            statement, parameters = statements.HISTORY_AFTER, {**parameters, "marker": marker}
        with self._database.read() as conn:
            return [rows.to_operation(row) for row in conn.execute(statement, parameters)]

    def find(
        self,
        states: Collection[State],
        before: datetime.datetime,
        marker: contract.Marker | None = None,
    ) -> Iterator[Operation]:
        """Read the index by state, oldest first."""
        found = [self._find(str(state), before, marker or _FIRST) for state in states]
        return heapq.merge(*found, key=lambda it: (it.created_at, it.operation_id))

    def _find(
        self, state: str, before: datetime.datetime, marker: contract.Marker
    ) -> Iterator[Operation]:
        moment, operation_id = marker
        while True:
            parameters = {
                "wanted": state,
                "before": before,
                "from_moment": moment,
                "from_id": operation_id,
                "page": _FIND_PAGE,
            }
            with self._database.read() as conn:
                page = [
                    rows.to_operation(row) for row in conn.execute(statements.FIND, parameters)
                ]
            yield from page
            if len(page) < _FIND_PAGE:
                return
            moment, operation_id = page[-1].created_at, page[-1].operation_id

    def failures(self, limit: int) -> Sequence[Operation]:
        """Read the end of the index by state."""
        with self._database.read() as conn:
            result = conn.execute(statements.FAILURES, {"page": limit})
            return [rows.to_operation(row) for row in result]

    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Delete operations at the head of the index by state, by primary key."""
        gone = 0
        for state in _FINISHED:
            parameters = {"wanted": state, "before": before, "page": limit - gone}
            with self._database.read() as conn:
                keys = [
                    {"service": service_id, "operation": operation_id}
                    for service_id, operation_id in conn.execute(statements.EXPIRED, parameters)
                ]
            self._forget(keys)
            gone += len(keys)
            if gone >= limit:
                break
        return gone

    def _forget(self, keys: Sequence[dict[str, str]]) -> None:
        if keys:
            self._database.write(lambda conn: conn.execute(statements.FORGET, keys))

    def due(
        self, now: datetime.datetime, limit: int, had: Mapping[str, int] | None = None
    ) -> Sequence[Operation]:
        """Read due operations in fair order; see :mod:`.queue`."""
        with self._database.read() as conn:
            return queue.due(conn, now, limit, had or {})

    def count_open(
        self, project_id: str, limit: int, now: datetime.datetime
    ) -> contract.Unfinished:
        """Count in the index by project, up to the limit."""
        with self._database.read() as conn:
            return queue.count_open(conn, project_id, limit, now)

    def join(self, project_id: str, service_id: str, purge: Purge) -> Operation | None:
        """Change the last unfinished operation, under the lock of the service's row."""
        parameters = {"project": project_id, "service": service_id}

        def work(conn: sa.Connection) -> Operation | None:
            key = OperationKey(project_id, service_id, "")
            if rows.lock_service(conn, key) is None:
                return None
            row = conn.execute(statements.LAST, parameters).first()
            last = None if row is None else rows.to_operation(row)
            joined = last and last.joined(purge)
            if joined is None or joined == last:
                return joined
            changed = {**_identify(joined.key), "progress": joined.progress_to_dict()}
            return joined if conn.execute(statements.JOIN, changed).rowcount == 1 else None

        return self._database.write(work)

    def requeue(self, operation: Operation, next_attempt_at: datetime.datetime) -> bool:
        """Take a due operation by one conditional update, which only one dispatcher wins."""
        taken = lifecycle.requeue(operation, operation, next_attempt_at)
        assert taken is not None  # unless the stored operation differs: the update's condition
        parameters = {
            **_identify(operation.key),
            "state_read": str(operation.state),
            "attempt_read": operation.attempt,
            "time_read": operation.next_attempt_at,
            "until": taken.next_attempt_at,
            "lost": taken.crashes - operation.crashes,
        }
        return self._database.write(
            lambda conn: conn.execute(statements.REQUEUE, parameters).rowcount == 1
        )

    def change(
        self,
        key: OperationKey,
        decide: Callable[[Aggregate], contract.T],
        needed: contract.Needed = lifecycle.nothing,
        *,
        by_run: bool = False,
    ) -> contract.T:
        """Decide under the locks of the service's row and its operations."""

        def work(conn: sa.Connection) -> contract.T:
            service = rows.lock_service(conn, key)
            transition = decide(rows.load(conn, key, service))
            if transition is not None:
                self._write(conn, service, transition)
            return transition

        return self._database.write(work)

    def _write(self, conn: sa.Connection, service: Service | None, transition: Transition) -> None:
        rows.store(conn, transition.operations)
        if transition.service is not None:
            _write_details(conn, transition.service)
        if transition.releases and service is not None:
            at = transition.operations[0].updated_at
            claims.release_unused(conn, service, self._policy(), at)

    def save(self, operation: Operation, details: ProviderDetails | None) -> Operation | None:
        """Write a run's progress and its consequences in one transaction.

        Progress that concerns no other operation needs no lock: whether the run may write is the
        condition of the update.
        """
        if lifecycle.lets_others_begin(operation):
            return super().save(operation, details)
        self._database.write(lambda conn: _write_progress(conn, operation, details))
        return None

    def renew(self, key: OperationKey, attempt: int, until: datetime.datetime) -> bool:
        """Renew a run's lease by one conditional update, or two if it was superseded."""
        parameters = {**_identify(key), "our_attempt": attempt, "until": until}

        def work(conn: sa.Connection) -> bool:
            if conn.execute(statements.RENEW, parameters).rowcount == 1:
                return True
            if conn.execute(statements.HOLD, parameters).rowcount != 1:
                raise lifecycle.lost(None, key, attempt)
            return False

        return self._database.write(work)

    def remove(self, operation: Operation) -> None:
        """Archive and delete a service in one transaction.

        Operations queued behind the delete can't run without the service. They become
        superseded; otherwise they would be due forever.
        """

        def work(conn: sa.Connection) -> None:
            claims.count_down(conn, operation.project_id)
            service = rows.lock_service(conn, operation.key)
            found = rows.load(conn, operation.key, service, whole=True)
            rows.store(conn, lifecycle.remove(found, operation).operations)
            assert service is not None  # or the removal was refused
            conn.execute(statements.ARCHIVE, _archived(service, operation.updated_at))
            claims.release_all(conn, service, self._policy(), operation.updated_at)
            queries.put_urls(conn, service.with_details({}))
            conn.execute(statements.DELETE_SERVICE, rows.identify(service))

        self._database.write(work)


def _identify(key: OperationKey) -> dict[str, Any]:
    return {**rows.identify(key), "operation": key.operation_id}


def _write_progress(
    conn: sa.Connection, operation: Operation, details: ProviderDetails | None
) -> None:
    """Write a run's progress and the service's details, if the run may still write."""
    service = None if details is None else rows.lock_service(conn, operation.key)
    parameters = {
        **_identify(operation.key),
        "our_attempt": operation.attempt,
        **rows.progress_of(operation),
    }
    if conn.execute(statements.SAVE, parameters).rowcount != 1:
        row = conn.execute(statements.GET, _identify(operation.key)).first()
        stored = None if row is None else rows.to_operation(row)
        raise lifecycle.lost(stored, operation.key, operation.attempt)
    if details is not None:
        if service is None:
            raise lifecycle.lost(None, operation.key, operation.attempt)
        _write_details(conn, lifecycle.with_details(service, operation, details))


def _write_details(conn: sa.Connection, service: Service) -> None:
    conn.execute(
        statements.SAVE_DETAILS,
        {
            **rows.identify(service),
            "provider_details": rows.details_to_dict(service.provider_details),
            "status": service.status_bucket,
            "revision": service.revision,
            "updated_at": service.updated_at,
        },
    )
    queries.put_urls(conn, service)


def _archived(service: Service, at: datetime.datetime) -> dict[str, Any]:
    return {
        "project_id": service.project_id,
        "service_id": service.service_id,
        "document": {
            "spec": service.spec.to_dict(Secret.stored),
            "provider_details": rows.details_to_dict(service.provider_details),
            "disabled": service.disabled,
            "revision": service.revision,
            "created_at": service.created_at.isoformat(),
            "updated_at": service.updated_at.isoformat(),
        },
        "deleted_at": at,
    }
