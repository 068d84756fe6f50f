# SPDX-License-Identifier: Apache-2.0
"""The agent's figures in Prometheus's text format."""

import time
from dataclasses import replace

import pytest

from poppy.edge.agent import metrics
from poppy.edge.logs.logs import LogFigures
from poppy.model.edge_traffic import Counts, Domain
from tests.unit.edge.agent_parts import REFUSED, Site
from tests.unit.edge.test_agent import SECOND
from tests.unit.edge.test_program import PROGRAM

parse = pytest.importorskip("prometheus_client.parser").text_string_to_metric_families


LOGS = LogFigures(lines=7, lost=3, delivered=2, waiting=4096, overdue=61.5)


def samples(site, directory):
    """Return the values by name and label, as Prometheus reads them."""
    file = directory / "agent.prom"
    metrics.write(file, site.agent.figures(), LOGS, directory, time.time())
    found = {}
    for family in parse(file.read_text()):
        for sample in family.samples:
            found[(sample.name, *sample.labels.values())] = sample.value
    assert {name for name, *_ in found} == {it.sample for it in metrics.METRICS}
    return found


def test_figures_are_those_of_the_node(tmp_path):
    site = Site(tmp_path)
    site.store.publish(PROGRAM)
    site.run()
    site.plane.counted[Domain("a1", "www.example.com", "ZZ")] = Counts(0, 5, 0, 2, 0, 3, 4096)
    site.run(15)
    found = samples(site, tmp_path)
    assert found[("poppy_edge_revision",)] == 1
    assert found[("poppy_edge_ready",)] == 1
    assert found[("poppy_edge_behind",)] == found[("poppy_edge_failures",)] == 0
    assert found[("poppy_edge_responses_total", "2xx")] == 5
    assert found[("poppy_edge_responses_total", "4xx")] == 2
    assert found[("poppy_edge_hits_total",)] == 3
    assert found[("poppy_edge_sent_bytes_total",)] == 4096
    assert found[("poppy_edge_process_up", "varnish")] == 1
    assert found[("poppy_edge_log_lines_total",)] == 7
    assert found[("poppy_edge_log_lost_lines_total",)] == 3
    assert found[("poppy_edge_log_objects_total",)] == 2
    assert found[("poppy_edge_log_waiting_bytes",)] == 4096
    assert found[("poppy_edge_log_overdue_seconds",)] == 61.5
    assert abs(found[("poppy_edge_api_timestamp_seconds",)] - time.time()) < 5
    assert 0 < found[("poppy_edge_disk_free_bytes",)] <= found[("poppy_edge_disk_bytes",)]


def test_figures_show_what_is_wrong(tmp_path):
    site = Site(tmp_path)
    site.store.publish(PROGRAM)
    site.run()
    site.store.publish(replace(SECOND, domains=(REFUSED,)))
    site.run(2)
    assert samples(site, tmp_path)[("poppy_edge_failures",)] == 1
    site.store.publish(PROGRAM)
    site.store.publish(SECOND)
    site.plane.down = True
    site.run(1)
    site.direct.away = True
    site.run(100)
    found = samples(site, tmp_path)
    assert found[("poppy_edge_process_up", "haproxy")] == 0
    assert 95 < time.time() - found[("poppy_edge_api_timestamp_seconds",)] < 110
    assert found[("poppy_edge_revision",)] == 2
