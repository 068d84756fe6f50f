# SPDX-License-Identifier: Apache-2.0
"""Services in SQL."""

import datetime
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.model import lifecycle
from poppy.model.operations import Kind, Operation, OperationKey
from poppy.model.services import Service, Status
from poppy.storage import services as contract
from poppy.storage.sqlalchemy import claims, idempotency, queries, rows, schema
from poppy.storage.sqlalchemy.database import Database

_S = schema.SERVICES.c

_ADD = sa.insert(schema.SERVICES)
_GET = sa.select(schema.SERVICES).where(rows.THIS_SERVICE)
_LIST = (
    sa.select(schema.SERVICES)
    .where(_S.project_id == sa.bindparam("project"), _S.service_id > sa.bindparam("marker"))
    .order_by(_S.service_id)
    .limit(sa.bindparam("page"))
)
_LIST_BY_STATUS = (
    sa.select(schema.SERVICES)
    .where(
        _S.project_id == sa.bindparam("project"),
        _S.status == sa.bindparam("only"),
        _S.service_id > sa.bindparam("marker"),
    )
    .order_by(_S.service_id)
    .limit(sa.bindparam("page"))
)
_SCAN = (
    sa.select(schema.SERVICES)
    .where(
        sa.tuple_(_S.project_id, _S.service_id)
        > sa.tuple_(sa.bindparam("project"), sa.bindparam("marker"))
    )
    .order_by(_S.project_id, _S.service_id)
    .limit(sa.bindparam("page"))
)
_SCAN_PAGE = 500
_REPLACE = (
    sa.update(schema.SERVICES)
    .where(rows.THIS_SERVICE, _S.revision == sa.bindparam("as_read"))
    .values(revision=_S.revision + 1)
)


class ServiceStore(contract.ServiceStore):
    """Implements the contract; see it for each method."""

    def __init__(self, database: Database, policy: Callable[[], Policy]) -> None:
        self._database = database
        self._policy = policy

    def create(
        self,
        service: Service,
        operation: Operation,
        default_limit: int,
        key: contract.IdempotencyKey | None = None,
    ) -> None:
        """Store a service, its claims and its operation in one transaction."""

        def work(conn: sa.Connection) -> None:
            # Before a place is taken: a repeated request needs none.
            if key is not None:
                idempotency.add(conn, service, key, operation.created_at)
            claims.count_up(conn, service.project_id, default_limit)
            try:
                conn.execute(
                    _ADD,
                    {
                        "project_id": service.project_id,
                        "service_id": service.service_id,
                        "created_at": service.created_at,
                        "revision": service.revision,
                        **rows.changes_of(service),
                    },
                )
            except sa_exc.IntegrityError as exc:
                raise _no_such_flavor(service) from exc
            claims.claim_first(conn, service, self._policy(), operation.created_at)
            queries.put_urls(conn, service)
            rows.add_operation(conn, operation)

        self._database.write(work)

    def created_by(self, project_id: str, key: contract.IdempotencyKey) -> str | None:
        """Read the key's row."""
        with self._database.read() as conn:
            return idempotency.find(conn, project_id, key, datetime.datetime.now(datetime.UTC))

    def get(self, project_id: str, service_id: str) -> Service:
        """Read a service by primary key."""
        with self._database.read() as conn:
            row = conn.execute(_GET, {"project": project_id, "service": service_id}).first()
        if row is None:
            raise _not_found(service_id)
        return rows.to_service(row)

    def list(
        self, project_id: str, marker: str | None, limit: int, status: Status | None = None
    ) -> Sequence[Service]:
        """Read a page of an index, starting after the marker."""
        parameters = {"project": project_id, "marker": marker or "", "page": limit}
        query = _LIST
        if status is not None:
            query = _LIST_BY_STATUS
            parameters["only"] = str(status)
        with self._database.read() as conn:
            return [rows.to_service(row) for row in conn.execute(query, parameters)]

    def scan(self) -> Iterator[Service]:
        """Read all services in pages by primary key, without a connection between pages."""
        after = {"project": "", "marker": ""}
        while True:
            with self._database.read() as conn:
                page = conn.execute(_SCAN, {**after, "page": _SCAN_PAGE}).all()
            yield from map(rows.to_service, page)
            if len(page) < _SCAN_PAGE:
                return
            after = {"project": page[-1].project_id, "marker": page[-1].service_id}

    def submit(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue an operation in one transaction.

        Of two concurrent calls, the second one waits for the service's row and then finds a
        different revision.
        """

        def work(conn: sa.Connection) -> None:
            self._replace(conn, service)
            if operation.kind.deploys:
                claims.claim(conn, service, self._policy(), operation.created_at)
            queries.put_urls(conn, service)
            is_delete = operation.kind is Kind.DELETE
            if is_delete or operation.kind.deploys:
                found = rows.load(conn, operation.key, service, whole=is_delete)
                rows.store(conn, lifecycle.superseded_by(found, operation))
            rows.add_operation(conn, operation)

        self._database.write(work)

    def reopen(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue a failed operation in one transaction."""

        def work(conn: sa.Connection) -> None:
            self._replace(conn, service)
            lifecycle.check_failed(rows.get_operation(conn, operation.key), operation)
            rows.store(conn, [operation])

        self._database.write(work)

    def amend(self, service: Service) -> None:
        """Replace a service in one transaction, under the lock of its row."""

        def work(conn: sa.Connection) -> None:
            self._replace(conn, service)
            key = OperationKey(service.project_id, service.service_id, "")
            lifecycle.check_idle(rows.load(conn, key, service).states, service)
            queries.put_urls(conn, service)

        self._database.write(work)

    @staticmethod
    def _replace(conn: sa.Connection, service: Service) -> None:
        key = rows.identify(service)
        try:
            result = conn.execute(
                _REPLACE, {**key, "as_read": service.revision, **rows.changes_of(service)}
            )
        except sa_exc.IntegrityError as exc:
            raise _no_such_flavor(service) from exc
        if result.rowcount == 1:
            return
        row = conn.execute(_GET, key).first()
        raise lifecycle.outdated(None if row is None else rows.to_service(row), service)


def _not_found(service_id: str) -> errors.NotFound:
    return errors.NotFound(f"There is no service {service_id}")


def _no_such_flavor(service: Service) -> errors.InvalidRequest:
    return errors.InvalidRequest(f"There is no flavor {service.spec.flavor_id}")
