# SPDX-License-Identifier: Apache-2.0
"""What tests of services at a real node share: the node, an origin, and helpers.

Tests import the fixtures that they use.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poppy.model.operations import Purge
from poppy.model.services import Service
from poppy.model.specs import Origin, Restriction, Rule
from poppy.provider.edge.compiler import compile_program
from poppy.testing.builders import make_service, make_spec
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin as WebServer
from tests.real.visits import DOMAIN, Answer, ask


class Edge:
    """Services at a node: compiled as by the driver, applied as by the agent."""

    def __init__(self, node: EdgeNode) -> None:
        self.node = node

    def ensure(self, service: Service) -> None:
        """Serve a service."""
        self.node.serve(compile_program(service.service_id, service.spec))

    def purge(self, service: Service, purge: Purge) -> None:
        """Purge content of a service."""
        self.node.plane.purge(service.service_id, purge)


@pytest.fixture(scope="module")
def running() -> Iterator[EdgeNode]:
    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
        yield node


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


@pytest.fixture
def node(running: EdgeNode, web: WebServer) -> Iterator[EdgeNode]:
    """A node without services and objects, and the origin as it was at first."""
    web.content, web.status, web.delay, web.padding = "first", 200, 0.0, 0
    web.headers.clear()
    web.requests.clear()
    web.cookies.clear()
    web.fields.clear()
    web.not_modified = 0
    running.plane.load([])
    running.plane.flush()
    yield running
    for stored in list(running.state.programs()):
        running.state.delete(stored.program.service_id)


@pytest.fixture
def edge(node: EdgeNode) -> Edge:
    return Edge(node)


@pytest.fixture
def serve(edge: Edge, web: WebServer) -> Callable[..., Service]:
    """Return a function that deploys a service of :data:`DOMAIN` with ``web`` as its origin."""

    def make(**spec: Any) -> Service:
        spec = {"domains": [DOMAIN], "origins": (Origin(web.address),), **spec}
        service = make_service(spec=make_spec(**spec))
        edge.ensure(service)
        return service

    return make


@pytest.fixture
def get(node: EdgeNode) -> Callable[..., Answer]:
    return lambda *args, **kwargs: ask(node, *args, **kwargs)


def restricted(access: str, *rules: Rule) -> tuple[Restriction, ...]:
    return (Restriction("restricted", access, rules),)
