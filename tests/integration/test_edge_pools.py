# SPDX-License-Identifier: Apache-2.0
"""DNS follows the health of the own edge: poppy-standalone, and a real PowerDNS.

The nodes are clients of the real API: they report as agents do, and serve nothing.
"""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config, errors
from poppy.common.clock import now_utc
from poppy.edge.agent.client import Client
from poppy.manager.edge import EdgeManager
from poppy.manager.pools import PoolsManager
from poppy.storage.base import Storage
from tests.real import mmdb
from tests.real.nameserver import SUFFIX
from tests.real.poppy import Installation, wait
from tests.real.powerdns import PowerDNS

pytestmark = pytest.mark.real

EDGE = f"edge.{SUFFIX}"
GERMAN, AMERICAN = "192.0.2.7", "198.51.100.7"
NORTH_1, NORTH_2, SOUTH_1 = "203.0.113.1", "203.0.113.2", "203.0.113.3"
DEAD_AFTER = 3.0
#: Seconds for a change to reach DNS, on a machine that runs other tests too.
LONG = 30.0


class Node:
    """A node that reports every quarter of a second until it is killed."""

    def __init__(self, edge: "Edge", name: str, pool: str, *addresses: str) -> None:
        base = edge.installation.base
        token = EdgeManager(edge.storage).add(name, pool, addresses)
        self._client = Client(base, Client(base).join(name, token))
        self._name = name
        self.revision = 0
        self.is_drained = False
        self.start()

    def start(self) -> None:
        self._killed = threading.Event()
        threading.Thread(target=self._run, args=(self._killed,), daemon=True).start()

    def kill(self) -> None:
        self._killed.set()

    def _run(self, killed: threading.Event) -> None:
        while not killed.wait(0.25):
            report = {"instance": self._name, "revision": self.revision, "ready": True}
            empty = {"version": "1.0", "started": {}, "failures": {}}
            with contextlib.suppress(errors.Unavailable):
                self.is_drained = self._client.report({**report, **empty})


class Edge:
    """An installation with its name server."""

    def __init__(self, installation: Installation, server: PowerDNS, storage: Storage) -> None:
        self.installation = installation
        self.storage = storage
        self.pools = PoolsManager(storage)
        self._server = server

    def addresses(self, client: str, rdtype: str = "A") -> set[str]:
        """Return what a client gets, by a resolver that sends its subnet (RFC 7871)."""
        option = dns.edns.ECSOption(client, 32)
        query = dns.message.make_query(EDGE, rdtype, use_edns=0, options=[option])
        answer = dns.query.udp(query, self._server.host, 5, self._server.port).answer
        return {record.address for rrset in answer for record in rrset}

    def wait_for(self, german: set[str], american: set[str]) -> float:
        """Wait for the answers of two clients; return the seconds that it took."""
        began = time.monotonic()
        wait(
            lambda: (self.addresses(GERMAN), self.addresses(AMERICAN)) == (german, american), LONG
        )
        return time.monotonic() - began

    def manage(self, *words: str) -> str:
        done = self.installation.manage("edge", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    database = tmp_path / "countries.mmdb"
    database.write_bytes(
        mmdb.database({"192.0.2.0/24": ("EU", "DE"), "198.51.100.0/24": ("NA", "US")})
    )
    with PowerDNS(f"launch+=geoip\ngeoip-database-files={database}\n") as server:
        installation = Installation(
            tmp_path,
            {
                "drivers": {"providers": "edge", "dns": "powerdns"},
                "drivers:provider:edge": {
                    "edge_name": EDGE,
                    "edge_dns": True,
                    "edge_dns_interval": 0.2,
                    "edge_dns_dead_after": DEAD_AFTER,
                },
                "drivers:dns:powerdns": {
                    "urls": server.url,
                    "api_key": server.secret,
                    "suffix": SUFFIX,
                    "steering": "weights, geography",
                },
                "drivers:distributed_task:taskflow": {"heartbeat_interval": 0.5},
            },
        )
        with installation.daemon("poppy-standalone"):
            installation.wait_until_up()
            conf = config.load([], files=[str(installation.config)])
            with contextlib.closing(Bootstrap(conf).storage) as storage:
                yield Edge(installation, server, storage)


def test_dns_follows_the_health_of_nodes_and_pools(edge: Edge) -> None:
    edge.pools.add("north", {"countries": ("DE",)})
    north_1 = Node(edge, "north-1", "north", NORTH_1, "2001:db8::1")
    north_2 = Node(edge, "north-2", "north", NORTH_2)
    south_1 = Node(edge, "south-1", "south", SOUTH_1)
    edge.wait_for({NORTH_1, NORTH_2}, {SOUTH_1})
    assert edge.addresses(GERMAN, "AAAA") == {"2001:db8::1"}

    # A node that is killed leaves in time. It is away while something changes.
    north_2.kill()
    assert edge.wait_for({NORTH_1}, {SOUTH_1}) < 15
    edge.storage.edge.publish("service-1", "{}")
    changed_at = time.monotonic()
    north_1.revision = south_1.revision = 1

    # A drained node leaves, and goes on reporting.
    edge.storage.edge.set_drained("south-1", True)
    edge.wait_for({NORTH_1}, {NORTH_1})
    wait(lambda: south_1.is_drained, LONG)
    edge.storage.edge.set_drained("south-1", False)
    edge.wait_for({NORTH_1}, {SOUTH_1})

    # A pool without enough nodes leaves as a whole.
    edge.pools.change("north", {"min_nodes": 2})
    edge.wait_for({SOUTH_1}, {SOUTH_1})
    pools = {it["name"]: it for it in json.loads(edge.manage("pools", "list", "-f", "json"))}
    assert (pools["north"]["in_dns"], pools["south"]["in_dns"]) == (0, 1)

    # The node returns when it has caught up.
    time.sleep(max(0.0, changed_at + 15 - time.monotonic()))
    north_2.start()
    time.sleep(2)
    returned = edge.storage.edge.node("north-2")
    assert returned is not None
    assert returned.is_live(now_utc())
    assert edge.addresses(GERMAN) == {SOUTH_1}
    north_2.revision = 1
    edge.wait_for({NORTH_1, NORTH_2}, {SOUTH_1})

    # An outage of the store changes nothing, whether nodes are alive or not.
    database = sqlite3.connect(edge.installation.directory / "poppy.sqlite3", isolation_level=None)
    with contextlib.closing(database):
        database.execute("BEGIN EXCLUSIVE")
        north_1.kill()
        until = time.monotonic() + 2 * DEAD_AFTER
        while time.monotonic() < until:
            assert edge.addresses(GERMAN) == {NORTH_1, NORTH_2}
            time.sleep(0.2)
        database.execute("ROLLBACK")
    edge.pools.change("north", {"min_nodes": 1})
    edge.wait_for({NORTH_2}, {SOUTH_1})

    # There is always an answer.
    for node in north_2, south_1:
        node.kill()
    time.sleep(2 * DEAD_AFTER)
    assert (edge.addresses(GERMAN), edge.addresses(AMERICAN)) == ({NORTH_2}, {SOUTH_1})
    listed = json.loads(edge.manage("nodes", "list", "-f", "json"))
    assert {it["name"]: it["in_dns"] for it in listed} == {
        "north-1": False,
        "north-2": True,
        "south-1": True,
    }
