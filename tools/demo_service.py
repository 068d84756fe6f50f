# SPDX-License-Identifier: Apache-2.0
"""The demo: one service from POST to DELETE, told step by step.

It starts a Poppy on the embedded default (SQLite, no other server), an nginx as the tenant's
origin and a Varnish as the operator's edge, all on loopback. Where nginx or Varnish can't be
had, it says so and shows the same on the mock provider, whose edge nobody can fetch from.

With ``--production``, Poppy is a server and two workers, processes of their own, on a real
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
#: Loopback address of the origin; Poppy's origins speak on port 80 or 443.
ORIGIN = "127.7.7.7"


class DemoError(Exception):
    """A step did not end as it should."""


class Story:
    """Prints numbered steps and what came of them."""

    def __init__(self) -> None:
        self._step = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._step += 1
        print(f"\n{self._step}. {title}", flush=True)

    def tell(self, text: str) -> None:
        """Say something about the step under way."""
        print(f"   {text}", flush=True)


class Api:
    """The tenant's side: an HTTP client that shows what it sends."""

    def __init__(self, installation: Installation, story: Story) -> None:
        self._base = installation.base
        self._session = installation.session
        self._story = story

    def call(self, method: str, path: str, expected: int, body: Any = None) -> requests.Response:
        """Send a request; anything but the expected status ends the demo."""
        url = path if path.startswith("http") else self._base + path
        answer = self._session.request(method, url, json=body, timeout=10)
        self._story.tell(f"{method} {url.removeprefix(self._base)} → {answer.status_code}")
        if answer.status_code != expected:
            raise DemoError(f"expected {expected}: {answer.text}")
        return answer

    def wait(self, url: str, wanted: str) -> dict[str, Any]:
        """Watch a service until it has the status; "gone" means that it is no more."""
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
    """A running origin and Varnish: (URL of the edge, driver options), or None."""
    missing = [name for name in ("varnishd", "nginx") if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root (to serve an origin on port 80)")
    if missing:
        story.step("No real edge here")
        story.tell(f"missing: {', '.join(missing)}. Going on with the mock provider.")
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
            # By default no tenant may have the edge call loopback; here the origin is there.
            "allowed_origins": "127.0.0.0/8",
        }
        yield f"http://{host}:{port}", options


@contextlib.contextmanager
def embedded(story: Story, directory: pathlib.Path, options: Options) -> Iterator[Installation]:
    """A running poppy-standalone."""
    story.step("Poppy itself: API and worker in one, on an embedded database")
    installation = Installation(directory, options)
    begun = time.monotonic()
    with installation.session, installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        story.tell(f"{installation.base} answers after {time.monotonic() - begun:.1f} s")
        yield installation


@contextlib.contextmanager
def production(story: Story, directory: pathlib.Path, options: Options) -> Iterator[Installation]:
    """A running poppy-server and two poppy-workers, on Cassandra and ZooKeeper."""
    story.step("The backbone: Cassandra keeps services, ZooKeeper delivers jobs")
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
    """Get the page through the edge, as a browser would that resolved the name."""
    return requests.get(url + "/", headers={"Host": DOMAIN}, timeout=10)


def show(story: Story, answer: requests.Response, expected: str) -> None:
    """Tell what the edge answered; anything but a page, from where expected, ends the demo."""
    cache = answer.headers.get("X-Cache", "?")
    story.tell(f"GET http://{DOMAIN}/ → {answer.status_code} {answer.text.strip()!r} {cache}")
    if answer.status_code != 200 or cache != expected:
        raise DemoError(f"expected 200 and {expected}")


def fetch_when_purged(url: str) -> requests.Response:
    """The first answer that is not from the cache any more, or the last within a minute."""
    deadline = time.monotonic() + 60
    answer = fetch(url)
    while answer.headers.get("X-Cache") == "HIT" and time.monotonic() < deadline:
        time.sleep(0.05)
        answer = fetch(url)
    return answer


def tell_names(story: Story, document: dict[str, Any]) -> None:
    """Show what the tenant puts into their DNS."""
    for link in document["links"]:
        if link["rel"] == "access_url":
            story.tell(f"the tenant now makes {DOMAIN} a CNAME to {link['href']}")


def tour(story: Story, api: Api, provider: str, edge_url: str | None) -> None:
    """Everything a tenant does with a service."""

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

    story.step("The tenant changes how long content is kept: 3600 → 60 seconds")
    patch = [{"op": "replace", "path": "/caching/0/ttl", "value": 60}]
    api.call("PATCH", location, 202, patch)
    document = api.wait(location, "deployed")
    story.tell(f"caching is now {document['caching'][0]['ttl']} s")

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
            raise DemoError("the edge still serves it")


def main() -> int:
    """Run the demo; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        description="One service, told.",
        epilog="tools/demo --regions is another one: two regions, of which one is lost.",
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
