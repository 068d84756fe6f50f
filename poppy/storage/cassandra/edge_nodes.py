# SPDX-License-Identifier: Apache-2.0
"""The nodes of the operator's own edge in Cassandra.

A node's row changes by conditional writes only. Reports are frequent, so they are plain writes to
another table, and refer to the node by its token: a delayed report of a node that was removed
since has no effect.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from poppy.common import errors
from poppy.model.edge import LIVE, MAX_NODES, Node, Report
from poppy.storage.cassandra import codec, partition
from poppy.storage.cassandra.driver_errors import Undecided
from poppy.storage.cassandra.edge_log import SHELF
from poppy.storage.cassandra.session import Call, Database, Row

_NODE = "name, pool, drained, addresses, token_hash, join_hash, join_until"
_REPORT = "name, token_hash, instance, seen_at, document"
_THIS = "WHERE shelf = :shelf AND name = :name"

LIST = f"SELECT {_NODE} FROM edge_nodes WHERE shelf = :shelf"
GET = f"SELECT {_NODE} FROM edge_nodes {_THIS}"
ADD = (
    "UPDATE edge_nodes SET pool = :pool, drained = :drained, addresses = :addresses, "
    f"join_hash = :join_hash, join_until = :join_until {_THIS} IF token_hash = null"
)
JOIN = (
    f"UPDATE edge_nodes SET token_hash = :token_hash, join_hash = null, join_until = null {_THIS} "
    "IF join_hash = :join_hash AND join_until > :now"
)
DRAIN = f"UPDATE edge_nodes SET drained = :drained {_THIS} IF EXISTS"
PLACE = f"UPDATE edge_nodes SET pool = :pool, addresses = :addresses {_THIS} IF EXISTS"
REMOVE = f"DELETE FROM edge_nodes {_THIS} IF EXISTS"
PUT_TOKEN = "INSERT INTO edge_tokens (token_hash, name) VALUES (:token_hash, :name)"
OF_TOKEN = "SELECT name FROM edge_tokens WHERE token_hash = :token_hash"
DELETE_TOKEN = "DELETE FROM edge_tokens WHERE token_hash = :token_hash"
PUT_REPORT = (
    f"INSERT INTO edge_reports (shelf, {_REPORT}) VALUES (:shelf, :name, :token_hash, :instance, "
    ":seen_at, :document)"
)
REPORTS = f"SELECT {_REPORT} FROM edge_reports WHERE shelf = :shelf"
GET_REPORT = f"SELECT {_REPORT} FROM edge_reports {_THIS}"
DELETE_REPORT = f"DELETE FROM edge_reports {_THIS}"


class Nodes:
    """The part of the contract about nodes; see it for each method."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_node(self, node: Node) -> None:
        """Run one conditional write, which also replaces a row without a token."""
        names = {row[0] for row in self._database.read(LIST, {"shelf": SHELF})}
        if len(names - {node.name}) >= MAX_NODES:
            raise errors.InvalidRequest(f"There are {MAX_NODES} nodes, which is the maximum")
        row = {
            "pool": node.pool,
            "drained": node.drained,
            "addresses": " ".join(node.addresses),
            "join_hash": node.join_token,
            "join_until": codec.optional_number(node.join_until),
        }
        if not self._cas(ADD, node.name, **row):
            raise errors.InUse(f"Node {node.name} has joined already: remove it first")

    def nodes(self) -> Sequence[Node]:
        """Read two small partitions."""
        calls = [(cql, {"shelf": SHELF}) for cql in (LIST, REPORTS)]
        nodes, reports = self._database.read_each(calls)
        found = {row[0]: row for row in reports}
        return [_node(row, found.get(row[0])) for row in nodes]

    def node(self, name: str) -> Node | None:
        """Read the rows of a node by its name."""
        return self._read(name)

    def node_of(self, token: str) -> Node | None:
        """Read the name, and then the node.

        A node that has just joined in another region is found by a read across regions.
        """
        for level in (self._database.levels.plain, self._database.levels.wide):
            rows = self._database.read(OF_TOKEN, {"token_hash": token}, level)
            node = self._read(rows[0][0], level) if rows else None
            if node is not None and node.token == token:
                return node
        return None

    def join(self, name: str, join_token: str, token: str, now: datetime.datetime) -> bool:
        """Write the row by which the token is found, and then run one conditional write."""
        wide = self._database.levels.wide
        self._database.write([(PUT_TOKEN, {"token_hash": token, "name": name})], wide)
        row = {"token_hash": token, "join_hash": join_token, "now": codec.to_number(now)}
        for _ in partition.attempts():
            try:
                joined = self._cas(JOIN, name, **row)
            except Undecided:
                node = self._read(name, self._database.levels.claims)
                if node is not None and node.join_token == join_token:
                    continue
                joined = node is not None and node.token == token
            if not joined:
                self._database.write([(DELETE_TOKEN, {"token_hash": token})], wide)
            return joined
        raise AssertionError("attempts() ends with an error")

    def report(self, name: str, token: str, report: Report, now: datetime.datetime) -> bool:
        """Read the node and its last report, and then replace the report.

        Of two instances that report at the same time, both may succeed once.
        """
        this = {"shelf": SHELF, "name": name}
        nodes, reports = self._database.read_each([(GET, this), (GET_REPORT, this)])
        node = _node(nodes[0], None) if nodes else None
        if node is None or node.token != token:
            raise errors.NotFound(f"There is no node {name} with this token")
        if reports:
            _name, its_token, instance, seen_at, _document = reports[0]
            is_live = seen_at > codec.to_number(now - LIVE)
            if its_token == token and instance != report.instance and is_live:
                raise errors.Changed(f"Another instance of node {name} is live")
        row = {
            **this,
            "token_hash": token,
            "instance": report.instance,
            "seen_at": codec.to_number(now),
            "document": codec.to_text(report.to_dict()),
        }
        self._database.write([(PUT_REPORT, row)])
        return node.drained

    def set_drained(self, name: str, drained: bool) -> None:
        """Run one conditional write."""
        if not self._cas(DRAIN, name, drained=drained):
            raise _not_found(name)

    def place_node(self, name: str, pool: str, addresses: Sequence[str]) -> None:
        """Run one conditional write."""
        if not self._cas(PLACE, name, pool=pool, addresses=" ".join(addresses)):
            raise _not_found(name)

    def remove_node(self, name: str) -> None:
        """Run one conditional write, and then delete what refers to the node."""
        node = self._read(name, self._database.levels.wide)
        if not self._cas(REMOVE, name):
            raise _not_found(name)
        calls: list[Call] = [(DELETE_REPORT, {"shelf": SHELF, "name": name})]
        if node is not None and node.token is not None:
            calls.append((DELETE_TOKEN, {"token_hash": node.token}))
        self._database.write(calls, self._database.levels.wide)

    def _read(self, name: str, level: int | None = None) -> Node | None:
        this = {"shelf": SHELF, "name": name}
        nodes = self._database.read(GET, this, level)
        if not nodes:
            return None
        reports = self._database.read(GET_REPORT, this)
        return _node(nodes[0], reports[0] if reports else None)

    def _cas(self, cql: str, name: str, **parameters: object) -> bool:
        call = (cql, {"shelf": SHELF, "name": name, **parameters})
        return self._database.cas([call], self._database.levels.claims)[0]


def _node(row: Row, report: Row | None) -> Node:
    name, pool, drained, addresses, token, join_token, join_until = row
    node: Mapping[str, Any] = {}
    if report is not None and token is not None and report[1] == token:
        node = {
            "report": Report.from_dict(json.loads(report[4])),
            "seen_at": codec.to_moment(report[3]),
        }
    until = None if join_until is None else codec.to_moment(join_until)
    where = tuple((addresses or "").split())
    return Node(name, pool, drained, where, token, join_token, until, **node)


def _not_found(name: str) -> errors.NotFound:
    return errors.NotFound(f"There is no node {name}")
