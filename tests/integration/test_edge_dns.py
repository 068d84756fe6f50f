# SPDX-License-Identifier: Apache-2.0
"""End to end: the API, a worker, a real BIND, and the node that its records lead to."""

import contextlib
from collections.abc import Iterator

import dns.resolver
import pytest
import requests

from poppy.bootstrap import Bootstrap
from poppy.common import config
from poppy.model.operations import Operation
from tests.real.bind import Bind
from tests.real.edge_daemon import join
from tests.real.edge_node import EdgeNode
from tests.real.nameserver import SUFFIX
from tests.real.origin import Origin
from tests.real.poppy import PROJECT, Installation, wait

pytestmark = pytest.mark.real

DOMAIN = "www.example.com"
NAME = f"{DOMAIN}.{SUFFIX}"
EDGE = f"edge.{SUFFIX}"


class Site:
    """A poppy-standalone with its own edge and a name server."""

    def __init__(
        self, poppy: Installation, nameserver: Bind, node: EdgeNode, origin: Origin
    ) -> None:
        self.poppy = poppy
        self.nameserver = nameserver
        self.node = node
        self.origin = origin

    def create(self, domain: str = DOMAIN) -> str:
        return self.poppy.create_service(domain, origins=[{"origin": self.origin.address}])

    def address(self, domain: str = DOMAIN) -> str:
        """Resolve the operator name to an address, as any resolver does."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.nameserver.host], self.nameserver.port
        answer = resolver.resolve(f"{domain}.{SUFFIX}.", "A")
        assert answer.canonical_name.to_text(omit_final_dot=True) == EDGE
        return str(answer[0])

    def fetch(self, address: str, domain: str = DOMAIN) -> tuple[int, str | None]:
        """Fetch from an address, at the port of the test's node."""
        url = f"http://{address}:{self.node.http[1]}/"
        answer = requests.get(url, headers={"Host": domain}, timeout=10)
        return answer.status_code, answer.headers.get("X-Cache")

    def operation(self, url: str) -> Operation:
        """Return the last stored operation of a service."""
        conf = config.load([], files=[str(self.poppy.config)])
        with contextlib.closing(Bootstrap(conf).storage) as storage:
            return storage.operations.list(PROJECT, url.rpartition("/")[2])[-1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        Origin() as origin,
        EdgeNode(allowed_origins=["127.0.0.0/8"]) as node,
        Bind() as nameserver,
    ):
        nameserver.change(SUFFIX, (EDGE, "A", "127.0.0.1"))
        options = {
            "drivers": {"providers": "edge", "dns": "rfc2136"},
            "drivers:provider:edge": {"edge_name": EDGE, "allowed_origins": "127.0.0.0/8"},
            "drivers:dns:rfc2136": {
                "servers": nameserver.address,
                "suffix": SUFFIX,
                "tsig_key_name": nameserver.key_name,
                "tsig_key_secret": nameserver.secret,
                "timeout": 1,
            },
            "drivers:distributed_task:taskflow": {"retry_base": 0.2, "retry_ceiling": 1},
        }
        poppy = Installation(tmp_path_factory.mktemp("site"), options)
        with poppy.session, poppy.daemon("poppy-standalone"):
            poppy.wait_until_up()
            poppy.create_flavor("edge")
            with join(poppy, node, "north-1"):
                yield Site(poppy, nameserver, node, origin)


def test_service_is_reached_by_name_until_it_is_deleted(site: Site) -> None:
    before = site.nameserver.records()
    url = site.create()
    site.poppy.wait_for(url, "deployed")
    links = site.poppy.session.get(url, timeout=10).json()["links"]
    assert {"href": NAME, "rel": "access_url"} in links
    address = site.address()
    assert [site.fetch(address), site.fetch(address)] == [(200, "MISS"), (200, "HIT")]
    assert site.poppy.session.delete(url + "/assets?all=true", timeout=10).status_code == 202
    wait(lambda: site.fetch(address) == (200, "MISS"), 20)
    health = site.poppy.session.get(site.poppy.base + "/v1.0/health/dns/rfc2136", timeout=10)
    assert health.json() == {"online": "true"}
    site.poppy.session.delete(url, timeout=10)
    site.poppy.wait_for(url, "gone")
    assert site.nameserver.records() == before


def test_only_the_dns_step_waits_while_dns_is_down(site: Site) -> None:
    domain = "www.waiting.example"
    site.nameserver.stop()
    url = site.create(domain)
    wait(lambda: site.operation(url).failures >= 2, 30)
    steps = {step.name: str(step.state) for step in site.operation(url).steps}
    assert steps == {"provider:edge": "done", "dns": "waiting"}
    assert site.poppy.status(url) == "create_in_progress"
    assert site.fetch("127.0.0.1", domain) == (200, "MISS"), "what the provider has done is kept"
    site.nameserver.start()
    site.poppy.wait_for(url, "deployed")
    assert site.address(domain) == "127.0.0.1"


def test_open_operations_succeed_after_a_dns_outage(site: Site) -> None:
    session, before = site.poppy.session, site.nameserver.records()
    changed, removed = site.create("www.changed.example"), site.create("www.removed.example")
    for url in (changed, removed):
        site.poppy.wait_for(url, "deployed")
    site.nameserver.stop()
    created = site.create("www.created.example")
    patch = [
        {"op": "replace", "path": "/domains/0", "value": {"domain": "www.new.example"}},
        {"op": "replace", "path": "/name", "value": "renamed"},
    ]
    headers = {"Content-Type": "application/json-patch+json"}
    answer = session.patch(changed, json=patch, headers=headers, timeout=10)
    assert answer.status_code == 202, answer.text
    assert session.delete(removed, timeout=10).status_code == 202
    for url in (created, changed, removed):
        wait(lambda url=url: site.operation(url).failures >= 3, 30)
    assert site.poppy.status(created) == "create_in_progress"
    assert site.poppy.status(changed) == "update_in_progress"
    assert site.poppy.status(removed) == "delete_in_progress"
    assert site.fetch("127.0.0.1", "www.removed.example")[0] == 200, "its name still leads there"
    site.nameserver.start()
    for url, status in (created, "deployed"), (changed, "deployed"), (removed, "gone"):
        site.poppy.wait_for(url, status)
    served = {"www.created.example", "www.new.example"}
    made = site.nameserver.records().keys() - before.keys()
    assert made == {(f"{domain}.{SUFFIX}", "CNAME") for domain in served}
    for domain in served:
        assert site.fetch(site.address(domain), domain)[0] == 200
    for domain in ("www.changed.example", "www.removed.example"):
        assert site.fetch("127.0.0.1", domain)[0] == 404
