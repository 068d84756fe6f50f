# SPDX-License-Identifier: Apache-2.0
"""The nodes of the operator's own edge at a glance."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.manager import overview
from poppy.manager.caching import cached
from poppy.model.edge import Node
from poppy.model.edge_traffic import HOUR, Counts, hour_of
from poppy.storage.base import Storage

#: With less of the current hour, the one before it counts too.
_LEAST = datetime.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node, and what it has counted lately.

    Attributes:
        state: see :meth:`.Node.state`.
        behind: changes that it lacks; None if that is unknown.
        counts: since :attr:`Edge.since`.
    """

    node: Node
    state: str
    behind: int | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class Edge:
    """All nodes.

    Attributes:
        head: the newest revision.
        nodes: sorted by name.
        since: the start of the hour from which on traffic counts.
        seconds: since then.
    """

    head: int
    nodes: Sequence[NodeStatus]
    since: datetime.datetime
    seconds: float


class EdgeOverview:
    """Read the nodes.

    Attributes:
        edge: returns them; concurrent viewers share a result.
    """

    def __init__(self, storage: Storage) -> None:
        self._store = storage.edge
        self.edge = cached(self._read, overview.MEMORY)

    def node(self, name: str) -> NodeStatus:
        """Return a node.

        Raises:
            NotFound: there is no such node.
        """
        for status in self.edge().nodes:
            if status.node.name == name:
                return status
        raise errors.NotFound(f"Node {name} not found")

    def _read(self) -> Edge:
        now = now_utc()
        since = hour_of(now)
        if now - since < _LEAST:
            since -= HOUR
        head = self._store.head()
        counts = self._store.traffic_of_nodes(since)
        nodes = [
            NodeStatus(
                node,
                node.state(now),
                max(0, head - node.revision) if node.report else None,
                counts.get(node.name, Counts()),
            )
            for node in self._store.nodes()
        ]
        return Edge(head, nodes, since, (now - since).total_seconds())
