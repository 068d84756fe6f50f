# SPDX-License-Identifier: Apache-2.0
"""The nodes of the operator's own edge in SQL: a small table."""

import datetime
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from poppy.common import errors
from poppy.model.edge import LIVE, MAX_NODES, Node, Report
from poppy.storage.sqlalchemy import schema
from poppy.storage.sqlalchemy.database import Database

_N = schema.EDGE_NODES.c

_THIS = _N.name == sa.bindparam("node")
_LIST = sa.select(schema.EDGE_NODES).order_by(_N.name).limit(MAX_NODES)
_GET = sa.select(schema.EDGE_NODES).where(_THIS)
_OF_TOKEN = sa.select(schema.EDGE_NODES).where(_N.token == sa.bindparam("hash"))
_COUNT = sa.select(sa.func.count()).select_from(schema.EDGE_NODES)
_FORGET = sa.delete(schema.EDGE_NODES).where(_THIS, _N.token.is_(None))
_ADD = sa.insert(schema.EDGE_NODES)
_JOIN = (
    sa.update(schema.EDGE_NODES)
    .where(_THIS, _N.join_token == sa.bindparam("hash"), _N.join_until > sa.bindparam("now"))
    .values(join_token=None, join_until=None, token=sa.bindparam("its_token"))
)
_HELD = sa.and_(_THIS, _N.token == sa.bindparam("hash"))
_REPORT = (
    sa.update(schema.EDGE_NODES)
    .where(
        _HELD,
        sa.or_(
            _N.instance.is_(None),
            _N.instance == sa.bindparam("its_instance"),
            _N.seen_at <= sa.bindparam("before"),
        ),
    )
    .values(
        instance=sa.bindparam("its_instance"),
        seen_at=sa.bindparam("now"),
        report=sa.bindparam("document"),
    )
)
_DRAINED = sa.select(_N.drained).where(_HELD)
_DRAIN = sa.update(schema.EDGE_NODES).where(_THIS).values(drained=sa.bindparam("is_drained"))
_PLACE = (
    sa.update(schema.EDGE_NODES)
    .where(_THIS)
    .values(pool=sa.bindparam("its_pool"), addresses=sa.bindparam("its_addresses"))
)
_REMOVE = sa.delete(schema.EDGE_NODES).where(_THIS)


class Nodes:
    """The part of the contract about nodes; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_node(self, node: Node) -> None:
        """Delete a row without a token, and insert one."""
        row = {
            "name": node.name,
            "pool": node.pool,
            "drained": node.drained,
            "addresses": " ".join(node.addresses),
            "token": node.token,
            "join_token": node.join_token,
            "join_until": node.join_until,
            "report": None,
        }

        def work(conn: sa.Connection) -> None:
            conn.execute(_FORGET, {"node": node.name})
            if conn.execute(_COUNT).scalar_one() >= MAX_NODES:
                raise errors.InvalidRequest(f"There are {MAX_NODES} nodes, which is the maximum")
            try:
                conn.execute(_ADD, row)
            except sa_exc.IntegrityError as exc:
                raise errors.InUse(
                    f"Node {node.name} has joined already: remove it first"
                ) from exc

        self._database.write(work)

    def nodes(self) -> Sequence[Node]:
        """Read the table."""
        with self._database.read() as conn:
            return [_node(row) for row in conn.execute(_LIST)]

    def node(self, name: str) -> Node | None:
        """Read a row by its key."""
        return self._first(_GET, {"node": name})

    def node_of(self, token: str) -> Node | None:
        """Read a row by its token."""
        return self._first(_OF_TOKEN, {"hash": token})

    def join(self, name: str, join_token: str, token: str, now: datetime.datetime) -> bool:
        """Run one conditional update."""
        row = {"node": name, "hash": join_token, "its_token": token, "now": now}
        return self._database.write(lambda conn: conn.execute(_JOIN, row).rowcount == 1)

    def report(self, name: str, token: str, report: Report, now: datetime.datetime) -> bool:
        """Run one conditional update, and read whether the node is drained."""
        held = {"node": name, "hash": token}
        row = {
            "its_instance": report.instance,
            "before": now - LIVE,
            "now": now,
            "document": report.to_dict(),
        }

        def work(conn: sa.Connection) -> bool:
            stored = conn.execute(_REPORT, {**held, **row}).rowcount == 1
            drained = conn.execute(_DRAINED, held).scalar()
            if drained is None:
                raise errors.NotFound(f"There is no node {name} with this token")
            if not stored:
                raise errors.Changed(f"Another instance of node {name} is live")
            return bool(drained)

        return self._database.write(work)

    def set_drained(self, name: str, drained: bool) -> None:
        """Update a row."""
        self._change(_DRAIN, {"node": name, "is_drained": drained})

    def place_node(self, name: str, pool: str, addresses: Sequence[str]) -> None:
        """Update a row."""
        row = {"node": name, "its_pool": pool, "its_addresses": " ".join(addresses)}
        self._change(_PLACE, row)

    def remove_node(self, name: str) -> None:
        """Delete a row."""
        self._change(_REMOVE, {"node": name})

    def _first(self, statement: sa.Select[Any], parameters: dict[str, Any]) -> Node | None:
        with self._database.read() as conn:
            found = conn.execute(statement, parameters).first()
        return None if found is None else _node(found)

    def _change(self, statement: sa.Update | sa.Delete, parameters: dict[str, Any]) -> None:
        def work(conn: sa.Connection) -> int:
            return conn.execute(statement, parameters).rowcount

        if self._database.write(work) == 0:
            raise errors.NotFound(f"There is no node {parameters['node']}")


def _node(row: sa.Row[Any]) -> Node:
    return Node(
        name=row.name,
        pool=row.pool,
        drained=row.drained,
        addresses=tuple((row.addresses or "").split()),
        token=row.token,
        join_token=row.join_token,
        join_until=row.join_until,
        report=Report.from_dict(row.report) if row.report else None,
        seen_at=row.seen_at,
    )
