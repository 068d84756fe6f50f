# SPDX-License-Identifier: Apache-2.0
"""Certificates for the own edge: Pebble, a real node, and the issuer's records in SQL."""

import base64
import datetime
import itertools
import os
import ssl
import threading
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization

from poppy.common.clock import now_utc
from poppy.common.errors import InProgressError, RetryableError
from poppy.common.vault import Vault
from poppy.edge.program import Challenge, Program, Upstream
from poppy.provider.edge import acme_errors
from poppy.provider.edge.acme import Issuer
from poppy.provider.edge.acme_options import Authority, Limits
from poppy.provider.edge.acme_records import StoredRecords, due
from poppy.testing.edge import Request
from poppy.testing.edge.wire import exchange
from tests.databases import make_storage
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin
from tests.real.pebble import Pebble, Published

pytestmark = pytest.mark.real

KEYS = [base64.b64encode(os.urandom(32)).decode()]
WRITES = ("add_account", "put_account", "put_order", "add_event")

_numbers = itertools.count(1)


class Killed(BaseException):
    """The worker is killed."""


@pytest.fixture(scope="module")
def node():
    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
        yield node


@pytest.fixture(scope="module")
def origin():
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def pebble(node):
    with Published() as published:
        published.http_port = node.http[1]
        with Pebble(published) as server:
            yield server


class Site:
    """A service with one domain on the node, which also answers its challenges."""

    def __init__(self, node, origin, pebble, store):
        number = next(_numbers)
        self.node, self.pebble = node, pebble
        self.domain, self.service_id = f"www{number}.example.com", f"service-{number}"
        self.program = Program(
            self.service_id, (self.domain,), (Upstream(origin.address, 80, False, None),)
        )
        self.records = StoredRecords(store)
        self.tls = ssl.create_default_context(
            cadata=pebble.root().public_bytes(serialization.Encoding.PEM).decode()
        )

    def issuer(self):
        """Return an issuer as in a new process."""
        authority = Authority(
            self.pebble.directory_url, ca_file=str(self.pebble.ca_file), profile="default"
        )
        vault = Vault(KEYS, "drivers:provider:edge")
        return Issuer([authority], vault, self.records, self, Limits())

    def order(self, previous=None):
        """Store an order."""
        owner = {"project_id": "project-1", "service_id": self.service_id}
        return self.issuer().new([self.domain], previous, **owner)

    def publish(self, order):
        """Publish the challenges of an order."""
        challenges = tuple(Challenge(it.domain, it.name, it.value) for it in order.challenges)
        self.node.serve(replace(self.program, challenges=challenges))

    def withdraw(self, _order):
        """Publish no challenges."""
        self.node.serve(self.program)

    def serve(self, order):
        """Serve the certificate of an order."""
        certificate = self.issuer().certificate(order)
        self.program = replace(self.program, certificates=(certificate,))
        self.node.serve(self.program)

    def get(self):
        """Return the status of a request over verified TLS."""
        return exchange(self.node.https, Request(self.domain, "/"), self.tls).status


@pytest.fixture
def store(tmp_path):
    storage = make_storage(f"sqlite:///{tmp_path}/poppy.db")
    storage.sync()
    yield storage.edge
    storage.close()


@pytest.fixture
def site(node, origin, pebble, store):
    return Site(node, origin, pebble, store)


def finish(site, order):
    issuer = site.issuer()
    deadline = time.monotonic() + 30
    while order.certificate is None:
        assert time.monotonic() < deadline, order
        try:
            order = issuer.step(order)
        except InProgressError:
            time.sleep(0.05)
    return order


def test_a_domain_gets_a_certificate_that_clients_verify(site):
    site.node.serve(site.program)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        site.get()

    order = finish(site, site.order())
    site.serve(order)

    assert site.get() == 200
    assert site.records.orders(site.service_id) == [order]


def test_a_renewal_replaces_the_certificate_without_a_failed_request(site, store):
    first = finish(site, site.order())
    site.serve(first)
    done, statuses = threading.Event(), []

    def ask():
        while not done.is_set():
            statuses.append(site.get())

    client = threading.Thread(target=ask)
    client.start()
    try:
        second = finish(site, site.order(first))
        site.serve(second)
        store.delete_orders(site.service_id, [first.id])
    finally:
        done.set()
        client.join()

    assert second.certificate != first.certificate
    assert second.key != first.key
    assert set(statuses) == {200}
    assert site.get() == 200
    assert site.records.orders(site.service_id) == [second]


def test_a_worker_killed_after_any_write_leaves_one_order_and_one_certificate(
    node, origin, pebble, tmp_path, monkeypatch
):
    kills = 0
    for number in itertools.count(1):
        storage = make_storage(f"sqlite:///{tmp_path}/{number}.db")
        storage.sync()
        site = Site(node, origin, pebble, storage.edge)
        writes = itertools.count(1)

        def killed(write, fatal=number, writes=writes):
            def call(*arguments):
                result = write(*arguments)
                if next(writes) == fatal:
                    raise Killed
                return result

            return call

        orders, certificates = pebble.orders(), pebble.certificates()
        with monkeypatch.context() as patch:
            for name in WRITES:
                patch.setattr(storage.edge, name, killed(getattr(storage.edge, name)))
            try:
                finish(site, site.order())
            except Killed:
                kills += 1
        (order,) = site.records.orders(site.service_id)
        done = finish(site, order)
        assert (done.id, done.key) == (order.id, order.key)
        assert pebble.orders() == orders + 1, number
        assert pebble.certificates() == certificates + 1, number
        site.serve(done)
        assert site.get() == 200
        storage.close()
        if kills < number:
            break
    assert kills > 6


def test_the_store_has_no_private_key(site, tmp_path):
    order = finish(site, site.order())

    database = b"".join(it.read_bytes() for it in tmp_path.iterdir())
    secret = site.issuer().private_key(order).splitlines()[1]
    assert order.id.encode() in database
    assert secret not in database
    assert b"PRIVATE KEY" not in database


def test_an_order_is_found_when_something_is_to_be_done(site, store):
    owner = ("project-1", site.service_id)

    order = site.order()
    assert store.due(now_utc(), 10) == [owner]

    site.node.plane.withdraw(site.service_id)
    site.publish = lambda _order: None
    with pytest.raises(acme_errors.Invalid):
        finish(site, order)
    (rejected,) = site.records.orders(site.service_id)
    assert store.due(now_utc(), 10) == []
    assert store.due(now_utc() + datetime.timedelta(seconds=301), 10) == [owner]
    with pytest.raises(RetryableError, match="waits until"):
        site.issuer().step(rejected)

    del site.publish
    site.records.put_order(replace(rejected, retry_at=None))
    (again,) = site.records.orders(site.service_id)
    done = finish(site, again)
    left = due(done) - now_utc()
    assert datetime.timedelta(days=50) < left < datetime.timedelta(days=60)
    assert store.due(due(done), 10) == [owner]
    assert store.due(now_utc(), 10) == []
