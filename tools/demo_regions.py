# SPDX-License-Identifier: Apache-2.0
"""The demo of two regions behind one name, one of which is lost.

On one machine, each region has a Cassandra data centre, a ZooKeeper, a poppy-server and a
poppy-worker at its own loopback address. PowerDNS answers the API's name by the client's subnet
(EDNS Client Subnet, RFC 7871) with the nearest region that passes its health check. It also
serves the names that Poppy creates. The edge is in neither region, so the provider is ``mock``.
"""

import contextlib
import pathlib
import signal
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import requests

from tests.real.cassandra import CassandraPair
from tests.real.nameserver import SHARED_SUFFIX, SUFFIX
from tests.real.poppy import PROJECT, free_port
from tests.real.powerdns import PowerDNS
from tools.demo_region import CLIENTS, NAME, SUBNET, Directory, Region
from tools.demo_story import ORIGIN, DemoError, Story, wait


class Client:
    """A tenant's client that knows only the API's name and resolves it for each request."""

    def __init__(self, address: str, directory: Directory, story: Story) -> None:
        self._address = address
        self._directory = directory
        self._story = story
        self._session = requests.Session()

    def call(self, method: str, path: str, body: Any = None) -> tuple[requests.Response, str]:
        """Send a request; return the response and the region that sent it."""
        path = path_of(path)
        target = self._directory.ask(self._address)
        port = self._directory.port
        headers = {"Host": f"{NAME}:{port}", "X-Project-ID": PROJECT}
        answer = self._session.request(
            method, f"http://{target}:{port}{path}", json=body, headers=headers, timeout=40
        )
        return answer, self._directory.names[target]

    def must(self, method: str, path: str, expected: int, body: Any = None) -> requests.Response:
        """Send a request and print it; any status but the expected one ends the demo."""
        answer, region = self.call(method, path, body)
        told = f"{method} {path_of(path)} → {region}: {answer.status_code}"
        self._story.tell(f"{self._address}: {told}")
        if answer.status_code != expected:
            raise DemoError(f"expected {expected}: {answer.text}")
        return answer

    def wait(self, path: str, wanted: str, seconds: float = 60.0) -> None:
        """Poll a service until it has the wanted status."""
        begun = time.monotonic()
        status = region = ""

        def reached() -> bool:
            nonlocal status, region
            answer, region = self.call("GET", path)
            status = answer.json()["status"] if answer.status_code == 200 else "unknown"
            if status == "failed":
                raise DemoError(f"the service failed: {answer.text}")
            return status == wanted

        wait(f"the service is {wanted}", reached, seconds)
        elapsed = time.monotonic() - begun
        self._story.tell(f"{self._address}: status in {region}: {status} ({elapsed:.1f} s)")


def path_of(url: str) -> str:
    """Return a URL without its host, which the client resolves for each request."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(scheme="", netloc="").geturl()


def service(domain: str) -> Mapping[str, Any]:
    """Return the document of a service."""
    return {
        "name": domain,
        "flavor_id": "standard",
        "domains": [{"domain": domain}],
        "origins": [{"origin": ORIGIN}],
        "caching": [{"name": "default", "ttl": 3600}],
    }


@contextlib.contextmanager
def running(
    story: Story, directory: pathlib.Path, options: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Sequence[Region], Directory]]:
    """Run two regions and the name server."""
    story.step("Two regions, each with a Cassandra data centre and a ZooKeeper")
    port = free_port()
    with (
        PowerDNS("lua-health-checks-interval=1\n") as server,
        CassandraPair() as pair,
        contextlib.ExitStack() as stack,
    ):
        names = {
            "urls": server.url,
            "api_key": server.secret,
            "suffix": SUFFIX,
            "shared_ssl_domain_suffix": SHARED_SUFFIX,
        }
        groups = {
            **options,
            "drivers": {**options["drivers"], "dns": "powerdns"},
            "drivers:dns:powerdns": names,
        }
        regions = []
        for name, node in pair.nodes.items():
            region = Region(name, node, directory / name, groups, port)
            stack.callback(region.close)
            region.start_board()
            regions.append(region)
            story.tell(
                f"{name}: Cassandra at {node.host}, the API will be at {region.host}:{port}"
            )
        story.step("Poppy in both regions: a server and a worker each, behind PowerDNS")
        story.tell(regions[0].manage("db", "sync").strip())
        for region in regions:
            region.start()
        for region in regions:
            region.installation.wait_until_up()
        story.tell(f"both answer; PowerDNS serves {NAME}")
        yield regions, Directory(server, {it.name: it.host for it in regions}, port)


def tour(
    story: Story,
    regions: Sequence[Region],
    directory: Directory,
) -> None:
    """Show what tenants and operators see before, during and after the loss of a region."""
    lost, left = regions
    here, there = (Client(CLIENTS[region.name], directory, story) for region in regions)

    story.step(f"One name, {NAME}: each client gets the nearest region")
    for region in regions:
        client = CLIENTS[region.name]
        wait(
            f"DNS points {client} to {region.name}",
            lambda client=client, region=region: directory.leads(client, region.host),
            30,
        )
        if directory.scope(client) != SUBNET:
            raise DemoError("resolvers would cache this answer for all clients")
        story.tell(f"client subnet {client}/{SUBNET}: A {region.host} ({region.name})")

    story.step("A request to one region is visible in the other")
    links = [{"href": "https://www.example.net", "rel": "provider_url"}]
    flavor = {"id": "standard", "providers": [{"provider": "mock", "links": links}]}
    here.must("POST", "/v1.0/flavors", 201, flavor)
    first = here.must("POST", "/v1.0/services", 202, service("www.example.com")).headers[
        "Location"
    ]
    there.wait(first, "deployed")
    taken = there.must("POST", "/v1.0/services", 400, service("www.example.com"))
    story.tell(f"a domain is unique over all regions: {taken.json()['message']}")

    story.step(
        f"Region {lost.name} fails: first its worker, then, after another request, all of it"
    )
    lost.lose_worker()
    second = here.must("POST", "/v1.0/services", 202, service("shop.example.com"))
    location = second.headers["Location"]
    wait("the other region has the service", lambda: there.call("GET", location)[0].ok, 10)
    story.tell(f"{left.name} has the service too")
    begun = time.monotonic()
    lost.lose()
    story.tell("killed: Cassandra, ZooKeeper, poppy-server, poppy-worker")

    story.step("DNS points all clients to the remaining region")
    client = CLIENTS[lost.name]
    wait("DNS points elsewhere", lambda: directory.leads(client, left.host), 30)
    story.tell(f"client subnet {client}/{SUBNET}: A {left.host} ({left.name})")
    story.tell(f"{time.monotonic() - begun:.1f} s after the kill")
    here.must("GET", first, 200)

    story.step("The remaining region completes what the lost region had accepted")
    here.wait(location, "deployed", 90)

    story.step("Requests without a new domain keep working")
    patch = [{"op": "replace", "path": "/caching/0/ttl", "value": 60}]
    here.must("PATCH", first, 202, patch)
    here.wait(first, "deployed")
    here.must("DELETE", first + "/assets?all=true", 202)

    story.step("A new domain is refused: one of two regions has no majority of the replicas")
    here.must("POST", "/v1.0/services", 503, service("new.example.com"))

    story.step(f"The operator confirms the loss of {lost.name} and drops it")
    story.tell(f"poppy-manage regions drop {lost.name}")
    story.tell(left.manage("regions", "drop", lost.name).strip())
    third = here.must("POST", "/v1.0/services", 202, service("new.example.com"))
    here.wait(third.headers["Location"], "deployed")


def main() -> int:
    """Run the demo and return its exit status."""
    # Exit on SIGTERM through SystemExit, so that all servers are stopped.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    story = Story()
    print("Poppy: two regions, one name, and the loss of one region.")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="poppy-demo-") as name:
        directory = pathlib.Path(name)
        try:
            groups = {
                "drivers": {"providers": "mock"},
                "drivers:provider:mock": {"directory": directory / "objects"},
            }
            with running(story, directory, groups) as (regions, answers):
                tour(story, regions, answers)
        except pytest.skip.Exception as exc:
            print(f"\nThe demo can't run here: {exc}", file=sys.stderr)
            return 1
        except (DemoError, AssertionError, requests.RequestException) as exc:
            print(f"\nThe demo failed: {exc}", file=sys.stderr)
            for log in sorted(directory.glob("*/poppy.log")):
                print(f"{log}:\n{log.read_text()[-4000:]}", file=sys.stderr)
            return 1
    print(f"\nDone in {time.monotonic() - begun:.0f} s: one name, and no accepted request lost.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
