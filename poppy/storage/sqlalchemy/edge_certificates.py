# SPDX-License-Identifier: Apache-2.0
"""Accounts, orders and events of certificates for the operator's own edge in SQL."""

import datetime
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from poppy.model import ids
from poppy.model.edge import KEPT, CertificateOrder, Certificates
from poppy.storage.sqlalchemy import rows, schema
from poppy.storage.sqlalchemy.database import Database

_A = schema.EDGE_ACCOUNTS.c
_O = schema.EDGE_ORDERS.c
_E = schema.EDGE_EVENTS.c

_IS_DIRECTORY = _A.directory == sa.bindparam("hash")
_ACCOUNT = sa.select(_A.account).where(_IS_DIRECTORY)
_PUT_ACCOUNT = (
    sa.update(schema.EDGE_ACCOUNTS).where(_IS_DIRECTORY).values(account=sa.bindparam("document"))
)
_OF_SERVICE = _O.service_id == sa.bindparam("service")
_ORDERS = sa.select(schema.EDGE_ORDERS).where(_OF_SERVICE).order_by(_O.order_id)
_PUT_ORDER = sa.update(schema.EDGE_ORDERS).where(_OF_SERVICE, _O.order_id == sa.bindparam("id"))
_DUE = (
    sa.select(_O.project_id, _O.service_id)
    .where(_O.due_at <= sa.bindparam("now"))
    .order_by(_O.due_at)
    .limit(sa.bindparam("page"))
)
_DELETE_ORDERS = sa.delete(schema.EDGE_ORDERS).where(
    _OF_SERVICE, _O.order_id.in_(sa.bindparam("ids", expanding=True))
)
_EVENTS = (
    sa.select(_E.at)
    .where(_E.key == sa.bindparam("hash"), _E.at > sa.bindparam("since"))
    .order_by(_E.at)
)
_ADD_EVENT = sa.insert(schema.EDGE_EVENTS)
_DELETE_EVENTS = sa.delete(schema.EDGE_EVENTS).where(_E.at < sa.bindparam("before"))


class CertificateRows(Certificates):
    """The part of the contract about certificates; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def account(self, directory: str) -> Mapping[str, Any] | None:
        """Read a row by the hash of the URL, which may be longer than a key."""
        with self._database.read() as conn:
            return _account(conn, directory)

    def add_account(self, directory: str, account: Mapping[str, Any]) -> Mapping[str, Any]:
        """Insert a row unless there is one."""
        row = {"directory": _hash(directory), "account": account}

        def work(conn: sa.Connection) -> Mapping[str, Any]:
            rows.insert_missing(conn, schema.EDGE_ACCOUNTS, row)
            stored = _account(conn, directory)
            assert stored is not None
            return stored

        return self._database.write(work)

    def put_account(self, directory: str, account: Mapping[str, Any]) -> None:
        """Insert a row if it is missing, and update it."""
        row = {"directory": _hash(directory), "account": account}

        def work(conn: sa.Connection) -> None:
            rows.insert_missing(conn, schema.EDGE_ACCOUNTS, row)
            conn.execute(_PUT_ACCOUNT, {"hash": row["directory"], "document": account})

        self._database.write(work)

    def orders(self, service_id: str) -> Sequence[CertificateOrder]:
        """Read the rows of a service."""
        with self._database.read() as conn:
            found = conn.execute(_ORDERS, {"service": service_id})
            return [CertificateOrder(**row._mapping) for row in found]

    def put_order(self, order: CertificateOrder) -> None:
        """Insert a row if it is missing, and update it."""
        row = asdict(order)
        this = {"service": order.service_id, "id": order.order_id}

        def work(conn: sa.Connection) -> None:
            rows.insert_missing(conn, schema.EDGE_ORDERS, row)
            conn.execute(_PUT_ORDER, {**this, "content": order.content, "due_at": order.due_at})

        self._database.write(work)

    def due(self, now: datetime.datetime, limit: int) -> Sequence[tuple[str, str]]:
        """Read a range of the index."""
        with self._database.read() as conn:
            found = conn.execute(_DUE, {"now": now, "page": limit})
            return list(dict.fromkeys((row.project_id, row.service_id) for row in found))

    def delete_orders(self, service_id: str, order_ids: Collection[str]) -> None:
        """Delete rows by their keys."""
        this = {"service": service_id, "ids": sorted(order_ids)}
        if order_ids:
            self._database.write(lambda conn: conn.execute(_DELETE_ORDERS, this))

    def events(self, key: str, since: datetime.datetime) -> Sequence[datetime.datetime]:
        """Read a range of the index."""
        with self._database.read() as conn:
            return conn.execute(_EVENTS, {"hash": _hash(key), "since": since}).scalars().all()

    def add_event(self, key: str, at: datetime.datetime) -> None:
        """Insert a row, and delete old ones."""
        row = {"event_id": ids.new(), "key": _hash(key), "at": at}

        def work(conn: sa.Connection) -> None:
            conn.execute(_ADD_EVENT, row)
            conn.execute(_DELETE_EVENTS, {"before": at - KEPT})

        self._database.write(work)


def _account(conn: sa.Connection, directory: str) -> Mapping[str, Any] | None:
    return conn.execute(_ACCOUNT, {"hash": _hash(directory)}).scalar()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
