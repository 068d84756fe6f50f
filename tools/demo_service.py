# SPDX-License-Identifier: Apache-2.0
"""The demo: one service from POST to DELETE, step by step, at an edge of two nodes.

It starts Poppy with its embedded defaults (SQLite, no other server). On loopback, it also starts
an nginx as the tenant's origin, Pebble as the certificate authority, and two nodes of the
operator's own edge. If a program is not available, it says so and shows what is possible without.

With ``--production``, Poppy is a server and two workers in separate processes, on a real
Cassandra and a real ZooKeeper. (``tools/demo --regions`` is :mod:`tools.demo_regions`.)
"""

import argparse
import base64
import contextlib
import os
import pathlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import requests
from poppyclient import signing

from tests.real.cassandra import Cassandra
from tests.real.poppy import Installation, Options
from tests.real.zookeeper import ZooKeeper
from tools.demo_edge import DOMAIN, NORTH, SOUTH, Edge, Node, edge
from tools.demo_story import ORIGIN, PATIENCE, DemoError, Story

_FILM = "/members/film.txt"


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

    def wait(
        self,
        url: str,
        wanted: str,
        status_of: Callable[[dict[str, Any]], str] = lambda document: document["status"],
    ) -> dict[str, Any]:
        """Poll a service until it has the wanted status; "gone" means that it is deleted."""
        begun = time.monotonic()
        seen = ""
        while time.monotonic() - begun < PATIENCE:
            answer = self._session.get(url, timeout=10)
            document: dict[str, Any] = answer.json()
            status = "gone" if answer.status_code == 404 else status_of(document)
            if status != seen:
                self._story.tell(f"status: {status} ({time.monotonic() - begun:.1f} s)")
                seen = status
            if status == wanted:
                return document
            if status == "failed":
                raise DemoError(f"the service failed: {document['errors']}")
            time.sleep(0.1)
        raise DemoError(f"the service is still {seen} after a minute")


class Daemons:
    """Poppy's own processes."""

    def __init__(self, installation: Installation, programs: Sequence[str], story: Story) -> None:
        self.installation = installation
        self._programs, self._story = programs, story
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        """Start them, and wait until the API answers."""
        begun = time.monotonic()
        for program in self._programs:
            self._stack.enter_context(self.installation.daemon(program))
        self.installation.wait_until_up()
        self._story.tell(
            f"{self.installation.base} answers after {time.monotonic() - begun:.1f} s"
        )

    def stop(self) -> None:
        """Stop them."""
        self._stack.close()


@contextlib.contextmanager
def embedded(story: Story, directory: pathlib.Path, options: Options) -> Iterator[Daemons]:
    """Run poppy-standalone."""
    story.step("Poppy itself: API and worker in one, on an embedded database")
    with running(Daemons(Installation(directory, options), ["poppy-standalone"], story)) as poppy:
        yield poppy


@contextlib.contextmanager
def production(story: Story, directory: pathlib.Path, options: Options) -> Iterator[Daemons]:
    """Run poppy-server and two poppy-workers on Cassandra and ZooKeeper."""
    story.step("The backends: Cassandra stores services, ZooKeeper delivers jobs")
    with Cassandra() as store, ZooKeeper() as board:
        story.tell(f"Cassandra at {store.host}:{store.port}, ZooKeeper at {board.hosts}")
        host, _, port = board.hosts.partition(":")
        work = options["drivers:distributed_task:taskflow"]
        installation = Installation(
            directory,
            {
                **options,
                "drivers": {**options["drivers"], "storage": "cassandra"},
                "drivers:storage:cassandra": {"cluster": store.host, "port": store.port},
                "drivers:distributed_task:taskflow": {
                    **work,
                    "jobboard_backend_type": "zookeeper",
                    "jobboard_backend_host": host,
                    "jobboard_backend_port": port,
                },
            },
        )
        story.step("Poppy itself: one server and two workers")
        if installation.manage("db", "sync").returncode != 0:
            raise DemoError("poppy-manage db sync failed")
        programs = ["poppy-server", "poppy-worker", "poppy-worker"]
        with running(Daemons(installation, programs, story)) as poppy:
            yield poppy


@contextlib.contextmanager
def running(poppy: Daemons) -> Iterator[Daemons]:
    """Start Poppy, and stop it at the end."""
    with poppy.installation.session:
        try:
            poppy.start()
            yield poppy
        finally:
            poppy.stop()


def certificate_status(document: dict[str, Any]) -> str:
    """Return the state of the domain's certificate once the service is deployed."""
    if document["status"] == "failed":
        return "failed"
    status = document["domains"][0].get("certificate_status", "none")
    return f"{document['status']}, certificate {status}"


def tell_names(story: Story, document: dict[str, Any]) -> None:
    """Print the CNAMEs that the tenant needs."""
    for link in document["links"]:
        if link["rel"] == "access_url":
            story.tell(f"the tenant now creates the CNAME {DOMAIN} → {link['href']}")


def redirect(story: Story, api: Api, location: str, own: Edge, north: Node) -> None:
    """Show the redirect to HTTPS, if there are certificates."""
    if own.authority is None:
        return
    story.step("The tenant redirects HTTP to HTTPS")
    value = {"https_redirect": True}
    api.call("PATCH", location, 202, [{"op": "add", "path": "/delivery", "value": value}])
    api.wait(location, "deployed")
    own.show_redirect(north)


def sign_urls(story: Story, api: Api, location: str, own: Edge, north: Node) -> None:
    """Show a page that only signed URLs open."""
    story.step("The tenant protects a page: only signed URLs open it")
    secret = secrets.token_urlsafe(32)
    value = {
        "keys": [{"id": "k1", "secret": secret}],
        "rules": [{"name": "members", "request_url": "/members/*"}],
    }
    api.call("PATCH", location, 202, [{"op": "add", "path": "/signed_urls", "value": value}])
    document = api.wait(location, "deployed")
    story.tell(f"the API shows of the key: {document['signed_urls']['keys'][0]['secret']}")
    own.show_forbidden(north, _FILM)
    signed = signing.sign(_FILM, "k1", secret, int(time.time()) + 3600)
    own.show(north, signed, "MISS")
    own.show(north, signed, "HIT")


def lose_a_node(story: Story, poppy: Daemons, own: Edge, north: Node) -> None:
    """Show that an edge of two nodes serves while a node, and Poppy itself, are away."""
    story.step("A second node joins, and gets everything that the first one has")
    south = own.add("south-1", SOUTH, poppy.installation)
    own.show(south, "/", "MISS")
    own.show(south, "/", "HIT")

    story.step("Poppy is stopped, and the first node loses its power")
    poppy.stop()
    story.tell("stopped: Poppy")
    north.kill()
    story.tell("killed: HAProxy, Varnish and agent of north-1")
    own.show(south, "/", "HIT")

    story.step("The first node starts again, and serves from its own files without Poppy")
    north.start()
    own.show(north, "/", "MISS")
    own.show(north, "/", "HIT")

    story.step("Poppy is back")
    poppy.start()


def tour(story: Story, poppy: Daemons, own: Edge | None) -> None:
    """Show the life of a service."""
    api = Api(poppy.installation, story)
    domain = {"domain": DOMAIN}
    if own:
        story.step("The operator adds a node to the edge, which pulls what it serves")
        north = own.add("north-1", NORTH, poppy.installation)
        own.point(north)
        if own.authority:
            domain |= {"protocol": "https", "certificate": "sni"}

    story.step("The operator defines a flavor: a choice of providers")
    links = [{"href": "https://www.example.net", "rel": "provider_url"}]
    entry = {"provider": "edge" if own else "mock", "links": links}
    api.call("POST", "/v1.0/flavors", 201, {"id": "standard", "providers": [entry]})

    story.step("A tenant describes a service once; Poppy provisions it")
    service = {
        "name": "my web site",
        "flavor_id": "standard",
        "domains": [domain],
        "origins": [{"origin": ORIGIN}],
        "caching": [{"name": "default", "ttl": 3600}],
    }
    location = api.call("POST", "/v1.0/services", 202, service).headers["Location"]
    tell_names(story, api.wait(location, "deployed"))
    if own and own.authority:
        story.step("Poppy orders the certificate; the nodes answer the authority's challenge")
        api.wait(location, "deployed, certificate deployed", certificate_status)
    if own:
        story.step("The edge serves it: first from the origin, then from its cache")
        own.show(north, "/", "MISS")
        own.show(north, "/", "HIT")

    story.step("The tenant changes the TTL: 3600 → 60 seconds")
    patch: list[Any] = [{"op": "replace", "path": "/caching/0/ttl", "value": 60}]
    api.call("PATCH", location, 202, patch)
    document = api.wait(location, "deployed")
    story.tell(f"the TTL is now {document['caching'][0]['ttl']} s")

    if own:
        redirect(story, api, location, own, north)
        sign_urls(story, api, location, own, north)
    story.step("The tenant purges the pages with a tag; the others stay in the cache")
    for cache in ("MISS", "HIT") if own else ():
        own.show(north, "/news.txt", cache)
    api.call("DELETE", location + "/assets?tag=news", 202)
    if own:
        own.wait_until_purged(north, "/news.txt")
        own.show(north, "/", "HIT")
        lose_a_node(story, poppy, own, north)

    story.step("The tenant deletes the service")
    api.call("DELETE", location, 202)
    api.wait(location, "gone")
    if own:
        for node in own.nodes:
            own.show_nothing_left(node)


def main() -> int:
    """Run the demo and return its exit status."""
    # Exit on SIGTERM through SystemExit, so that all servers are stopped.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
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
    begun = time.monotonic()
    print("Poppy: describe a CDN service once, run it at any provider.")
    with tempfile.TemporaryDirectory(prefix="poppy-demo-") as name:
        directory = pathlib.Path(name)
        try:
            with edge(directory, story) as own:
                groups: dict[str, dict[str, Any]] = {
                    "drivers": {"providers": "edge" if own else "mock"},
                    # Renewals and orders of certificates are looked for at this interval.
                    "drivers:distributed_task:taskflow": {"health_interval": 0.5},
                }
                if own:
                    groups["drivers:provider:edge"] = own.options
                    key = base64.b64encode(os.urandom(32)).decode()
                    groups["document_secrets"] = {"encryption_keys": key}
                with start(story, directory, groups) as poppy:
                    tour(story, poppy, own)
        except pytest.skip.Exception as exc:
            print(f"\nThe demo can't run here: {exc}", file=sys.stderr)
            return 1
        except (DemoError, AssertionError, OSError) as exc:
            print(f"\nThe demo failed: {exc}", file=sys.stderr)
            for log in sorted(directory.glob("**/*.log")):
                print(f"{log}:\n{log.read_text()[-4000:]}", file=sys.stderr)
            return 1
    print(
        f"\nDone in {time.monotonic() - begun:.0f} s: created, served, changed, purged, deleted."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
