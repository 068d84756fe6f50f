# SPDX-License-Identifier: Apache-2.0
"""The operator's shared certificates: a wildcard for each shard, which no tenant's service owns.

An authority issues wildcards by dns-01 only (RFC 8555, section 8.4), so the TXT record is made by
the DNS driver. The certificate goes to the nodes in a program of its own, which has no domains:
the services below the shard are published without it.
"""

import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Any

from oslo_log import log

from poppy.common.clock import now_utc
from poppy.common.errors import Changed, InProgressError
from poppy.edge.program import Program, Upstream
from poppy.model.edge import HasEdge, TextRecords
from poppy.provider.edge.acme_orders import Order, Owner
from poppy.provider.edge.certificates import Certificates

LOG = log.getLogger(__name__)

#: The document by which one worker at a time continues the orders, and the seconds that it may
#: take. A worker stops long before others may go on.
_DOCUMENT, _LEASE, _TURN = "edge-shared-certificates", 900.0, 300.0
#: Seconds after which the orders are read again, in case another worker has changed them.
_RECHECK = 3600.0
#: A node answers no request by such a program; RFC 6761, section 6.4, reserves the name.
_NOWHERE = (Upstream("origin.invalid", 80, False, None),)


class DNSPublisher:
    """Publishes challenges in DNS. See :class:`poppy.provider.edge.acme_orders.Publisher`."""

    def __init__(self, dns: TextRecords) -> None:
        self._dns = dns
        self._published: set[str] = set()

    def publish(self, order: Order) -> None:
        """Make the TXT records; they count from the next call on, so that servers can follow."""
        for it in order.challenges:
            self._dns.set_texts(it.name, [it.value])
        values = {it.value for it in order.challenges}
        if not values <= self._published:
            self._published = values
            raise InProgressError("the name servers take over the challenges", 0.0)

    def withdraw(self, order: Order) -> None:
        """Remove the TXT records."""
        for it in order.challenges:
            self._dns.set_texts(it.name, [])


class SharedCertificates:
    """Orders, renews and publishes the certificates of all shards.

    Args:
        options: of the group.
        group: its name.
        storage: the store.
        dns: the DNS driver.
    """

    def __init__(self, options: Any, group: str, storage: HasEdge, dns: TextRecords) -> None:
        self._documents, self._log = storage.documents, storage.edge
        # Services would be looked for when the orders are due.
        self._certificates = Certificates(
            options, group, storage.edge, DNSPublisher(dns), indexed=False
        )
        self._shards = list(dns.shards)
        self._next = dict.fromkeys(self._shards, now_utc())

    def missing(self, domain: str) -> str | None:
        """Return why there is no certificate for a shared domain yet; None if there is one."""
        shard = domain.partition(".")[2]
        orders = self._certificates.orders(_owner(shard))
        if any(order.certificate for order in orders):
            return None
        problem = next((it.problem for it in orders if it.problem), "the operator is ordering it")
        return f"no certificate for *.{shard}: {problem}"

    def maintain(self) -> None:
        """Continue the orders that are due, as far as that is possible without waiting."""
        waiting = [it for it in self._shards if self._next[it] <= now_utc()]
        if not any(self._due(it) for it in waiting):
            return
        with self._leased() as leased:
            until = time.monotonic() + _TURN
            for shard in waiting if leased else ():
                # Another worker may have continued it.
                if time.monotonic() < until and self._due(shard):
                    self._continue(shard)

    def _continue(self, shard: str) -> None:
        owner = _owner(shard)
        orders = self._certificates.seal_again(self._certificates.orders(owner))
        self._certificates.advance(owner, orders, owner.domains)
        orders = self._certificates.orders(owner)
        if any(order.certificate for order in orders):
            program = Program(owner.service_id, (), _NOWHERE)
            text = self._certificates.publication(program, orders)
            self._log.publish(owner.service_id, text)
            self._certificates.forget_replaced(owner, orders)
        self._due(shard)

    def _due(self, shard: str) -> bool:
        """Return whether a shard's order is due, and note when to look again if it is not."""
        owner = _owner(shard)
        at = self._certificates.work_at(owner.service_id)
        if not all(map(self._certificates.is_current, self._certificates.orders(owner))):
            at = now_utc()
        latest = now_utc() + datetime.timedelta(seconds=_RECHECK)
        self._next[shard] = min(at, latest)
        return at <= now_utc()

    @contextlib.contextmanager
    def _leased(self) -> Iterator[bool]:
        """Exclude other workers; yield whether that was possible."""
        known = self._documents.get(_DOCUMENT)
        now = now_utc()
        if known.content and datetime.datetime.fromisoformat(known.content) > now:
            yield False
            return
        until = now + datetime.timedelta(seconds=_LEASE)
        try:
            self._documents.put(_DOCUMENT, until.isoformat(), known.version)
        except Changed:
            yield False
            return
        try:
            yield True
        finally:
            known = self._documents.get(_DOCUMENT)
            with contextlib.suppress(Changed):
                if known.content == until.isoformat():
                    self._documents.put(_DOCUMENT, now_utc().isoformat(), known.version)


def _owner(shard: str) -> Owner:
    """Return what stands for a service in the store."""
    label = shard.partition(".")[0].replace("_", "-")
    return Owner("", f"shared-{label}"[:64], frozenset({f"*.{shard}"}))
