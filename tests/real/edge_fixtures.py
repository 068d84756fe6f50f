# SPDX-License-Identifier: Apache-2.0
"""Fixtures of tests with one node of the own edge and an origin. Tests import those they use."""

from collections.abc import Iterator

import pytest

from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def running() -> Iterator[EdgeNode]:
    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
        yield node


@pytest.fixture
def node(running: EdgeNode) -> Iterator[EdgeNode]:
    """A node without services and objects."""
    running.plane.load([])
    running.plane.flush()
    yield running
    for stored in list(running.state.programs()):
        running.state.delete(stored.program.service_id)
