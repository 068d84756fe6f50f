# SPDX-License-Identifier: Apache-2.0
"""The issuer's records in the store of the edge."""

import datetime
from collections.abc import Sequence
from dataclasses import asdict

from poppy.common.clock import now_utc
from poppy.model.edge import CertificateOrder, Certificates
from poppy.provider.edge import acme_renewal
from poppy.provider.edge.acme_orders import CUSTOM, Account, Order, Records


class StoredRecords(Records):
    """Implements the protocol; see it for each method. It is thread-safe.

    Args:
        indexed: whether orders are found when they are due.
        asks: whether authorities are asked when to renew certificates.
    """

    def __init__(self, store: Certificates, *, indexed: bool = True, asks: bool = False) -> None:
        self._store = store
        self._indexed = indexed
        self._asks = asks

    def account(self, directory: str) -> Account | None:
        """Read the account."""
        found = self._store.account(directory)
        return None if found is None else Account(**found)

    def add_account(self, account: Account) -> Account:
        """Add the account, or read the stored one."""
        return Account(**self._store.add_account(account.directory, asdict(account)))

    def put_account(self, account: Account) -> None:
        """Replace the account."""
        self._store.put_account(account.directory, asdict(account))

    def orders(self, service_id: str) -> Sequence[Order]:
        """Return the orders of a service."""
        return [Order.from_dict(it.content) for it in self._store.orders(service_id)]

    def put_order(self, order: Order) -> None:
        """Replace the order, and store when it is due."""
        at = min(due(order), ask_at(order)) if self._asks else due(order)
        is_indexed = self._indexed and order.authority != CUSTOM
        self._put(order, at if is_indexed else None)

    def supersede(self, order: Order) -> None:
        """Store that nothing is due for an order, because another one replaces it."""
        self._put(order, None)

    def _put(self, order: Order, due_at: datetime.datetime | None) -> None:
        key = (order.project_id, order.service_id, order.id)
        self._store.put_order(CertificateOrder(*key, order.to_dict(), due_at))

    def events(self, key: str, since: datetime.datetime) -> Sequence[datetime.datetime]:
        """Read the times."""
        return self._store.events(key, since)

    def add_event(self, key: str, at: datetime.datetime) -> None:
        """Add the time."""
        self._store.add_event(key, at)


def due(order: Order) -> datetime.datetime:
    """Return when the next step of an order is due, or the renewal of its certificate."""
    if order.certificate is not None and order.renew_at is None:
        return acme_renewal.default_time(acme_renewal.leaf(order.certificate))
    if order.renew_at is not None:
        return datetime.datetime.fromisoformat(order.renew_at)
    if order.retry_at is not None:
        return datetime.datetime.fromisoformat(order.retry_at)
    return now_utc()


def ask_at(order: Order) -> datetime.datetime:
    """Return when to ask the authority for the time of the renewal."""
    if order.certificate is None:
        return due(order)
    return now_utc() if order.ask_at is None else datetime.datetime.fromisoformat(order.ask_at)
