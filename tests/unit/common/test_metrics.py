# SPDX-License-Identifier: Apache-2.0
"""Metrics, and the dashboard, alerts and documentation that use them."""

import json
import pathlib
import re

import pytest
import yaml

from poppy.common import metrics
from poppy.edge.agent import metrics as edge

ROOT = pathlib.Path(__file__).parents[3]
MONITORING = ROOT / "etc" / "monitoring"
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
SAMPLES = {
    instrument.name + suffix: {*instrument.labels, *(["le"] if suffix == "_bucket" else [])}
    for instrument in metrics.INSTRUMENTS
    for suffix in SUFFIXES[instrument.kind]
} | {it.sample: {it.label, "instance"} for it in edge.METRICS}
#: Name, kind and labels of all metrics.
ALL = [(it.name, it.kind, it.labels) for it in metrics.INSTRUMENTS]
ALL += [(it.name, it.kind, [it.label] if it.label else []) for it in edge.METRICS]


def test_every_instrument_is_listed_once():
    declared = [it for it in vars(metrics).values() if isinstance(it, metrics.Instrument)]
    assert sorted(it.name for it in declared) == sorted(it.name for it in metrics.INSTRUMENTS)


def test_nothing_is_recorded_until_it_is_enabled():
    assert not metrics.enabled()
    metrics.REQUESTS.observe(1.0, "GET", "/", "2xx")
    metrics.DEFERRED.add("provider:mock")
    metrics.BUSY.set(1)
    assert all(instrument._metric is None for instrument in metrics.INSTRUMENTS)


def dashboard_expressions():
    document = json.loads((MONITORING / "poppy-dashboard.json").read_text())
    return [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]


def alert_expressions():
    document = yaml.safe_load((MONITORING / "poppy-alerts.yaml").read_text())
    return [rule["expr"] for group in document["groups"] for rule in group["rules"]]


EXPRESSIONS = [*dashboard_expressions(), *alert_expressions()]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_prometheus_expressions_use_existing_metrics(expression):
    names = set(re.findall(r"\bpoppy_\w+", expression))
    assert names <= SAMPLES.keys()
    assert names or "haproxy_process_dropped_logs_total" in expression, "it asks nothing"
    labels = set(re.findall(r'(\w+)\s*[=!]~?\s*"', expression))
    for grouping in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= {label.strip() for label in grouping.split(",")}
    for name in names:
        assert labels <= SAMPLES[name], f"{name} has no such label"
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(dashboard_expressions())
    missing = [name for name, _, _ in ALL if name not in shown]
    assert missing == []


def test_panels_have_unique_titles_and_positions():
    panels = json.loads((MONITORING / "poppy-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_alerts_have_a_summary_and_a_severity():
    document = yaml.safe_load((MONITORING / "poppy-alerts.yaml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_each_alert_links_to_the_runbook():
    page = (ROOT / "doc" / "source" / "runbook.rst").read_text()
    document = yaml.safe_load((MONITORING / "poppy-alerts.yaml").read_text())
    alerts = [rule for group in document["groups"] for rule in group["rules"]]
    for rule in alerts:
        url = f"https://docs.example.org/poppy/runbook.html#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook_url"] == url
        sections = page.split(f"\n.. _{rule['alert']}:\n")
        assert len(sections) == 2
        section = sections[1].split("\n.. _")[0]
        for part in ("**You see**", f"``{rule['alert']}``", "**It means**", "**Do**"):
            assert part in section
    named = set(re.findall(r"\bPoppy[A-Z]\w+", page))
    assert named == {rule["alert"] for rule in alerts}


def test_every_metric_is_documented_with_kind_and_labels():
    text = (ROOT / "doc" / "source" / "metrics.rst").read_text()
    rows = re.split(r"^(?=``poppy_)", text, flags=re.MULTILINE)[1:]
    described = {re.match(r"``(\w+)``", row)[1]: row for row in rows}
    assert set(described) == {name for name, _, _ in ALL}
    for name, kind, labels in ALL:
        row = described[name]
        assert row.split()[1] == kind[0]
        for label in labels:
            assert f"``{label}``" in row
