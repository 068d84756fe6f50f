# SPDX-License-Identifier: Apache-2.0
"""The surroundings of an issuer of certificates: records in memory, and a publisher."""

import json
from dataclasses import asdict

from poppy.provider.edge.acme_orders import DNS, Account, Order


class MemoryRecords:
    """Accounts and orders as JSON, so that nothing but JSON survives.

    Attributes:
        accounts: JSON by the URL of the directory.
        orders: JSON by ID.
    """

    def __init__(self):
        self.accounts = {}
        self.orders = {}
        self._events = {}

    def account(self, directory):
        text = self.accounts.get(directory)
        return None if text is None else Account(**json.loads(text))

    def add_account(self, account):
        self.accounts.setdefault(account.directory, json.dumps(asdict(account)))
        return self.account(account.directory)

    def put_account(self, account):
        self.accounts[account.directory] = json.dumps(asdict(account))

    def put_order(self, order):
        self.orders[order.id] = json.dumps(order.to_dict())

    def order(self, order_id):
        return Order.from_dict(json.loads(self.orders[order_id]))

    def events(self, key, since):
        return [at for at in self._events.get(key, ()) if at > since]

    def add_event(self, key, at):
        self._events.setdefault(key, []).append(at)


class LocalPublisher:
    """Publishes to ``tests.real.pebble.Published``, or nowhere without it."""

    def __init__(self, published=None):
        self.published = published
        self.challenges = []

    def publish(self, order):
        self.withdraw(order)
        for challenge in order.challenges:
            self.challenges.append(challenge)
            if self.published and challenge.kind == DNS:
                self.published.set_txt(challenge.name, challenge.value)
            elif self.published:
                self.published.http[challenge.name] = challenge.value

    def withdraw(self, order):
        for challenge in order.challenges:
            if self.published and challenge.kind == DNS:
                self.published.clear_txt(challenge.name)
            elif self.published:
                self.published.http.pop(challenge.name, None)
