# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``powerdns`` steers by weights and client location, on a real server."""

import collections
import ipaddress
from collections.abc import Iterator, Sequence

import dns.edns
import dns.message
import dns.query
import dns.rrset
import pytest

from poppy.common.errors import PermanentError
from poppy.dns import powerdns
from poppy.dns.base import DNSDriver
from poppy.dns.steering import AddressPool, Steering, Target
from poppy.testing.dns_edge import EdgeNameContract
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


def query(
    server: PowerDNS, name: str, client: str, rdtype: str = "CNAME"
) -> Sequence[dns.rrset.RRset]:
    """Resolve a name for a client, as a resolver that sends its subnet does (RFC 7871)."""
    option = dns.edns.ECSOption(client, 32)
    question = dns.message.make_query(name, rdtype, use_edns=0, options=[option])
    return dns.query.udp(question, server.host, 5, server.port).answer


def ask(server: PowerDNS, name: str, client: str) -> str | None:
    """Return the target of a CNAME for a client."""
    found = query(server, name, client)
    return found[0][0].target.to_text(omit_final_dot=True) if found else None


def client_in(country: str) -> str:
    network = next(it for it, (_, code) in NETWORKS.items() if code == country)
    return str(ipaddress.ip_network(network)[1])


class TestContract(EdgeNameContract):
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
        return ask(self.server, name, client_in(country))

    def addresses(
        self, driver: DNSDriver, name: str, rdtype: str = "A", country: str = "DE"
    ) -> set[str]:
        found = query(self.server, name, client_in(country), rdtype)
        return {record.address for rrset in found for record in rrset}

    def edge_ttl(self, driver: DNSDriver, name: str) -> int:
        return int(query(self.server, name, client_in("DE"), "A")[0].ttl)


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


def test_weights_of_pools_are_shares_of_clients(server: PowerDNS) -> None:
    name = f"edge-weights.{SUFFIX}"
    pools = [
        AddressPool(f"pool-{weight}", weight, addresses=addresses)
        for weight, addresses in (
            (75, ("192.0.2.1", "192.0.2.2", "2001:db8::1")),
            (25, ("192.0.2.3", "2001:db8::2")),
            (0, ("192.0.2.4",)),
        )
    ]
    driver_for(server, ["weights"]).ensure_edge(name, pools, 30)
    www = f"www.example.org.{SUFFIX}"
    driver_for(server, ["weights"]).ensure({www: name})
    counts: collections.Counter[frozenset[str]] = collections.Counter()
    for client in (f"100.64.{i}.{j}" for i in range(20) for j in range(10)):
        rrsets = query(server, www, client, "A")
        assert rrsets[0][0].target.to_text(omit_final_dot=True) == name
        counts[frozenset(it.address for it in rrsets[1])] += 1
    assert set(counts) == {frozenset(("192.0.2.1", "192.0.2.2")), frozenset(("192.0.2.3",))}
    assert 0.6 < counts[frozenset(("192.0.2.1", "192.0.2.2"))] / 200 < 0.9


def test_large_pools_in_many_places(server: PowerDNS) -> None:
    name = f"edge-large.{SUFFIX}"
    codes = [f"{one}{two}" for one in "ABC" for two in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    pools = [
        AddressPool(
            f"pool-{number}", 10, (code, "JP"), (), tuple(f"10.1.{number}.{n}" for n in range(32))
        )
        for number, code in enumerate(codes)
    ]
    pools.append(AddressPool("rest", addresses=("192.0.2.1",)))
    driver_for(server, ["weights", "geography"]).ensure_edge(name, pools, 30)
    (german,) = query(server, name, client_in("DE"), "A")
    assert {it.address for it in german} == {"192.0.2.1"}
    (japanese,) = query(server, name, client_in("JP"), "A")
    assert len({it.address.rpartition(".")[0] for it in japanese}) == 1
    assert len(japanese) == 32
    assert (name, "TYPE65402") in server.records(), "secondaries can transfer it"
    six = AddressPool("six", 1, (), (), tuple(f"2001:db8:1:2:3:4:5:{n:x}" for n in range(3000)))
    with pytest.raises(PermanentError, match="too many addresses"):
        driver_for(server, ["weights"]).ensure_edge(name, [*pools, six], 30)


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
