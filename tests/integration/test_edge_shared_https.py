# SPDX-License-Identifier: Apache-2.0
"""Shared certificates at the own edge: API, worker, Pebble, PowerDNS, HAProxy and Varnish."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import base64
import datetime
import json
import os
import ssl
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization

from poppy.common.clock import now_utc
from poppy.common.errors import ConfigError, InvalidRequest
from poppy.dns.base import DNSDriver
from poppy.dns.powerdns import PowerDNS as Driver
from poppy.provider.base import Capability
from poppy.provider.edge import certificates as driver_certificates
from poppy.provider.edge.driver import EdgeProvider
from poppy.testing.builders import make_flavor
from poppy.testing.edge import Request
from poppy.testing.edge.wire import exchange
from tests.functional.harness import Harness
from tests.real.edge_agent import NodeAgent, until
from tests.real.edge_fixtures import node, origin, running
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX
from tests.real.pebble import Pebble
from tests.real.powerdns import PowerDNS

__all__ = ["node", "origin", "running"]

pytestmark = pytest.mark.real

GROUP, DNS = "drivers:provider:edge", "drivers:dns:powerdns"
SHARD = f"scdn0.{SHARED_SUFFIX}"
TEXT = f"_acme-challenge.{SHARD}"


@pytest.fixture(scope="module")
def powerdns():
    with PowerDNS() as server:
        yield server


@pytest.fixture
def pebble(powerdns):
    """An authority that asks PowerDNS itself, and that no service answers by HTTP."""
    with Pebble(types.SimpleNamespace(dns=powerdns.address, http_port=1)) as server:
        yield server


@pytest.fixture
def poppy(tmp_path, pebble, powerdns):
    edge = {
        "acme_directories": pebble.directory_url,
        "acme_ca_file": pebble.ca_file,
        "acme_profile": "default",
        "acme_terms_accepted": "true",
        "acme_shared_certificates": "true",
        "encryption_keys": base64.b64encode(os.urandom(32)).decode(),
        "allowed_origins": "127.0.0.0/8",
    }
    names = {
        "urls": powerdns.url,
        "api_key": powerdns.secret,
        "suffix": SUFFIX,
        "shared_ssl_domain_suffix": SHARED_SUFFIX,
        "shared_ssl_num_shards": 1,
    }
    poppy = Harness(tmp_path, {GROUP: edge, DNS: names}, (Driver, "powerdns"), health_interval=0.2)
    poppy.edge = make_provider(poppy)
    poppy.boot.providers["edge"] = poppy.edge
    poppy.storage.flavors.create(make_flavor("own", ["edge"]))
    yield poppy
    poppy.close()


@pytest.fixture
def served(poppy, node):
    """The node, of which the agent runs."""
    agent = NodeAgent(
        node, poppy.boot.transport.application, "node-1", poppy.boot.manager.edge.add("node-1")
    )
    stopped = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stopped, 0.1))
    thread.start()
    yield node
    stopped.set()
    thread.join()


def make_provider(poppy):
    """Return the driver as in a new process."""
    provider = EdgeProvider(poppy.conf, "edge")
    provider.attach(poppy.storage)
    provider.attach_dns(poppy.dns)
    return provider


def maintain(poppy, pebble, certificates):
    """Let workers look until the authority has issued this many certificates, and once more."""
    until(lambda: poppy.edge.maintain() or pebble.certificates() == certificates, 30)
    poppy.edge.maintain()


def orders(poppy):
    return poppy.storage.edge.orders("shared-scdn0")


def create(poppy, origin, label, **fields):
    domain = {"domain": label, "protocol": "https", "certificate": "shared"}
    origins = [{"origin": origin.address}]
    return poppy.create(flavor_id="own", domains=[domain], origins=origins, **fields)


def test_all_shared_domains_are_served_with_one_wildcard_certificate(
    poppy, served, pebble, powerdns, origin
):
    root = pebble.root().public_bytes(serialization.Encoding.PEM).decode()
    tls = ssl.create_default_context(cadata=root)
    with poppy.working():
        services = [create(poppy, origin, label) for label in ("shop", "blog")]
        until(lambda: served_by(served, f"blog.{SHARD}", tls), 60)
        assert served_by(served, f"shop.{SHARD}", tls)
        assert not served_by(served, f"unknown.{SHARD}", tls)
        for service_id in services:
            found = poppy.settle(service_id)
            assert (str(found.status), found.errors) == ("deployed", ())
    assert powerdns.resolve(f"shop.{SHARD}") == "edge.example.net"
    assert powerdns.values(TEXT, "TXT") == set()
    assert pebble.certificates() == pebble.orders() == 1
    assert poppy.storage.edge.due(now_utc() + datetime.timedelta(days=365), 10) == []


def served_by(node, domain, tls):
    try:
        return exchange(node.https, Request(domain, "/"), tls).status == 200
    except (ssl.SSLError, ConnectionError):
        return False


def test_the_tenant_sees_that_a_shared_certificate_is_missing(poppy, pebble, served, origin):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Driver, "set_texts", DNSDriver.set_texts)
        with poppy.working():
            service_id = create(poppy, origin, "shop")
            wanted = f"no certificate for *.{SHARD}: powerdns can't set TXT records"
            until(lambda: wanted in messages(poppy, service_id), 30)


def messages(poppy, service_id):
    return [step.message for it in poppy.operations(service_id) for step in it.steps]


def test_a_shared_certificate_is_renewed(poppy, pebble, monkeypatch):
    maintain(poppy, pebble, 1)
    (first,) = orders(poppy)
    poppy.edge.maintain()
    assert orders(poppy) == [first]
    monkeypatch.setattr(driver_certificates, "_LEAST_AGE", datetime.timedelta(0))
    window = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    pebble.suggest(first.content["certificate"], json.dumps({"suggestedWindow": window}))
    poppy.storage.edge.put_order(replace(first, content={**first.content, "ask_at": None}))
    poppy.edge = make_provider(poppy)
    maintain(poppy, pebble, 2)
    until(lambda: poppy.edge.maintain() or len(orders(poppy)) == 1, 30)
    (second,) = orders(poppy)
    published = poppy.storage.edge.current("shared-scdn0").program
    (served,) = json.loads(published)["certificates"]
    assert served["chain"] in second.content["certificate"].replace("\n\n", "\n")
    assert second.order_id != first.order_id


def test_workers_do_not_order_at_the_same_time(poppy, pebble):
    providers = [make_provider(poppy) for _ in range(4)]

    def work(provider):
        deadline = time.monotonic() + 30
        while not pebble.certificates():
            assert time.monotonic() < deadline
            provider.maintain()

    with ThreadPoolExecutor(len(providers)) as pool:
        list(pool.map(work, providers))
    assert pebble.orders() == pebble.certificates() == 1
    assert len(orders(poppy)) == 1


def test_shared_certificates_need_shards_and_text_records(poppy):
    provider = EdgeProvider(poppy.conf, "edge")
    provider.attach(poppy.storage)
    assert Capability.SHARED_CERTIFICATE in provider.supports
    with pytest.raises(ConfigError, match="acme_shared_certificates needs shards"):
        provider.attach_dns(types.SimpleNamespace(TEXTS=False, shards=[SHARD]))
    with pytest.raises(ConfigError, match="shared_ssl_num_shards"):
        provider.attach_dns(types.SimpleNamespace(TEXTS=True, shards=[]))


@pytest.mark.parametrize("field", [{"https_redirect": True}, {"min_tls": "1.3"}])
def test_fields_that_nodes_could_not_obey_are_refused(poppy, origin, field):
    (name,) = field
    with pytest.raises(InvalidRequest, match=f"delivery.{name}: not with the shared"):
        create(poppy, origin, "shop", delivery=field)
