# SPDX-License-Identifier: Apache-2.0
"""Keeps the DNS name of the operator's own edge equal to its healthy nodes.

The first live worker compares the nodes with DNS every few seconds, and writes changes only. If no
node is healthy, DNS keeps the last ones that were. If the store does not answer, nothing changes.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.distributed_task import edge_health, membership
from poppy.distributed_task.edge_health import NodeHealth
from poppy.dns.base import DNSDriver
from poppy.dns.steering import AddressPool
from poppy.model.membership import Worker
from poppy.model.pools import NameKeeping, NameState, Published
from poppy.provider.base import Provider
from poppy.storage.base import Storage
from poppy.storage.pools import PoolStore

LOG = log.getLogger(__name__)

#: Seconds after which the records are written again, in case others have changed them.
AGAIN = 600.0
#: The longest wait in seconds after a failure; the first is one second, and each is twice as long.
LONGEST_WAIT = 60.0
_SHOWN = 10  # Nodes in a line of the log.


@runtime_checkable
class HasNodes(Protocol):
    """A provider of nodes with a DNS name."""

    @property
    def name_keeping(self) -> NameKeeping | None:
        """How Poppy keeps the name; None if the operator does."""
        ...


def name_keeping(providers: Mapping[str, Provider], dns: DNSDriver) -> NameKeeping | None:
    """Return how the DNS name of the nodes is kept; None if the operator keeps it.

    Raises:
        ConfigError: the DNS driver can't keep it, or several providers want theirs kept.
    """
    kept = {
        name: keeping
        for name, provider in providers.items()
        if isinstance(provider, HasNodes) and (keeping := provider.name_keeping) is not None
    }
    if not kept:
        return None
    if len(kept) > 1:
        raise errors.ConfigError(f"edge_dns is set for several providers: {', '.join(kept)}")
    (name, keeping), *_ = kept.items()
    if not dns.KEEPS_EDGE:
        raise errors.ConfigError(
            f"[{providers[name].group}] edge_dns: the DNS driver '{dns.name}' can't keep the name "
            "of the edge"
        )
    return keeping


class EdgeDNS:
    """Compares the nodes with DNS, and changes it.

    Args:
        worker_id: the ID of this worker.
        alive: returns the live workers, with their latest heartbeats.
        clock: tells the monotonic time in seconds.
    """

    def __init__(
        self,
        storage: Storage,
        keeping: NameKeeping,
        dns: DNSDriver,
        worker_id: str,
        alive: Callable[[], Sequence[Worker]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._edge = storage.edge
        self._store = PoolStore(storage.documents)
        self._keeping = keeping
        self._dns = dns
        self._worker_id = worker_id
        self._alive = alive
        self._clock = clock
        self._health = NodeHealth(keeping, clock)
        # What this worker has written, and when to write it again.
        self._written: Sequence[AddressPool] = ()
        self._again_at = 0.0
        self._failure = ""
        # The wait after the last failure, and when it ends.
        self._wait = self._try_at = 0.0

    def run(self, stopped: threading.Event) -> None:
        """Compare until ``stopped``."""
        while not stopped.wait(self._keeping.interval):
            try:
                self.look()
            except errors.Unavailable as exc:
                LOG.warning("Could not compare the nodes of the edge with DNS: %s", exc)
            except errors.Changed:
                LOG.info("Another worker keeps the name of the edge")
            except Exception:  # noqa: BLE001 - without this thread DNS keeps dead nodes
                LOG.exception("Keeping the DNS name of the edge failed; trying again")

    def look(self) -> None:
        """Compare the nodes with DNS once, if this worker is the one to do so.

        Raises:
            Changed: another worker does so, too.
            Unavailable: storage does not answer.
        """
        if not membership.is_first(self._alive(), self._worker_id):
            # If this worker's turn comes, it does not know what the others have done.
            self._written, self._health = (), NodeHealth(self._keeping, self._clock)
            return
        name = self._keeping.name
        known = self._store.published()
        if known is None or known.name != name:
            known = Published(name)
        published = {node for nodes in known.nodes.values() for node in nodes}
        pools, head = self._store.pools(), self._edge.head()
        healthy = self._health.look(self._edge.nodes(), head, published, now_utc())
        chosen = edge_health.members(pools, healthy)
        if not chosen:
            self._note(known, NameState.KEPT)
            return
        wanted = edge_health.address_pools(pools, chosen)
        if wanted != self._written or self._clock() >= self._again_at:
            if self._clock() < self._try_at:
                return
            try:
                self._dns.ensure_edge(name, wanted, self._keeping.ttl)
            except errors.DriverError as exc:
                self._fail(known, exc)
                return
            self._failure, self._wait, self._again_at = "", 0.0, self._clock() + AGAIN
        state = NameState.KEPT if self._health.silent else NameState.CURRENT
        nodes = {pool: sorted(it.name for it in some) for pool, some in sorted(chosen.items())}
        if nodes != known.nodes or (self._written and wanted != self._written):
            LOG.info("%s now has the nodes %s", name, _listed(nodes))
            known = replace(known, nodes=nodes, state=state, changed_at=now_utc())
            self._store.put_published(known)
        else:
            self._note(known, state)
        self._written = wanted

    def _fail(self, known: Published, error: errors.DriverError) -> None:
        if isinstance(error, errors.InProgressError):
            return  # It is called again.
        self._wait = min(LONGEST_WAIT, 2 * self._wait or 1.0)
        self._try_at = self._clock() + self._wait
        if str(error) != self._failure:
            LOG.error("The DNS server does not accept the nodes of the edge: %s", error)
        self._failure = str(error)
        self._note(known, NameState.FAILING)

    def _note(self, known: Published, state: NameState) -> None:
        """Store a new state, and log it."""
        if known.state is state:
            return
        if state is NameState.KEPT:
            LOG.warning(
                "No node of the edge is healthy, or none reports; %s keeps its addresses",
                known.name,
            )
        self._store.put_published(replace(known, state=state))


def _listed(nodes: Mapping[str, Sequence[str]]) -> str:
    names = [name for some in nodes.values() for name in some]
    more = f" and {len(names) - _SHOWN} others" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
