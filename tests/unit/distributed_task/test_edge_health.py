# SPDX-License-Identifier: Apache-2.0
"""Which nodes of the own edge are healthy, and which pools get clients."""

import datetime
from dataclasses import replace

import pytest

from poppy.distributed_task.edge_health import CAUGHT_UP, NodeHealth, address_pools, members
from poppy.model.edge import Node, Report
from poppy.model.pools import NameKeeping, Pool
from poppy.testing.builders import NOW

KEEPING = NameKeeping("edge.example.net", 30, 2.0, 12.0, 100)


def seconds(number):
    return datetime.timedelta(seconds=number)


class Edge:
    """Nodes that report at each step, unless they are stopped."""

    def __init__(self, *names, head=0):
        self.time = 1000.0
        self.head = head
        self.nodes = {name: make(name, head) for name in names}
        self.stopped = set()
        self.published = set()
        self.health = NodeHealth(KEEPING, lambda: self.time)

    @property
    def now(self):
        return NOW + seconds(self.time - 1000)

    def change(self, name, **fields):
        report = {"revision": fields.pop("revision", None), "ready": fields.pop("ready", None)}
        node = self.nodes[name]
        given = {field: value for field, value in report.items() if value is not None}
        document = {**node.report.to_dict(), **given}
        self.nodes[name] = replace(node, report=Report.from_dict(document), **fields)

    def look(self):
        """Return the names of the healthy nodes, which are published."""
        for name, node in self.nodes.items():
            if name not in self.stopped:
                self.nodes[name] = replace(node, seen_at=self.now)
        nodes = list(self.nodes.values())
        found = self.health.look(nodes, self.head, self.published, self.now)
        self.published = {node.name for node in found} or self.published
        return {node.name for node in found}

    def after(self, duration, step=1.0):
        """Look every second for some seconds; return what was found last."""
        end = self.time + duration
        found = self.look()
        while self.time < end:
            self.time += step
            found = self.look()
        return found


def make(name, revision=0, pool="default", addresses=("192.0.2.1",)):
    report = Report("i", revision, True, "1.0")
    return Node(name, pool, addresses=addresses, token="t", report=report, seen_at=NOW)


def test_node_leaves_within_seconds_of_its_death():
    edge = Edge("a", "b", "c")
    assert edge.after(60) == {"a", "b", "c"}
    edge.stopped.add("b")
    assert edge.after(11) == {"a", "b", "c"}
    assert edge.after(1) == {"a", "c"}
    edge.stopped.add("a")
    assert edge.after(12) == {"c"}


def test_no_node_leaves_while_no_report_arrives():
    edge = Edge("a", "b", "c")
    edge.after(60)
    edge.stopped.update("abc")
    assert edge.after(3600, 10) == {"a", "b", "c"}
    assert edge.health.silent
    # The nodes return one after the other, and one never does.
    edge.stopped.remove("a")
    assert edge.after(15) == {"a", "b", "c"}
    assert not edge.health.silent
    edge.stopped.remove("b")
    assert edge.after(10) == {"a", "b", "c"}
    assert edge.after(20) == {"a", "b"}


def test_no_node_leaves_if_the_last_reports_arrive_within_an_interval():
    edge = Edge("a", "b", "c")
    edge.after(60)
    for name, pause in (("a", 2), ("b", 3), ("c", 60)):
        edge.stopped.add(name)
        assert edge.after(pause) == {"a", "b", "c"}


def test_no_node_leaves_at_first():
    edge = Edge("a", "b")
    edge.published = {"a", "b"}
    edge.stopped.add("b")
    assert edge.after(29) == {"a", "b"}
    assert edge.after(2) == {"a"}


@pytest.mark.parametrize("fields", [{"drained": True}, {"ready": False}, {"addresses": ()}])
def test_node_leaves_at_once(fields):
    edge = Edge("a", "b")
    edge.look()
    edge.change("b", **fields)
    assert edge.look() == {"a"}


def test_node_that_was_away_returns_when_it_has_caught_up():
    edge = Edge("a", "b", head=10)
    edge.after(60)
    edge.stopped.add("b")
    edge.after(15)
    edge.head = 20
    edge.change("a", revision=20)
    edge.after(CAUGHT_UP)
    edge.stopped.clear()
    assert edge.after(30) == {"a"}
    edge.change("b", revision=19)
    assert edge.after(30) == {"a"}
    edge.change("b", revision=20)
    assert edge.look() == {"a", "b"}


def test_node_that_follows_closely_returns_under_steady_changes():
    edge = Edge("a", "b", head=10)
    edge.after(60)
    edge.published = {"a"}
    for _ in range(20):
        edge.head += 5
        edge.change("a", revision=edge.head)
        edge.change("b", revision=edge.head - 10)
        edge.after(1)
    assert edge.look() == {"a", "b"}


def test_node_in_dns_may_be_some_changes_behind():
    edge = Edge("a", "b", head=10)
    edge.after(60)
    edge.head = 110
    edge.change("a", revision=110)
    assert edge.after(60) == {"a", "b"}
    edge.head = 111
    assert edge.look() == {"a"}


def test_pools_without_enough_nodes_are_left_out_if_others_have_them():
    north = [make(f"north-{n}", pool="north") for n in range(2)]
    south, west = make("south-1", pool="south"), make("west-1", pool="west")
    pools = {"north": Pool("north", min_nodes=2), "south": Pool("south", drained=True)}

    def chosen(*nodes):
        return set(members(pools, nodes))

    assert chosen(*north, south, west) == {"north", "west"}
    assert chosen(north[0], south, west) == {"west"}
    assert chosen(north[0], south) == {"north"}
    assert chosen(south) == {"south"}
    assert chosen() == set()


def test_pool_has_the_addresses_of_its_nodes_once():
    nodes = [
        make("a", addresses=("192.0.2.2", "2001:db8::1")),
        make("b", addresses=("192.0.2.2",)),
    ]
    rest = [make("c", pool="rest", addresses=("192.0.2.3",))]
    pools = {"rest": Pool("rest", 5, ("DE",), ("EU",))}
    heavy, light = address_pools(pools, {"default": nodes, "rest": rest})
    assert (heavy.name, heavy.weight, heavy.countries) == ("rest", 5, ("DE",))
    assert light.addresses == ("192.0.2.2", "2001:db8::1")
