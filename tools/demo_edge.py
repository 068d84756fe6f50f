# SPDX-License-Identifier: Apache-2.0
"""The demo's edge: an origin, a certificate authority, and nodes. Each has a loopback address."""

import base64
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization

from poppy.testing.edge.promises import Answer, Request
from poppy.testing.edge.wire import exchange
from tests.real.nginx import Nginx
from tests.real.pebble import Pebble, Published
from tests.real.poppy import Installation
from tests.real.process import descendants
from tools.demo_story import ORIGIN, DemoError, Story, wait

DOMAIN = "www.example.com"
#: Addresses of the nodes, which use the ports 80 and 443.
NORTH, SOUTH = "127.7.7.8", "127.7.7.9"
#: The content of the site, and the tags of some of its pages.
PAGES = {
    "/": "Hello from the origin.\n",
    "/news.txt": "News from the origin.\n",
    "/members/film.txt": "A film for members.\n",
}
TAGS = {"/news.txt": "news"}


class Node:
    """A node with HAProxy, Varnish and the agent as processes; use it as a context manager.

    Args:
        directory: a new directory for the node's files.
    """

    PROGRAMS = ("varnish", "haproxy", "agent")

    def __init__(self, name: str, address: str, directory: pathlib.Path, story: Story) -> None:
        self.name, self.address = name, address
        self._story = story
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        directory.mkdir()
        self._config = directory / "poppy-edge.conf"
        self._config.write_text(
            "[edge]\n"
            f"state_directory = {directory}/state\n"
            f"run_directory = {directory}/run\n"
            f"http = {address}:80\n"
            f"https = {address}:443\n"
            f"metrics = {address}:9101\n"
            "threads = 1\n"
            "connections = 200\n"
            "cache_size = 32\n"
            # By default an origin on loopback is refused; the demo's origin is there.
            "allowed_origins = 127.0.0.0/8\n"
            # Short intervals, for a demo.
            "[agent]\n"
            "poll_interval = 0.2\n"
            "report_interval = 1\n"
            "serve_stale_after = 2\n"
        )

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_error: object) -> None:
        for name in reversed(self._processes):
            self._processes[name].terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def join(self, installation: Installation) -> None:
        """Join as an operator does: with a token of poppy-manage."""
        self._story.tell(f"control plane: poppy-manage edge nodes add {self.name}")
        added = installation.manage("edge", "nodes", "add", self.name)
        if added.returncode:
            raise DemoError(added.stderr)
        token = added.stdout.strip()
        self._story.tell(f"               token for one join: {token[:4]}...")
        self._story.tell(f"{self.name}: poppy-edge join {installation.base} {self.name}")
        url = installation.base
        # The nodes of a real edge reach the API by HTTPS.
        command = self._command("join", url, self.name, "--insecure")
        joined = subprocess.run(command, input=token, capture_output=True, text=True, timeout=60)
        if joined.returncode:
            raise DemoError(joined.stderr)

    def start(self) -> None:
        """Start the three programs, and wait until the node is ready for clients."""
        for name in self.PROGRAMS:
            self._story.tell(f"{self.name}: poppy-edge {name}")
            with (self._directory / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    self._command(name), stdout=log, stderr=log
                )
            if name == "varnish":
                # Until Varnish answers, HAProxy sends requests past it, without the cache.
                wait("Varnish answers", self._has_cache)
        seconds = wait(f"{self.name} is ready", self._ready)
        self._story.tell(f"{self.name} is ready at {self.address} after {seconds:.1f} s")

    def kill(self) -> None:
        """Kill all of it, as a power failure would."""
        for process in self._processes.values():
            # Varnish serves in a child process.
            for pid in (process.pid, *descendants(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def get(self, path: str, tls: ssl.SSLContext | None) -> Answer:
        """Get a page of :data:`DOMAIN` as a browser would after resolving the name."""
        port = 443 if tls else 80
        return exchange((self.address, port), Request(DOMAIN, path), tls)

    def _has_cache(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self._directory / "run/varnish.sock")) == 0

    def _ready(self) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise DemoError(f"{self.name}: poppy-edge {name} has ended")
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://{self.address}:9101/ready", timeout=5).ok
        return False

    def _command(self, *arguments: str) -> list[str]:
        program = pathlib.Path(sys.executable).with_name("poppy-edge")
        return [str(program), *arguments, "--config-file", str(self._config)]


class Edge:
    """What surrounds Poppy in the demo.

    Attributes:
        nodes: those that have joined.
        authority: None if there is none; services then have no certificates.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        story: Story,
        stack: contextlib.ExitStack,
        authority: Pebble | None,
        names: Published | None,
    ) -> None:
        self.nodes: list[Node] = []
        self.authority = authority
        self._names = names
        self._directory, self._story, self._stack = directory, story, stack

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of the provider ``edge``."""
        options = {"edge_name": "edge.example.net", "allowed_origins": "127.0.0.0/8"}
        if self.authority:
            options |= {
                "acme_directories": self.authority.directory_url,
                "acme_ca_file": str(self.authority.ca_file),
                "acme_terms_accepted": "true",
                "encryption_keys": base64.b64encode(os.urandom(32)).decode(),
            }
        return options

    def add(self, name: str, address: str, installation: Installation) -> Node:
        """Add a node, which joins and starts."""
        node = Node(name, address, self._directory / name, self._story)
        node.join(installation)
        self._stack.enter_context(node)
        node.start()
        self.nodes.append(node)
        return node

    def point(self, node: Node) -> None:
        """Lead the authority's requests for the domain to a node, as the tenant's CNAME would."""
        if self._names:
            self._names.set_address(DOMAIN, node.address)

    def show(self, node: Node, path: str, cache: str) -> None:
        """Print a node's answer; anything but a 200 with this X-Cache ends the demo."""
        answer = node.get(path, self._trust())
        text = answer.body.decode().strip()
        seen = answer.fields.get("x-cache", "no X-Cache")
        shown = re.sub("token=.*", "token=...", path)
        self._tell(node, shown, f"{answer.status} {text!r} {seen}")
        if answer.status != 200 or seen != cache:
            raise DemoError(f"expected 200 and {cache}")

    def show_forbidden(self, node: Node, path: str) -> None:
        """Print that a node refuses to answer; anything but a 403 ends the demo."""
        answer = node.get(path, self._trust())
        self._tell(node, path, f"{answer.status} {answer.body.decode().strip()!r}")
        if answer.status != 403:
            raise DemoError("expected 403")

    def wait_until_purged(self, node: Node, path: str) -> None:
        """Wait until the node fetches a page from the origin, and print it."""
        seen: list[str] = []

        def missed() -> bool:
            seen.append(node.get(path, self._trust()).fields.get("x-cache", ""))
            return seen[-1] == "MISS"

        wait(f"{path} is purged", missed)
        self._tell(node, path, f"200 {seen[-1]}")

    def show_redirect(self, node: Node) -> None:
        """Print that the node redirects HTTP to HTTPS."""
        answer = node.get("/", None)
        target = answer.fields.get("location", "")
        self._story.tell(f"{node.name}: GET http://{DOMAIN}/ → {answer.status} {target}")
        if (answer.status, target) != (301, f"https://{DOMAIN}/"):
            raise DemoError("expected a redirect to HTTPS")

    def show_nothing_left(self, node: Node) -> None:
        """Print that the node has neither the service nor its certificate."""
        # A node that could not reach Poppy for a while asks at longer intervals.
        wait(f"{node.name} has no such site", lambda: node.get("/", None).status == 404)
        self._story.tell(f"{node.name}: GET http://{DOMAIN}/ → 404")
        if self.authority:
            wait(f"{node.name} has no certificate", lambda: self._is_refused(node))
            self._story.tell(f"{node.name}: TLS for {DOMAIN} → refused: no certificate")

    def _is_refused(self, node: Node) -> bool:
        try:
            node.get("/", self._trust())
        except (ssl.SSLError, ConnectionError):
            return True
        return False

    def _tell(self, node: Node, path: str, text: str) -> None:
        scheme = "https" if self.authority else "http"
        self._story.tell(f"{node.name}: GET {scheme}://{DOMAIN}{path} → {text}")

    def _trust(self) -> ssl.SSLContext | None:
        """Return a browser's TLS that trusts the authority, and nothing else."""
        if self.authority is None:
            return None
        root = self.authority.root().public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=root)


@contextlib.contextmanager
def edge(directory: pathlib.Path, story: Story) -> Iterator[Edge | None]:
    """Run an origin and an authority; yield an edge without nodes, or None if there is none."""
    programs = ("haproxy", "varnishd", "gcc", "nginx")
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if os.geteuid() != 0:
        missing.append("root (to listen on the ports 80 and 443)")
    if missing:
        story.step("No real edge is available")
        story.tell(f"missing: {', '.join(missing)}. Using the mock provider instead.")
        yield None
        return
    story.step("A tenant's origin, and a certificate authority")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Nginx(ORIGIN, 80, PAGES, TAGS))
        story.tell(f"origin:    nginx at http://{origin.host}:{origin.port}")
        names = authority = None
        try:
            names = stack.enter_context(Published())
            names.http_port = 80
            authority = stack.enter_context(Pebble(names))
            story.tell(f"authority: Pebble, an ACME server, at {authority.directory_url}")
        except pytest.skip.Exception as exc:
            names = None
            story.tell(f"authority: Pebble is not available: {exc}")
            story.tell("           So there are no certificates, and all requests use HTTP.")
        yield Edge(directory, story, stack, authority, names)
