# SPDX-License-Identifier: Apache-2.0
"""The dashboard's pages about the nodes of the operator's own edge."""

from poppy.transport.pecan.dashboard.login import Site
from poppy.transport.pecan.dashboard.pages import page
from poppy.transport.pecan.request import Request
from poppy.transport.pecan.response import Response

#: Refused services of a node on the page of all nodes.
FAILURES = 10


def _edge(site: Site, request: Request) -> Response:
    """Show all nodes, and what they refuse."""
    return site.renderer.page(
        request, "edge.html", edge=site.manager.edge_overview.edge(), most=FAILURES
    )


def _node(site: Site, request: Request, name: str) -> Response:
    """Show a node."""
    overview = site.manager.edge_overview
    return site.renderer.page(
        request, "edge_node.html", edge=overview.edge(), it=overview.node(name)
    )


ROUTES = (
    page("/edge", _edge, "getEdge", "Show the nodes of your own edge."),
    page("/edge/{name}", _node, "getEdgeNode", "Show a node of your own edge."),
)
