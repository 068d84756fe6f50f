# SPDX-License-Identifier: Apache-2.0
"""Which nodes of the operator's own edge may get clients, and from which pools."""

import collections
import datetime
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from poppy.dns.steering import AddressPool
from poppy.model.edge import Node
from poppy.model.pools import NameKeeping, Pool

#: Seconds: a node that is not in DNS must have the changes that are older than this.
CAUGHT_UP = 15.0
#: After a time without any report, nodes have this multiple of ``dead_after`` to report again.
HOLD = 2.5


class NodeHealth:
    """Tells which nodes are healthy, by their reports.

    A node that does not report may be dead, or the API may be away. So a node counts as dead only
    if others have reported since it should have; otherwise its state does not change. After a
    time without any report, and at first, no node counts as dead for a while (:data:`HOLD`).

    Args:
        clock: tells the monotonic time in seconds.

    Attributes:
        silent: whether no node has reported lately.
    """

    def __init__(self, keeping: NameKeeping, clock: Callable[[], float] = time.monotonic) -> None:
        self._keeping = keeping
        self._clock = clock
        self._heads: collections.deque[tuple[float, int]] = collections.deque()
        self._hold_until = clock() + HOLD * keeping.dead_after
        self.silent = False

    def look(
        self, nodes: Sequence[Node], head: int, published: Collection[str], now: datetime.datetime
    ) -> Sequence[Node]:
        """Return the healthy nodes with addresses.

        Args:
            head: of the log.
            published: the names of the nodes that are in DNS.
        """
        caught_up = self._head_before(head)
        newest = max((node.seen_at for node in nodes if node.seen_at), default=None)
        self.silent = newest is None or now - newest >= self._dead_after
        if self.silent:
            self._hold_until = self._clock() + HOLD * self._keeping.dead_after
        oldest = head - self._keeping.max_behind
        found = []
        for node in nodes:
            least = oldest if node.name in published else max(oldest, caught_up)
            serves = node.report is not None and node.report.ready and node.revision >= least
            if not node.addresses or node.drained or not serves or node.seen_at is None:
                continue
            if now - node.seen_at < self._dead_after or (
                node.name in published and not self._is_dead(node.seen_at, newest)
            ):
                found.append(node)
        return found

    @property
    def _dead_after(self) -> datetime.timedelta:
        return datetime.timedelta(seconds=self._keeping.dead_after)

    def _is_dead(self, seen_at: datetime.datetime, newest: datetime.datetime | None) -> bool:
        """Whether a node that does not report any more is dead."""
        if self._clock() < self._hold_until:
            return False
        return newest is not None and newest - seen_at >= self._dead_after / 2

    def _head_before(self, head: int) -> int:
        """Return the head of some seconds ago, or the oldest known one."""
        now = self._clock()
        self._heads.append((now, head))
        while len(self._heads) > 1 and self._heads[1][0] <= now - CAUGHT_UP:
            self._heads.popleft()
        # A store that was restored from a backup has a lower head than before.
        return min(head, self._heads[0][1])


def members(pools: Mapping[str, Pool], healthy: Sequence[Node]) -> dict[str, Sequence[Node]]:
    """Return the nodes that get clients, by pool.

    Pools that are drained, or have too few healthy nodes, are left out as long as others are not.
    """
    found: dict[str, list[Node]] = {}
    for node in healthy:
        found.setdefault(node.pool, []).append(node)
    settings = {name: pools.get(name) or Pool(name) for name in found}
    open_ = {name: some for name, some in found.items() if not settings[name].drained}
    full = {name: some for name, some in open_.items() if len(some) >= settings[name].min_nodes}
    return dict(full or open_ or found)


def address_pools(
    pools: Mapping[str, Pool], chosen: Mapping[str, Sequence[Node]]
) -> list[AddressPool]:
    """Return what DNS is to have: the pools with the addresses of their nodes.

    The pool with the highest weight comes first: it gets clients in locations that no pool names,
    if all pools have locations.
    """
    found = []
    for name, nodes in chosen.items():
        pool = pools.get(name) or Pool(name)
        addresses = tuple(sorted({it for node in nodes for it in node.addresses}))
        found.append(AddressPool(name, pool.weight, pool.countries, pool.continents, addresses))
    return sorted(found, key=lambda it: (-it.weight, it.name))
