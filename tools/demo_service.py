# SPDX-License-Identifier: Apache-2.0
"""The demo: one service from POST to DELETE, step by step.

It starts Poppy with its embedded defaults (SQLite, no other server), an nginx as the tenant's
origin and a Varnish as the operator's edge, all on loopback. If nginx or Varnish is not
available, it says so and uses the mock provider, which has no edge to fetch from.

With ``--production``, Poppy is a server and two workers in separate processes, on a real
Cassandra and a real ZooKeeper. (``tools/demo --regions`` is :mod:`tools.demo_regions`.)
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import requests

from tests.real.cassandra import Cassandra
from tests.real.nginx import Nginx
from tests.real.poppy import Installation, Options
from tests.real.varnish import Varnish
from tests.real.zookeeper import ZooKeeper

DOMAIN = "www.example.com"
#: Loopback address of the origin; Poppy's origins use port 80 or 443.
ORIGIN = "127.7.7.7"


class DemoError(Exception):
    """A step failed."""


class Story:
    """Print numbered steps and their results."""

    def __init__(self) -> None:
        self._step = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        print(f"\n{self._step}. {title}", flush=True)

    def tell(self, text: str) -> None:
        """Print a result of the current step."""
        print(f"   {text}", flush=True)


class Api:
    """The tenant's HTTP client, which prints its requests."""

    def __init__(self, installation: Installation, story: Story) -> None:
        self._base = installation.base
        self._session = installation.session
        self._story = story

    def call(self, method: str, path: str, expected: int, body: Any = None) -> requests.Response:
        """Send a request; any status but the expected one ends the demo."""
        url = path if path.startswith("http") else self._base + path
        answer = self._session.request(method, url, json=body, timeout=10)
        self._story.tell(f"{method} {url.removeprefix(self._base)} → {answer.status_code}")
        if answer.status_code != expected:
            raise DemoError(f"expected {expected}: {answer.text}")
        return answer

    def wait(self, url: str, wanted: str) -> dict[str, Any]:
        """Poll a service until it has the wanted status; "gone" means that it is deleted."""
        begun = time.monotonic()
        seen = ""
        while time.monotonic() - begun < 60:
            answer = self._session.get(url, timeout=10)
            document = answer.json()
            status = "gone" if answer.status_code == 404 else document["status"]
            if status != seen:
                self._story.tell(f"status: {status} ({time.monotonic() - begun:.1f} s)")
                seen = status
            if status == wanted:
                return dict(document)
            if status == "failed":
                raise DemoError(f"the service failed: {document['errors']}")
            time.sleep(0.1)
        raise DemoError(f"the service is still {seen} after a minute")


@contextlib.contextmanager
def edge(story: Story) -> Iterator[tuple[str, dict[str, str]] | None]:
    """Run an origin and Varnish; yield (URL of the edge, driver options), or None without."""
    missing = [name for name in ("varnishd", "nginx") if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root (to serve an origin on port 80)")
    if missing:
        story.step("No real edge available")
        story.tell(f"missing: {', '.join(missing)}. Using the mock provider instead.")
        yield None
        return
    story.step("A tenant's origin and an operator's edge")
    page = {"/": "Hello from the origin.\n"}
    with Nginx(ORIGIN, 80, page) as origin, Varnish() as node:
        story.tell(f"origin: nginx at http://{origin.host}:{origin.port}")
        host, port = node.http
        story.tell(f"edge:   varnishd at http://{host}:{port}, managed at {node.management}")
        options = {
            "nodes": node.management,
            "secret_file": str(node.secret_file),
            "edge_name": "edge.example.net",
            # By default an origin on loopback is refused; the demo's origin is there.
            "allowed_origins": "127.0.0.0/8",
        }
        yield f"http://{host}:{port}", options


@contextlib.contextmanager
def embedded(story: Story, directory: pathlib.Path, options: Options) -> Iterator[Installation]:
    """Run poppy-standalone."""
    story.step("Poppy itself: API and worker in one, on an embedded database")
    installation = Installation(directory, options)
    begun = time.monotonic()
    with installation.session, installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        story.tell(f"{installation.base} answers after {time.monotonic() - begun:.1f} s")
        yield installation


@contextlib.contextmanager
def production(story: Story, directory: pathlib.Path, options: Options) -> Iterator[Installation]:
    """Run poppy-server and two poppy-workers on Cassandra and ZooKeeper."""
    story.step("The backends: Cassandra stores services, ZooKeeper delivers jobs")
    with Cassandra() as store, ZooKeeper() as board:
        story.tell(f"Cassandra at {store.host}:{store.port}, ZooKeeper at {board.hosts}")
        host, _, port = board.hosts.partition(":")
        installation = Installation(
            directory,
            {
                **options,
                "drivers": {**options["drivers"], "storage": "cassandra"},
                "drivers:storage:cassandra": {"cluster": store.host, "port": store.port},
                "drivers:distributed_task:taskflow": {
                    "jobboard_backend_type": "zookeeper",
                    "jobboard_backend_host": host,
                    "jobboard_backend_port": port,
                },
            },
        )
        story.step("Poppy itself: one server and two workers")
        if installation.manage("db", "sync").returncode != 0:
            raise DemoError("poppy-manage db sync failed")
        with (
            installation.session,
            installation.daemon("poppy-server"),
            installation.daemon("poppy-worker"),
            installation.daemon("poppy-worker"),
        ):
            installation.wait_until_up()
            story.tell(f"{installation.base} answers")
            yield installation


def fetch(url: str) -> requests.Response:
    """Get the page through the edge, as a browser would after resolving the name."""
    return requests.get(url + "/", headers={"Host": DOMAIN}, timeout=10)


def show(story: Story, answer: requests.Response, expected: str) -> None:
    """Print the edge's response; anything but a 200 with the expected X-Cache ends the demo."""
    cache = answer.headers.get("X-Cache", "?")
    story.tell(f"GET http://{DOMAIN}/ → {answer.status_code} {answer.text.strip()!r} {cache}")
    if answer.status_code != 200 or cache != expected:
        raise DemoError(f"expected 200 and {expected}")


def fetch_when_purged(url: str) -> requests.Response:
    """Return the first response that is not from the cache, or the last one in a minute."""
    deadline = time.monotonic() + 60
    answer = fetch(url)
    while answer.headers.get("X-Cache") == "HIT" and time.monotonic() < deadline:
        time.sleep(0.05)
        answer = fetch(url)
    return answer


def tell_names(story: Story, document: dict[str, Any]) -> None:
    """Print the CNAMEs that the tenant needs."""
    for link in document["links"]:
        if link["rel"] == "access_url":
            story.tell(f"the tenant now creates the CNAME {DOMAIN} → {link['href']}")


def tour(story: Story, api: Api, provider: str, edge_url: str | None) -> None:
    """Show the life of a service."""

    story.step("The operator defines a flavor: a choice of providers")
    links = [{"href": "https://varnish-cache.org", "rel": "provider_url"}]
    flavor = {"id": "standard", "providers": [{"provider": provider, "links": links}]}
    api.call("POST", "/v1.0/flavors", 201, flavor)

    story.step("A tenant describes a service once; Poppy provisions it")
    service = {
        "name": "my web site",
        "flavor_id": "standard",
        "domains": [{"domain": DOMAIN}],
        "origins": [{"origin": ORIGIN}],
        "caching": [{"name": "default", "ttl": 3600}],
    }
    location = api.call("POST", "/v1.0/services", 202, service).headers["Location"]
    tell_names(story, api.wait(location, "deployed"))
    if edge_url:
        story.step("The edge serves it: first from the origin, then from its cache")
        show(story, fetch(edge_url), "MISS")
        show(story, fetch(edge_url), "HIT")

    story.step("The tenant changes the TTL: 3600 → 60 seconds")
    patch = [{"op": "replace", "path": "/caching/0/ttl", "value": 60}]
    api.call("PATCH", location, 202, patch)
    document = api.wait(location, "deployed")
    story.tell(f"the TTL is now {document['caching'][0]['ttl']} s")

    story.step("The tenant purges everything")
    api.call("DELETE", location + "/assets?all=true", 202)
    if edge_url:
        show(story, fetch_when_purged(edge_url), "MISS")
        show(story, fetch(edge_url), "HIT")

    story.step("The tenant deletes the service")
    api.call("DELETE", location, 202)
    api.wait(location, "gone")
    if edge_url:
        answer = fetch(edge_url)
        story.tell(f"GET http://{DOMAIN}/ → {answer.status_code}")
        if answer.status_code != 404:
            raise DemoError("the edge still serves the page")


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        description="Show the life of one service.",
        epilog="tools/demo --regions is another demo: two regions, one of which is lost.",
    )
    parser.add_argument(
        "--production", action="store_true", help="on Cassandra and ZooKeeper, with two workers"
    )
    start = production if parser.parse_args().production else embedded
    story = Story()
    print("Poppy: describe a CDN service once, run it at any provider.")
    with tempfile.TemporaryDirectory(prefix="poppy-demo-") as name:
        directory = pathlib.Path(name)
        try:
            with edge(story) as real:
                edge_url, options = real or (None, {})
                provider = "varnish" if real else "mock"
                groups = {
                    "drivers": {"providers": provider},
                    f"drivers:provider:{provider}": options,
                }
                with start(story, directory, groups) as installation:
                    tour(story, Api(installation, story), provider, edge_url)
        except DemoError as exc:
            print(f"\nThe demo failed: {exc}", file=sys.stderr)
            log = directory / "poppy.log"
            if log.exists():
                print(log.read_text()[-4000:], file=sys.stderr)
            return 1
    print("\nDone: created, served, changed, purged and deleted, each by one API call.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
