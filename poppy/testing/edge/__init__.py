# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of data planes: what a browser gets, at each provider, from awkward origins.

The suite is a table of promises. Implement :class:`DataPlane` for a provider, and subclass
:class:`EdgeContract` in its tests::

    class TestExample(EdgeContract):
        @pytest.fixture(scope="class")
        @classmethod
        def plane(cls): ...

A data plane may be real (servers on loopback, see :mod:`poppy.testing.edge.wire`), or interpret
what the driver configures, by the provider's documentation. It must raise :exc:`NotShown` for what
the documentation leaves open.
"""

from poppy.testing.edge.contract import DataPlane, EdgeContract, NotShown
from poppy.testing.edge.origin import Origins, Reply, Response, Seen
from poppy.testing.edge.promises import Answer, Ask, Promise, Request
from poppy.testing.edge.table import GROUPS, PROMISES

__all__ = [
    "GROUPS",
    "PROMISES",
    "Answer",
    "Ask",
    "DataPlane",
    "EdgeContract",
    "NotShown",
    "Origins",
    "Promise",
    "Reply",
    "Request",
    "Response",
    "Seen",
]
