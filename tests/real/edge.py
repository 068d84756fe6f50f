# SPDX-License-Identifier: Apache-2.0
"""What the tests of the provider ``varnish`` share: a node, an origin, and helpers.

Tests import the fixtures that they use.
"""

import http.client
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from poppy.common import config
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import Origin, Restriction, Rule
from poppy.provider.varnish.admin import Admin
from poppy.provider.varnish.driver import VarnishProvider
from poppy.testing.builders import make_service, make_spec
from tests.real.origin import Origin as WebServer
from tests.real.varnish import Varnish

DOMAIN = "www.a.example.com"
KNOWN = ProviderDetail(ProviderStatus.DEPLOYED, provider_service_id="known")


class Answer(NamedTuple):
    status: int
    cache: str | None
    body: str
    headers: dict[str, str]


@pytest.fixture(scope="module")
def node() -> Iterator[Varnish]:
    with Varnish() as running:
        yield running


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _as_new(node: Varnish, web: WebServer) -> Iterator[None]:
    web.content, web.status, web.delay, web.padding = "first", 200, 0.0, 0
    web.headers.clear()
    web.requests.clear()
    web.cookies.clear()
    web.fields.clear()
    web.not_modified = 0
    yield
    leave_nothing(node)


@pytest.fixture
def provider(node: Varnish) -> VarnishProvider:
    return make_provider([node])


@pytest.fixture
def serve(provider: VarnishProvider, web: WebServer) -> Callable[..., Service]:
    """Return a function that deploys a service of :data:`DOMAIN` with ``web`` as its origin."""

    def make(**spec: Any) -> Service:
        spec = {"domains": [DOMAIN], "origins": (Origin(web.address),), **spec}
        service = make_service(spec=make_spec(**spec))
        provider.ensure(service, None)
        return service

    return make


@pytest.fixture
def get(node: Varnish) -> Callable[..., Answer]:
    return lambda *args, **kwargs: ask(node, *args, **kwargs)


def leave_nothing(node: Varnish) -> None:
    """Discard everything on the node. This is faster than the driver, which compiles."""
    names = loaded(node)
    if "poppy_gone" not in names:
        return
    order = ("poppy_router_", "poppy_")
    with admin(node) as connection:
        connection.command("vcl.use", "poppy_gone")
        for prefix in order:
            # A label is shorter than its target, and has to be discarded first.
            for name in sorted(names, key=len):
                if name.startswith(prefix) and name != "poppy_gone":
                    names.remove(name)
                    connection.command("vcl.discard", name)


def make_provider(
    nodes: list[Varnish], kind: type[VarnishProvider] = VarnishProvider, **options: object
) -> VarnishProvider:
    conf = config.new()
    conf([])
    conf.register_opts(VarnishProvider.OPTS, group="drivers:provider:varnish")
    options = {
        "nodes": [node.management for node in nodes],
        "secret_file": str(nodes[0].secret_file),
        "edge_name": "edge.test",
        "allowed_origins": ["127.0.0.0/8"],
        **options,
    }
    for name, value in options.items():
        conf.set_override(name, value, group="drivers:provider:varnish")
    return kind(conf, "varnish")


def ask(
    node: Varnish, path: str = "/", host: str = DOMAIN, method: str = "GET", **headers: str
) -> Answer:
    connection = http.client.HTTPConnection(*node.http, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read().decode()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found.get("x-cache"), body, found)
    finally:
        connection.close()


def admin(node: Varnish) -> Admin:
    return Admin(node.management, node.secret_file.read_bytes(), 20)


def loaded(node: Varnish) -> list[str]:
    """Return all VCLs and labels, without discarded ones that are still in use."""
    with admin(node) as connection:
        entries = connection.json("vcl.list")
    return [entry["name"] for entry in entries if entry["status"] != "discarded"]


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def restricted(access: str, *rules: Rule) -> tuple[Restriction, ...]:
    return (Restriction("restricted", access, rules),)
