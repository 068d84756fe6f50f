# SPDX-License-Identifier: Apache-2.0
"""poppy-manage edge, with nodes that follow the real API."""

import pytest
from webtest import AppError

from poppy.common import errors
from poppy.model.edge import LIVE
from tests.functional.commands import listed
from tests.real.edge_agent import Agent


@pytest.fixture
def join(poppy, run):
    def join(name, *options):
        token = run("edge", "nodes", "add", name, *options).strip()
        agent = Agent(poppy.boot.transport.application, name, token)
        agent.poll()
        return agent

    return join


def states(run):
    return {entry["name"]: entry["state"] for entry in listed(run, "edge", "nodes", "list")}


def test_printed_token_is_for_one_join(poppy, run, join):
    first = run("edge", "nodes", "add", "node-1")
    assert "can join within an hour" in poppy.said[1]
    assert states(run) == {"node-1": "not joined"}
    join("node-1", "--pool", "south")
    with pytest.raises(errors.InUse, match="node-1 has joined already"):
        run("edge", "nodes", "add", "node-1")
    assert first.strip() not in run("edge", "nodes", "list", "-f", "json")
    (entry,) = listed(run, "edge", "nodes", "list")
    assert (entry["pool"], entry["state"], entry["behind"]) == ("south", "ready", 0)


def test_invalid_name_is_refused(run):
    with pytest.raises(errors.InvalidRequest, match="'Node 1'"):
        run("edge", "nodes", "add", "Node 1")


def test_states(poppy, run, join, monkeypatch):
    agents = [join(f"node-{number}") for number in range(3)]
    agents[1].ready = False
    agents[1].report()
    assert "drained" in run("edge", "nodes", "drain", "node-2")
    assert states(run) == {"node-0": "ready", "node-1": "not ready", "node-2": "drained"}
    assert "back in service" in run("edge", "nodes", "undrain", "node-2")
    assert states(run)["node-2"] == "ready"
    seen_at = poppy.storage.edge.node("node-0").seen_at
    monkeypatch.setattr("poppy.cmd.edges.now_utc", lambda: seen_at + LIVE)
    assert states(run)["node-0"] == "away"


def test_removed_node_is_refused(poppy, run, join):
    agent = join("node-1")
    assert "Stop it" in run("edge", "nodes", "remove", "node-1")
    assert states(run) == {}
    with pytest.raises(AppError, match="401"):
        agent.report()
    for action in ("drain", "undrain", "remove"):
        with pytest.raises(errors.NotFound, match="no node node-1"):
            run("edge", "nodes", action, "node-1")


def test_status_shows_how_far_the_nodes_are_and_what_they_refuse(poppy, run, join):
    assert listed(run, "edge", "status")["behind"] is None
    first, _second = join("node-1"), join("node-2")
    first.refused["service-1"] = "a map is full"
    poppy.storage.edge.publish("service-1", "{}")
    first._tag = None
    first.poll()
    poppy.storage.edge.publish("service-2", "{}")
    assert listed(run, "edge", "status") == {
        "head": 2,
        "nodes": 2,
        "live": 2,
        "ready": 2,
        "behind": 2,
        "failures": [
            {
                "node": "node-1",
                "service_id": "service-1",
                "revision": 1,
                "reason": "a map is full",
            }
        ],
    }
    assert "node: node-1, service_id: service-1" in run("edge", "status")
