# SPDX-License-Identifier: Apache-2.0
"""Scrapes while processes start and end, and the metrics of the own edge."""

import datetime

import pytest

pytest.importorskip("prometheus_client")

import prometheus_client

from poppy.cmd import exporter
from poppy.common import metrics
from poppy.manager.pools import PoolsManager
from poppy.model.edge import Node, Report
from poppy.model.pools import NameState, Published
from poppy.storage.pools import PoolStore
from poppy.testing.builders import NOW, after
from tests.unit.storage.conftest import path, storage  # noqa: F401  fixtures


def test_file_of_a_process_that_starts_does_not_break_a_scrape(tmp_path):
    (tmp_path / "counter_17.db").touch()
    (tmp_path / "histogram_18.db").symlink_to(tmp_path / "gone")
    registry = exporter._handler(tmp_path).registry
    assert prometheus_client.generate_latest(registry) == b""


@pytest.fixture
def value(monkeypatch):
    """A function that returns the value of a metric of the edge."""
    registry = prometheus_client.CollectorRegistry()
    for name in ("NODES", "READY", "IN_DNS", "DNS_STATE", "DNS_AGE"):
        instrument = getattr(metrics, f"EDGE_{name}")
        monkeypatch.setattr(instrument, "_metric", None)
        monkeypatch.setattr(instrument, "_children", {})
        instrument.start(prometheus_client.Gauge, registry)
    return lambda name, **labels: registry.get_sample_value(f"poppy_edge_{name}", labels)


def test_nodes_of_the_edge_are_counted_by_pool(storage, value):  # noqa: F811
    for name, pool in ("a", "north"), ("b", "north"), ("c", "south"):
        storage.edge.add_node(Node(name, pool, join_token=name * 64, join_until=after(60)))
        storage.edge.join(name, name * 64, f"token-{name}", NOW)
    storage.edge.report("a", "token-a", Report("i", 0, True, "1.0"), NOW)
    exporter._look_at_the_edge(storage, NOW, is_name_kept=True)
    assert [value("pool_nodes", pool=it) for it in ("north", "south")] == [2, 1]
    assert value("pool_nodes_ready", pool="north") == 1
    assert value("pool_nodes_in_dns", pool="north") is None, "nothing is in DNS yet"

    published = Published("edge.example.net", NOW, NameState.KEPT, {"north": ["a"]})
    PoolStore(storage.documents).put_published(published)
    exporter._look_at_the_edge(storage, NOW, is_name_kept=False)
    assert value("pool_nodes_in_dns", pool="north") is None, "the operator keeps the name"
    PoolsManager(storage).change("south", {"drained": True})
    storage.edge.set_drained("b", True)
    exporter._look_at_the_edge(storage, NOW + datetime.timedelta(seconds=7), is_name_kept=True)
    assert [value("pool_nodes", pool=it) for it in ("north", "south")] == [1, 0]
    assert value("pool_nodes_in_dns", pool="north") == 1
    assert [value("dns_state", state=it) for it in ("current", "kept", "failing")] == [0, 1, 0]
    assert value("dns_change_age_seconds") == 7

    storage.edge.remove_node("a")
    exporter._look_at_the_edge(storage, NOW, is_name_kept=True)
    assert value("pool_nodes", pool="north") == 0
