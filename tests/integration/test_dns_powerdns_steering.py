# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``powerdns`` steers by weights and client location, on a real server."""

import collections
import ipaddress
from collections.abc import Iterator

import dns.edns
import dns.message
import dns.query
import pytest

from poppy.dns import powerdns
from poppy.dns.base import DNSDriver
from poppy.dns.steering import Steering, Target
from poppy.testing.dns import SteeringContract
from tests.real.mmdb import database
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX
from tests.real.powerdns import PowerDNS
from tests.unit.dns.making import make_driver

pytestmark = pytest.mark.real

NETWORKS = {
    "192.0.2.0/25": ("EU", "DE"),
    "192.0.2.128/25": ("EU", "AT"),
    "198.51.100.0/24": ("NA", "US"),
    "203.0.113.0/24": ("AS", "JP"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDNS]:
    path = tmp_path_factory.mktemp("geo") / "countries.mmdb"
    path.write_bytes(database(NETWORKS))
    with PowerDNS(f"launch+=geoip\ngeoip-database-files={path}\n") as server:
        yield server


def driver_for(server: PowerDNS, steering: list[str]) -> powerdns.PowerDNS:
    return make_driver(
        powerdns.PowerDNS,
        urls=[server.url],
        api_key=server.secret,
        suffix=SUFFIX,
        shared_ssl_domain_suffix=SHARED_SUFFIX,
        steering=steering,
    )


def ask(server: PowerDNS, name: str, client: str) -> str | None:
    """Resolve a name for a client, as a resolver that sends its subnet does (RFC 7871)."""
    option = dns.edns.ECSOption(client, 32)
    query = dns.message.make_query(name, "CNAME", use_edns=0, options=[option])
    answer = dns.query.udp(query, server.host, 5, server.port)
    return answer.answer[0][0].target.to_text(omit_final_dot=True) if answer.answer else None


class TestContract(SteeringContract):
    @pytest.fixture
    def driver(self, server: PowerDNS) -> powerdns.PowerDNS:
        server.clear()
        self.server = server
        return driver_for(server, ["weights", "geography"])

    def resolve(self, driver: DNSDriver, name: str) -> str | None:
        return self.server.resolve(name)

    def stranger(self, driver: DNSDriver) -> DNSDriver:
        return make_driver(
            powerdns.PowerDNS, urls=[self.server.url], api_key="wr0ng", suffix=SUFFIX
        )

    def ask(self, driver: DNSDriver, name: str, country: str) -> str | None:
        network = next(it for it, (_, code) in NETWORKS.items() if code == country)
        return ask(self.server, name, str(ipaddress.ip_network(network)[1]))


def test_weights_are_shares_of_clients(server: PowerDNS) -> None:
    server.clear()
    name = f"www.example.org.{SUFFIX}"
    policy = [Target("a.example.com", 75), Target("b.example.com", 25), Target("c.example.com", 0)]
    driver_for(server, ["weights"]).steer({name: policy})
    clients = [f"100.64.{i}.{j}" for i in range(20) for j in range(20)]
    counts = collections.Counter(ask(server, name, client) for client in clients)
    assert set(counts) == {"a.example.com", "b.example.com"}
    assert 0.65 < counts["a.example.com"] / len(clients) < 0.85
    again = [ask(server, name, client) for client in clients[:20]]
    assert again == [ask(server, name, client) for client in clients[:20]], "a client stays"


def test_long_policy(server: PowerDNS) -> None:
    server.clear()
    name = f"www.example.org.{SUFFIX}"
    label = "a-rather-long-name-of-a-provider"
    policy = [
        Target(f"{label}.{n}.example.com", 1, (code,)) for n, code in enumerate(["DE", "US", "JP"])
    ]
    policy += [Target(f"{label}.{n}.example.com", 1) for n in range(10, 20)]
    driver_for(server, ["weights", "geography"]).steer({name: policy})
    assert ask(server, name, "203.0.113.1") == f"{label}.2.example.com"
    assert ask(server, name, "100.64.0.1").startswith(f"{label}.1")


def test_steering_capabilities_follow_the_option(server: PowerDNS) -> None:
    assert driver_for(server, []).steering == frozenset()
    assert driver_for(server, ["weights"]).steering == {Steering.WEIGHTS}
