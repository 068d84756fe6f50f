# SPDX-License-Identifier: Apache-2.0
"""Accounts, orders and events of certificates for the operator's own edge in Cassandra.

Accounts and orders change by conditional writes only, so a worker with a slow clock can't lose a
state. The index of due orders is written before an order and cleaned up after it: a process that
dies in between leaves a row too many, which readers find out.
"""

import contextlib
import datetime
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from poppy.model.edge import KEPT, CertificateOrder, Certificates
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.edge_log import SHELF
from poppy.storage.cassandra.session import Call, Database

_STALE = datetime.timedelta(days=1)
"""A row of the index that is due for so long without its order is left over."""

_AUTHORITY = "WHERE directory = :directory"
ACCOUNT = f"SELECT account FROM edge_accounts {_AUTHORITY}"
ADD_ACCOUNT = (
    "INSERT INTO edge_accounts (directory, account) VALUES (:directory, :account) IF NOT EXISTS"
)
PUT_ACCOUNT = f"UPDATE edge_accounts SET account = :account {_AUTHORITY} IF EXISTS"

_THIS = "WHERE service_id = :service_id AND order_id = :order_id"
ORDERS = (
    "SELECT project_id, service_id, order_id, content, due_at FROM edge_orders "
    "WHERE service_id = :service_id"
)
DUE_AT = f"SELECT due_at, project_id FROM edge_orders {_THIS}"
ADD_ORDER = (
    "INSERT INTO edge_orders (service_id, order_id, project_id, content, due_at) "
    "VALUES (:service_id, :order_id, :project_id, :content, :due_at) IF NOT EXISTS"
)
PUT_ORDER = (
    "UPDATE edge_orders SET project_id = :project_id, content = :content, due_at = :due_at "
    f"{_THIS} IF EXISTS"
)
DELETE_ORDER = f"DELETE FROM edge_orders {_THIS} IF EXISTS"

DUE = (
    "SELECT due_at, service_id, order_id FROM edge_due "
    "WHERE shelf = :shelf AND due_at <= :now LIMIT :page"
)
PUT_DUE = (
    "INSERT INTO edge_due (shelf, due_at, service_id, order_id) "
    "VALUES (:shelf, :due_at, :service_id, :order_id)"
)
DELETE_DUE = (
    "DELETE FROM edge_due WHERE shelf = :shelf AND due_at = :due_at "
    "AND service_id = :service_id AND order_id = :order_id"
)

EVENTS = "SELECT at FROM edge_events WHERE key = :key AND at > :since"
ADD_EVENT = "INSERT INTO edge_events (key, at, event_id) VALUES (:key, :at, :id) USING TTL :ttl"


class CertificateRows(Certificates):
    """The part of the contract about certificates; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def account(self, directory: str) -> Mapping[str, Any] | None:
        """Read a row."""
        rows = self._database.read(ACCOUNT, {"directory": directory}, self._database.levels.claims)
        found: Mapping[str, Any] | None = json.loads(rows[0][0]) if rows else None
        return found

    def add_account(self, directory: str, account: Mapping[str, Any]) -> Mapping[str, Any]:
        """Insert a row unless there is one."""
        row = {"directory": directory, "account": codec.to_text(account)}
        for _ in partition.attempts():
            stored = self.account(directory)
            if stored is not None:
                return stored
            with contextlib.suppress(Undecided):
                self._change(ADD_ACCOUNT, row)
        raise AssertionError("attempts() ends with an error")

    def put_account(self, directory: str, account: Mapping[str, Any]) -> None:
        """Update the row, or insert it."""
        row = {"directory": directory, "account": codec.to_text(account)}
        self._put(PUT_ACCOUNT, ADD_ACCOUNT, row)

    def orders(self, service_id: str) -> Sequence[CertificateOrder]:
        """Read the partition of a service."""
        this = {"service_id": service_id}
        return [
            CertificateOrder(
                project_id,
                service_id,
                order_id,
                json.loads(content),
                None if due_at is None else codec.to_moment(due_at),
            )
            for project_id, service_id, order_id, content, due_at in self._database.read(
                ORDERS, this, self._database.levels.claims
            )
        ]

    def put_order(self, order: CertificateOrder) -> None:
        """Write the new row of the index, then the order, and delete the old row of the index."""
        due_at = codec.optional_number(order.due_at)
        this = {"service_id": order.service_id, "order_id": order.order_id}
        rows = self._database.read(DUE_AT, this, self._database.levels.claims)
        if due_at is not None:
            self._write(PUT_DUE, {**this, "due_at": due_at})
        content = codec.to_text(order.content)
        row = {**this, "project_id": order.project_id, "content": content, "due_at": due_at}
        self._put(PUT_ORDER, ADD_ORDER, row)
        if rows and rows[0][0] not in (None, due_at):
            self._write(DELETE_DUE, {**this, "due_at": rows[0][0]})

    def delete_orders(self, service_id: str, order_ids: Collection[str]) -> None:
        """Delete each order, and then its row of the index."""
        for order_id in sorted(order_ids):
            this = {"service_id": service_id, "order_id": order_id}
            rows = self._database.read(DUE_AT, this, self._database.levels.claims)
            for _ in partition.attempts():
                with contextlib.suppress(Undecided):
                    self._change(DELETE_ORDER, this)
                    break
            if rows and rows[0][0] is not None:
                self._write(DELETE_DUE, {**this, "due_at": rows[0][0]})

    def due(self, now: datetime.datetime, limit: int) -> Sequence[tuple[str, str]]:
        """Read the index, and then the orders that it names."""
        wanted = {"shelf": SHELF, "now": codec.to_number(now), "page": limit}
        rows = self._database.read(DUE, wanted, self._database.levels.wide)
        keys = [
            {"service_id": service_id, "order_id": order_id} for _, service_id, order_id in rows
        ]
        calls: list[Call] = [(DUE_AT, key) for key in keys]
        found = dict.fromkeys(self._due(rows, keys, self._database.read_each(calls), now))
        return list(found)

    def _due(
        self,
        rows: Sequence[Any],
        keys: Sequence[dict[str, str]],
        orders: Sequence[Sequence[Any]],
        now: datetime.datetime,
    ) -> Iterator[tuple[str, str]]:
        for (due_at, service_id, _), key, order in zip(rows, keys, orders, strict=True):
            if order and order[0][0] == due_at:
                yield order[0][1], service_id
            elif due_at < codec.to_number(now - _STALE):
                self._write(DELETE_DUE, {**key, "due_at": due_at})

    def events(self, key: str, since: datetime.datetime) -> Sequence[datetime.datetime]:
        """Read a part of the partition of a key."""
        this = {"key": key, "since": codec.to_number(since)}
        rows = self._database.read(EVENTS, this, self._database.levels.wide)
        return [codec.to_moment(at) for (at,) in rows]

    def add_event(self, key: str, at: datetime.datetime) -> None:
        """Insert a row that expires."""
        row = {
            "key": key,
            "at": codec.to_number(at),
            "id": uuid.uuid4(),
            "ttl": int(KEPT.total_seconds()),
        }
        self._database.write([(ADD_EVENT, row)], self._database.levels.wide)

    def _write(self, cql: str, row: Mapping[str, Any]) -> None:
        self._database.write([(cql, {"shelf": SHELF, **row})], self._database.levels.wide)

    def _put(self, update: str, insert: str, row: Mapping[str, Any]) -> None:
        """Update a row, or insert it if there is none."""
        for _ in partition.attempts():
            with contextlib.suppress(Undecided):
                if self._change(update, row) or self._change(insert, row):
                    return

    def _change(self, cql: str, row: Mapping[str, Any]) -> bool:
        return self._database.cas([(cql, row)], self._database.levels.claims)[0]
