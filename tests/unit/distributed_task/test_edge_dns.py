# SPDX-License-Identifier: Apache-2.0
"""When the DNS name of the own edge is changed, and when it is not."""

import datetime
from dataclasses import replace
from types import SimpleNamespace

import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors
from poppy.common.clock import now_utc
from poppy.distributed_task import edge_dns
from poppy.distributed_task.edge_dns import AGAIN, EdgeDNS, name_keeping
from poppy.dns.mock import MockDNS
from poppy.dns.powerdns import PowerDNS
from poppy.manager.pools import PoolsManager
from poppy.model.edge import Node, Report
from poppy.model.membership import Worker
from poppy.model.pools import NameKeeping, NameState
from poppy.provider.edge.driver import EdgeProvider
from poppy.storage.pools import PoolStore
from poppy.testing.builders import NOW
from tests.unit.dns.making import make_driver
from tests.unit.storage.conftest import path, storage  # noqa: F401  fixtures

KEEPING = NameKeeping("edge.example.net", 30, 2.0, 12.0, 100)


class Recorder(MockDNS):
    """Notes what it is asked for, and raises the next error of ``script``."""

    KEEPS_EDGE = True

    def __init__(self, conf, name):
        super().__init__(conf, name)
        self.calls = []
        self.script = []

    def ensure_edge(self, name, pools, ttl):
        self.calls.append({pool.name: pool.addresses for pool in pools})
        if self.script:
            raise self.script.pop(0)


@pytest.fixture
def dns():
    return make_driver(Recorder)


@pytest.fixture
def edge(storage, dns, monkeypatch):  # noqa: F811
    """Two nodes that report at each look, and a worker."""
    made = SimpleNamespace(storage=storage, time=1000.0, workers=["w1"], reporting=["a", "b"])
    for number, (name, pool) in enumerate((("a", "north"), ("b", "south"))):
        node = Node(name, pool, addresses=(f"192.0.2.{number}",), join_token=name * 64)
        storage.edge.add_node(replace(node, join_until=now_utc() + datetime.timedelta(hours=1)))
        storage.edge.join(name, name * 64, f"token-{name}", now_utc())

    def alive():
        return [Worker(it, "h", 1, "1", "dc", NOW, NOW, 1) for it in made.workers]

    worker = EdgeDNS(storage, KEEPING, dns, "w1", alive, lambda: made.time)

    def look(ready=True):
        made.time += 2
        now = NOW + datetime.timedelta(seconds=made.time)
        monkeypatch.setattr(edge_dns, "now_utc", lambda: now)
        for name in made.reporting:
            report = Report(name, 0, ready, "1.0")
            storage.edge.report(name, f"token-{name}", report, now)
        worker.look()

    made.look = look
    made.worker = worker
    made.published = PoolStore(storage.documents).published
    return made


BOTH = {"north": ("192.0.2.0",), "south": ("192.0.2.1",)}


def test_only_changes_are_written(edge, dns):
    for _ in range(3):
        edge.look()
    assert dns.calls == [BOTH]
    published = edge.published()
    assert published.nodes == {"north": ["a"], "south": ["b"]}
    assert (published.name, published.state) == ("edge.example.net", NameState.CURRENT)
    changed_at = published.changed_at
    PoolsManager(edge.storage).change("south", {"weight": 5})
    for _ in range(2):
        edge.look()
    assert dns.calls == [BOTH, BOTH]
    assert edge.published().changed_at > changed_at


def test_records_are_written_again_after_a_while(edge, dns):
    edge.look()
    changed_at = edge.published().changed_at
    edge.time += AGAIN
    for _ in range(2):
        edge.look()
    assert dns.calls == [BOTH] * 2
    assert edge.published().changed_at == changed_at


def test_dns_keeps_the_last_healthy_nodes(edge, dns, caplog):
    edge.look()
    for name in "ab":
        edge.storage.edge.set_drained(name, True)
    for _ in range(3):
        edge.look()
    assert dns.calls == [BOTH]
    assert edge.published().state is NameState.KEPT
    assert caplog.text.count("keeps its addresses") == 1
    edge.storage.edge.set_drained("b", False)
    edge.look()
    assert dns.calls[-1] == {"south": ("192.0.2.1",)}
    assert edge.published().state is NameState.CURRENT


def test_dns_keeps_all_nodes_while_none_reports(edge, dns):
    edge.look()
    edge.reporting = []
    for _ in range(60):
        edge.look()
    assert dns.calls == [BOTH]
    assert edge.published().state is NameState.KEPT
    edge.reporting = ["a"]
    edge.look()
    assert edge.published().state is NameState.CURRENT
    for _ in range(20):
        edge.look()
    assert dns.calls == [BOTH, {"north": ("192.0.2.0",)}]


@pytest.mark.parametrize("error", [errors.RetryableError("down"), errors.PermanentError("no")])
def test_failed_change_is_repeated(edge, dns, error, caplog):
    dns.script = [error, error]
    for _ in range(2):
        edge.look()
    assert edge.published().state is NameState.FAILING
    assert edge.published().changed_at is None
    assert caplog.text.count("does not accept") == 1
    edge.look()
    assert dns.calls == [BOTH] * 3
    assert edge.published().state is NameState.CURRENT


def test_waits_between_failed_changes_grow(edge, dns):
    dns.script = [errors.RetryableError("down")] * 30
    began = edge.time
    while dns.script:
        edge.look()
    assert 1400 < edge.time - began < 1600
    for _ in range(30):
        edge.look()
    assert edge.published().state is NameState.CURRENT
    dns.script = [errors.RetryableError("down")]
    edge.storage.edge.set_drained("a", True)
    calls = len(dns.calls)
    for _ in range(2):
        edge.look()
    assert len(dns.calls) == calls + 2, "the first wait is short again"


def test_change_in_progress_is_repeated(edge, dns):
    dns.script = [errors.InProgressError("propagating", 1.0)]
    edge.look()
    assert edge.published() is None
    edge.look()
    assert edge.published().nodes == {"north": ["a"], "south": ["b"]}
    assert dns.calls == [BOTH] * 2


def test_outage_of_the_store_changes_nothing(edge, dns, monkeypatch):
    edge.look()

    def away():
        raise errors.Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(edge.storage.edge, "nodes", away)
        with pytest.raises(errors.Unavailable):
            edge.look()
    edge.look()
    assert dns.calls == [BOTH]


def test_first_worker_acts_alone(edge, dns):
    edge.workers = ["w0", "w1"]
    edge.look()
    assert dns.calls == []
    edge.workers = ["w1", "w2"]
    edge.look()
    assert dns.calls == [BOTH]
    # Another worker may have written something else in between.
    edge.workers = ["w0", "w1"]
    edge.look()
    edge.workers = ["w1"]
    edge.look()
    assert dns.calls == [BOTH] * 2


def provider(**options):
    made = make_driver(EdgeProvider, "edge")
    for name, value in options.items():
        made.conf.set_override(name, value, group="drivers:provider:edge")
    return made


def test_dns_driver_must_be_able_to_keep_the_name(dns):
    off, kept = {"edge": provider()}, {"edge": provider(edge_dns=True, edge_dns_ttl=7)}
    mock = make_driver(MockDNS, "mock")
    assert name_keeping(off, mock) is None
    with pytest.raises(errors.ConfigError, match=r"\[drivers:provider:edge\] edge_dns: .*'mock'"):
        name_keeping(kept, mock)
    keeping = name_keeping(kept, make_driver(PowerDNS, api_key="k"))
    assert (keeping.name, keeping.ttl) == ("edge.example.net", 7)
    with pytest.raises(errors.ConfigError, match="several providers: edge, edge2"):
        name_keeping({**kept, "edge2": provider(edge_dns=True)}, dns)


def test_no_daemon_starts_with_another_dns_driver(tmp_path):
    file = tmp_path / "poppy.conf"
    file.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}\n[drivers]\nproviders = edge\ndns = mock\n"
        "[drivers:provider:edge]\nedge_dns = true\n"
    )
    bootstrap = Bootstrap(config.load([], files=[str(file)]))
    with pytest.raises(errors.ConfigError, match="'mock' can't keep"):
        _ = bootstrap.manager
    bootstrap.close()
