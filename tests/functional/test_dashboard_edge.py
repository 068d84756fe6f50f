# SPDX-License-Identifier: Apache-2.0
"""The dashboard's pages about the nodes of the operator's own edge."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import datetime
import re
from dataclasses import replace

import pytest

from poppy.common.clock import now_utc
from poppy.model.edge import Failure, Node, Report
from poppy.model.edge_traffic import HOUR, TOTAL, Batch, Counts
from poppy.transport.pecan.dashboard import edge_pages
from tests.functional.test_dashboard import (
    HOSTILE,
    _no_caching,
    app,
    make,
    plain,
    poppy,
    rows,
    stranger,
)

__all__ = ["_no_caching", "app", "make", "poppy", "stranger"]

DAY = datetime.timedelta(days=1)


@pytest.fixture
def log(poppy):
    """A store with revision 2, and a node that has just reported revision 1."""
    log = poppy.storage.edge
    log.publish("service-1", "{}")
    log.publish("service-2", "{}")
    report(log, "north-1", pool="north")
    return log


def report(log, name, pool="default", seen=None, **changes):
    """Add a node that has reported."""
    now = now_utc()
    token = name.ljust(64, "-")
    log.add_node(Node(name, pool, join_token="a" * 64, join_until=now + DAY))
    log.join(name, "a" * 64, token, now)
    started = {"haproxy": now - 3 * HOUR, "agent": now - 2 * DAY}
    made = Report("i1", 1, True, "9.8.7", started)
    log.report(name, token, replace(made, **changes), seen or now)


def count(log, node, counts):
    hour = now_utc().replace(minute=0, second=0, microsecond=0)
    log.add_traffic(node, Batch(f"source-of-{node}", hour, 1, {TOTAL: counts}), DAY)


def test_without_nodes_the_command_to_add_one_is_shown(app):
    page = plain(app.get("/dashboard/edge"))
    assert "There are no nodes." in page
    assert "poppy-manage edge nodes add" in page


def test_nodes_are_shown_with_their_states(log, app):
    report(log, "south-1", seen=now_utc() - 2 * HOUR)
    report(log, "south-2", ready=False, revision=2)
    report(log, "south-3", revision=2)
    log.set_drained("south-3", True)
    log.add_node(Node("west-1", join_token="b" * 64, join_until=now_utc() + DAY))
    page = app.get("/dashboard/edge")
    names = ["north-1", "south-1", "south-2", "south-3", "west-1"]
    assert [re.sub("<[^>]*>", "", it) for it in rows(page, "Nodes")] == names
    text = plain(page)
    assert "Nodes 5" in text
    assert re.search(r"north-1 north ready \d s ago 1 – 0.0 – 9.8.7", text)
    assert "south-1 default away 2 h ago 1 –" in text
    assert re.search(r"south-2 default not ready \d s ago 0 –", text)
    assert re.search(r"south-3 default drained \d s ago 0 –", text)
    assert "west-1 default not joined – – – 0.0 – –" in text
    assert "The newest revision is 2." in text


def test_traffic_is_that_of_each_node(log, app, monkeypatch):
    report(log, "south-1")
    count(log, "north-1", Counts(0, 30_000, 0, 6_000, 0, 27_000, 5_000_000))
    count(log, "south-1", Counts(responses_2xx=3600))
    page = plain(app.get("/dashboard/edge"))
    rate = {
        name: re.search(rf"{name} .*? – ([\d.]+) ([\d.]+) %", page)
        for name in ("north-1", "south-1")
    }
    assert rate["north-1"][2] == "75.0"
    assert rate["south-1"][2] == "0.0"
    # In the first minutes of an hour, the hour before it counts too.
    assert 5.0 <= float(rate["north-1"][1]) <= 60.1
    own = plain(app.get("/dashboard/edge/north-1"))
    assert "Hit ratio 75.0 % Sent 5.0 MB 1xx 0 2xx 30000 3xx 0 4xx 6000 5xx 0" in own


def test_refused_services_are_listed_and_escaped(log, app, monkeypatch):
    monkeypatch.setattr(edge_pages, "FAILURES", 1)
    failures = {"service-1": Failure(1, HOSTILE), "service-2": Failure(2, "no database")}
    report(log, "south-1", failures=failures)
    page = app.get("/dashboard/edge")
    assert "<script>alert" not in page.text
    assert f"service-1 south-1 1 {HOSTILE.replace(chr(34), '&#34;')}" in plain(page)
    assert "no database" not in page.text
    own = plain(app.get("/dashboard/edge/south-1"))
    assert "Refused services 2" in own
    assert "service-2 south-1 2 no database" in own


def test_page_of_a_node_shows_its_processes_and_what_to_do(log, app):
    page = plain(app.get("/dashboard/edge/north-1"))
    assert "Version 9.8.7 Revision 1 of 2" in page
    assert "haproxy started 3 h ago" in page
    assert "agent started 2 d ago" in page
    assert "poppy-manage edge nodes drain north-1" in page
    log.set_drained("north-1", True)
    page = plain(app.get("/dashboard/edge/north-1"))
    assert "poppy-manage edge nodes undrain north-1" in page
    log.add_node(Node("west-1", "a-pool", join_token="b" * 64, join_until=now_utc() + DAY))
    page = plain(app.get("/dashboard/edge/west-1"))
    assert "poppy-manage edge nodes add west-1 --pool a-pool" in page


def test_unknown_node_is_not_found(app):
    assert "Node no-such not found" in app.get("/dashboard/edge/no-such", status=404).text
