# SPDX-License-Identifier: Apache-2.0
"""poppy-manage edge, with nodes that follow the real API."""

import datetime
import json

import pytest
from webtest import AppError

from poppy.common import errors
from poppy.manager.pools import PoolsManager
from poppy.model.edge import LIVE, CertificateOrder
from tests.certificates import Signed
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
        "expiring": [],
    }
    assert "node: node-1, service_id: service-1" in run("edge", "status")


def test_nodes_have_addresses_and_pools_have_settings(run, join):
    join("node-1", "--pool", "north", "--address", "192.0.2.1", "--address", "2001:DB8::01")
    run("edge", "pools", "add", "south", "--weight", "3", "--country", "DE", "--continent", "EU")
    run("edge", "nodes", "set", "node-1", "--pool", "south")
    (node,) = listed(run, "edge", "nodes", "list")
    assert (node["pool"], node["addresses"]) == ("south", ["192.0.2.1", "2001:db8::1"])
    run("edge", "nodes", "set", "node-1", "--address", "192.0.2.2")
    assert "192.0.2.2" in run("edge", "nodes", "list")
    run("edge", "nodes", "set", "node-1", "--no-address")
    assert listed(run, "edge", "nodes", "list")[0]["addresses"] == []

    run("edge", "pools", "set", "south", "--country", "AT", "--min-nodes", "2")
    assert "drained" in run("edge", "pools", "drain", "south")
    (pool,) = listed(run, "edge", "pools", "list")
    assert pool == {
        "name": "south",
        "weight": 3,
        "countries": ["AT"],
        "continents": [],
        "min_nodes": 2,
        "drained": True,
        "nodes": 1,
        "ready": 1,
        "in_dns": None,
    }
    assert "back in service" in run("edge", "pools", "undrain", "south")
    run("edge", "pools", "set", "south", "--everywhere")
    assert "south  3       -" in run("edge", "pools", "list")
    with pytest.raises(errors.InUse, match="south has nodes: node-1"):
        run("edge", "pools", "remove", "south")
    run("edge", "nodes", "remove", "node-1")
    run("edge", "pools", "remove", "south")
    assert listed(run, "edge", "pools", "list") == []


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("nodes", "add", "n", "--address", "10.0.0"), errors.InvalidRequest, "'10.0.0' is no IP"),
        (("nodes", "add", "n", "--address", "224.0.0.1"), errors.InvalidRequest, "224.0.0.1"),
        (("nodes", "add", "n", "--address", "::ffff:192.0.2.1"), errors.InvalidRequest, "::ffff"),
        (("nodes", "set", "n", "--pool", "p"), errors.NotFound, "no node n"),
        (("pools", "add", "p", "--country", "de"), errors.InvalidRequest, "'de'"),
        (("pools", "add", "p", "--continent", "XX"), errors.InvalidRequest, "'XX'"),
        (("pools", "add", "p", "--weight", "1001"), errors.InvalidRequest, "weight 1001"),
        (("pools", "add", "p", "--min-nodes", "-1"), errors.InvalidRequest, "min_nodes -1"),
        (("pools", "add", "P"), errors.InvalidRequest, "'P' can't be the name of a pool"),
        (("pools", "set", "p", "--weight", "1"), errors.NotFound, "no pool p"),
        (("pools", "remove", "p"), errors.NotFound, "no pool p"),
    ],
)
def test_invalid_nodes_and_pools_are_refused(run, words, error, message):
    with pytest.raises(error, match=message):
        run("edge", *words)
    assert listed(run, "edge", "nodes", "list") == listed(run, "edge", "pools", "list") == []


def test_pools_have_a_maximum(poppy, run):
    manager = PoolsManager(poppy.storage)
    for number in range(99):
        manager.add(f"pool-{number}", {})
    run("edge", "nodes", "add", "node-1", "--pool", "pool-99")
    for words in ("pools", "add", "more"), ("nodes", "add", "node-2", "--pool", "more"):
        with pytest.raises(errors.InvalidRequest, match="100 pools, which is the maximum"):
            run("edge", *words)
    run("edge", "pools", "add", "pool-99")
    run("edge", "nodes", "add", "node-2", "--pool", "pool-1")


def test_pool_has_a_maximum_of_addresses(run):
    for node in range(4):
        words = [word for n in range(8) for word in ("--address", f"192.0.{node}.{n}")]
        run("edge", "nodes", "add", f"node-{node}", *words)
    run("edge", "nodes", "add", "same", "--address", "192.0.0.1")
    run("edge", "nodes", "add", "ipv6", "--address", "2001:db8::1")
    run("edge", "nodes", "add", "other", "--address", "192.0.9.9", "--pool", "other")
    with pytest.raises(errors.InvalidRequest, match="Pool default would have 33 IPv4 addresses"):
        run("edge", "nodes", "set", "other", "--pool", "default")
    with pytest.raises(errors.InvalidRequest, match="at most 8 addresses"):
        run("edge", "nodes", "set", "node-0", *words, "--address", "192.0.0.9")


class Sealing:
    """A provider that encrypts with the key "new"."""

    key_ids = ("new", "old")

    def seal_accounts(self):
        return ()


def test_keys_are_counted_and_what_is_not_deployed_is_named(poppy, run):
    log = poppy.storage.edge
    poppy.boot.providers["sealing"] = Sealing()
    for key, service_id in (("old.1", "gone"), ("new.2", "service-2"), ("lost.3", "shared-x")):
        project_id = "" if service_id == "shared-x" else "p"
        log.put_order(CertificateOrder(project_id, service_id, "o", {"key": key}))
        log.publish(service_id, json.dumps({"certificates": [{"key": key}]}))
    log.publish("plain", "{}")
    assert listed(run, "edge", "keys", "list") == [
        {"key_id": "new", "state": "encrypts", "secrets": 2},
        {"key_id": "old", "state": "decrypts", "secrets": 2},
        {"key_id": "lost", "state": "missing", "secrets": 2},
    ]
    assert run("edge", "keys", "rotate") == "0 services are being updated.\n"
    assert "Not updated: service gone of project p" in poppy.said[1]
    assert "shared-x: workers encrypt it by themselves" in poppy.said[1]
    assert "service-2" not in poppy.said[1]


def test_status_has_certificates_that_expire_soon(poppy, run):
    day = datetime.timedelta(days=1)
    sites = {
        "fresh": Signed("fresh", names=["a.com"], begin=-60 * day, end=15 * day),
        "expired": Signed("expired", names=["b.com"], begin=-60 * day, end=-day),
        "soon": Signed("soon", names=["c.com"], begin=-60 * day, end=13 * day),
        "short": Signed("short", names=["d.com"], begin=-3 * day, end=3 * day),
        "late": Signed("late", names=["e.com"], begin=-5 * day, end=day),
    }
    for service_id, site in sites.items():
        certificate = {"names": ["a.com"], "chain": site.pem, "key": "x.y"}
        poppy.storage.edge.publish(service_id, json.dumps({"certificates": [certificate]}))
    found = json.loads(run("edge", "status", "-f", "json"))["expiring"]
    assert {it["service_id"] for it in found} == {"expired", "soon", "late"}
    assert found[0]["names"] == ["a.com"]
    expected = sites[found[0]["service_id"]].certificate.not_valid_after_utc
    assert found[0]["expires_at"] == expected.isoformat()
