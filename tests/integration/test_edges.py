# SPDX-License-Identifier: Apache-2.0
"""End to end with two providers: clients are sent to one of two edges by real name servers.

Each edge is a web server with its own address, which stands in for a point of presence (POP), and
which ``edge_check_url`` checks. Clients resolve the operator name at a real name server, and send
requests to the resulting address.
"""

import collections
import contextlib
import datetime
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query
import dns.rdatatype
import pytest
import requests

from poppy.bootstrap import Bootstrap
from poppy.common import config
from tests.real.bind import Bind
from tests.real.mmdb import database
from tests.real.nameserver import SUFFIX, NameServer
from tests.real.origin import Origin
from tests.real.poppy import PROJECT, Installation, wait
from tests.real.powerdns import PowerDNS

pytestmark = pytest.mark.real

DOMAIN = "www.example.com"
NAME = f"{DOMAIN}.{SUFFIX}"
POPS = ("north", "south")
NETWORKS = {"192.0.2.0/24": ("EU", "DE"), "198.51.100.0/24": ("NA", "US")}
GERMAN, AMERICAN = "192.0.2.7", "198.51.100.7"
QUICK = {
    "health_interval": 0.2,
    "failover_after": 2,
    "failback_after": 5,
    "heartbeat_interval": 0.2,
    "retry_base": 0.2,
    "retry_ceiling": 1,
}


class Site:
    """A poppy-standalone with two POPs and a name server."""

    def __init__(
        self,
        poppy: Installation,
        nameserver: NameServer,
        pops: Mapping[str, Origin],
    ) -> None:
        self.poppy = poppy
        self.nameserver = nameserver
        self.pops = pops
        self.addresses = {pop.address: name for name, pop in pops.items()}

    def create(self, details: Mapping[str, Mapping[str, Any]]) -> str:
        """Create a service with both POPs, wait until it is deployed, and return its URL."""
        link = {"href": "https://www.example.com", "rel": "provider_url"}
        providers = [{"provider": it, "links": [link], **details.get(it, {})} for it in POPS]
        url = f"{self.poppy.base}/v1.0/flavors"
        body = {"id": "standard", "providers": providers}
        answer = self.poppy.session.post(url, json=body, timeout=10)
        assert answer.status_code == 201, answer.text
        service = self.poppy.create_service(DOMAIN)
        self.poppy.wait_for(service, "deployed")
        wait(lambda: self._is_calm(service), 20)
        return service

    def _is_calm(self, service: str) -> bool:
        """Return whether no POP looks down, no name avoids a POP, and no operation is open."""
        service_id = service.rpartition("/")[2]
        since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=10)
        conf = config.load([], files=[str(self.poppy.config)])
        with contextlib.closing(Bootstrap(conf).storage) as storage:
            details = storage.services.get(PROJECT, service_id).provider_details
            return (
                not any(worker.down for worker in storage.membership.workers(since))
                and not any(detail.avoided for detail in details.values())
                and all(it.state.finished for it in storage.operations.list(PROJECT, service_id))
            )

    def pop(self, client: str = "127.0.0.1") -> str:
        """Return the client's POP, as a resolver that sends its subnet finds it (RFC 7871)."""
        return self.addresses[self._resolve(client)]

    def fetch(self, client: str = "127.0.0.1") -> tuple[str, int]:
        """Fetch a page as a client; return the POP that answers, and the status."""
        url = f"http://{self._resolve(client)}/page"
        answer = requests.get(url, headers={"Host": DOMAIN}, timeout=5)
        return answer.text.split()[0], answer.status_code

    def _resolve(self, client: str) -> str:
        host, port = self.nameserver.host, self.nameserver.port
        name, asked = f"{NAME}.", 0
        while asked < 3:
            asked += 1
            option = dns.edns.ECSOption(client, 32)
            query = dns.message.make_query(name, "A", use_edns=0, options=[option])
            rrsets = dns.query.udp(query, host, 5, port).answer
            for rrset in rrsets:
                if rrset.rdtype == dns.rdatatype.A:
                    return str(rrset[0])
            name = rrsets[-1][0].target.to_text()
        raise AssertionError(f"{name} leads to no address")


@contextlib.contextmanager
def running(directory: Path, nameserver: NameServer, options: Mapping[str, Any]) -> Iterator[Site]:
    """Run a site with the DNS driver that the options name."""
    (dns_driver,) = options
    net = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}"
    with Origin("north", f"{net}.1") as north, Origin("south", f"{net}.2") as south:
        pops = {pop.name: pop for pop in (north, south)}
        groups: dict[str, dict[str, Any]] = {
            "drivers": {"providers": "north:mock, south:mock", "dns": dns_driver},
            f"drivers:dns:{dns_driver}": {"suffix": SUFFIX, **options[dns_driver]},
            "drivers:distributed_task:taskflow": QUICK,
        }
        for name, pop in pops.items():
            edge = f"{name}.{SUFFIX}"
            nameserver.change(SUFFIX, (f"{DOMAIN}.{edge}", "A", pop.address))
            groups[f"drivers:provider:{name}"] = {
                "suffix": edge,
                "edge_check_url": f"http://{pop.address}/",
            }
        poppy = Installation(directory, groups)
        with poppy.session, poppy.daemon("poppy-standalone"):
            poppy.wait_until_up()
            yield Site(poppy, nameserver, pops)


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Site]:
    with Bind() as nameserver:
        options = {
            "servers": nameserver.address,
            "tsig_key_name": nameserver.key_name,
            "tsig_key_secret": nameserver.secret,
            "timeout": 1,
        }
        with running(tmp_path, nameserver, {"rfc2136": options}) as site:
            yield site


@pytest.fixture
def powerdns(tmp_path: Path) -> Iterator[Site]:
    path = tmp_path / "countries.mmdb"
    path.write_bytes(database(NETWORKS))
    with PowerDNS(f"launch+=geoip\ngeoip-database-files={path}\n") as nameserver:
        options = {
            "urls": nameserver.url,
            "api_key": nameserver.secret,
            "steering": "weights, geography",
        }
        with running(tmp_path, nameserver, {"powerdns": options}) as site:
            yield site


def test_clients_fail_over_from_a_dead_edge_and_back(bind: Site) -> None:
    service = bind.create({})
    assert bind.fetch() == ("north", 200)
    bind.pops["north"].stop()
    with pytest.raises(requests.ConnectionError):
        bind.fetch()
    wait(lambda: bind.pop() == "south", 20)
    assert bind.fetch() == ("south", 200)
    assert bind.poppy.status(service) == "deployed"
    bind.pops["north"].start()
    wait(lambda: bind.pop() == "north", 20)
    assert bind.fetch() == ("north", 200)


def test_clients_are_steered_by_geography(powerdns: Site) -> None:
    powerdns.create({"north": {"geography": {"continents": ["EU"]}}})
    clients = {GERMAN: "north", AMERICAN: "south", "203.0.113.1": "south"}
    assert {client: powerdns.pop(client) for client in clients} == clients
    for client, pop in (GERMAN, "north"), (AMERICAN, "south"):
        assert powerdns.fetch(client) == (pop, 200)
    # Without the POP of their continent, they are sent to the other one.
    powerdns.pops["north"].stop()
    wait(lambda: powerdns.pop(GERMAN) == "south", 20)
    assert powerdns.fetch(GERMAN) == ("south", 200)


def test_clients_are_steered_by_weights(powerdns: Site) -> None:
    powerdns.create({"north": {"weight": 75}, "south": {"weight": 25}})
    clients = [f"100.64.{i}.{j}" for i in range(20) for j in range(20)]
    counts = collections.Counter(map(powerdns.pop, clients))
    assert 0.65 < counts["north"] / len(clients) < 0.85
    assert {powerdns.fetch(client) for client in clients[:20]} == {
        ("north", 200),
        ("south", 200),
    }
    powerdns.pops["south"].stop()
    wait(lambda: {powerdns.pop(client) for client in clients[:20]} == {"north"}, 20)
    assert {powerdns.fetch(client) for client in clients[:20]} == {("north", 200)}
