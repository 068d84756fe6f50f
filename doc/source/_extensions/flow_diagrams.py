# SPDX-License-Identifier: Apache-2.0
"""The directive ``flow``: the flow of a kind of operation, built as a worker builds it, and drawn.

``.. flow:: update`` draws what :func:`poppy.distributed_task.flows.build` makes for an update;
``.. flow:: update certificate`` for an order's. Each kind of operation has to have its diagram
somewhere: one that has none is a warning, which fails the build.
"""

from typing import Any

import svg_boxes
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from taskflow.patterns import linear_flow, unordered_flow

from poppy.common import config
from poppy.distributed_task import flows
from poppy.dns.mock import MockDNS
from poppy.model import certificates
from poppy.model.operations import Kind
from poppy.testing.builders import PROJECT_ID, make_flavor, make_operation, make_service

LOG = logging.getLogger(__name__)

#: An example: a flavor of two providers; a change also leaves a third one behind.
_PROVIDERS = ("fastly", "edge")
_RETIRED = "cloudfront"
#: Orders for certificates have no other kinds.
_ORDERED = (Kind.CREATE, Kind.UPDATE, Kind.DELETE)
_CERTIFICATE = " certificate"

#: What there has to be a diagram of.
SUBJECTS = (*map(str, Kind), *(f"{kind}{_CERTIFICATE}" for kind in _ORDERED))


class Flow(Directive):
    """One diagram; the argument is one of :data:`SUBJECTS`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The drawing in HTML, the same in words elsewhere."""
        subject = self.arguments[0]
        if subject not in SUBJECTS:
            raise self.error(f"There is no flow '{subject}'; there are {', '.join(SUBJECTS)}")
        env = self.state.document.settings.env
        drawn(env).setdefault(env.docname, set()).add(subject)
        shape = shape_of(example(subject))
        svg = svg_boxes.draw(shape, f"The flow of {subject}: {svg_boxes.tell(shape)}")
        container = nodes.container(classes=["flow"])
        container += nodes.raw("", svg, format="html")
        return [container]


def example(subject: str) -> linear_flow.Flow:
    """The flow of an example."""
    kind = Kind(subject.removesuffix(_CERTIFICATE))
    orders = subject.endswith(_CERTIFICATE)
    retires = kind is Kind.UPDATE and not orders
    deployed = (*_PROVIDERS, _RETIRED) if retires else _PROVIDERS
    service = make_service(project_id=certificates.namespace(PROJECT_ID) if orders else PROJECT_ID)
    detail = next(iter(service.provider_details.values()))
    service = service.with_details(dict.fromkeys(deployed, detail))
    shape = flows.shape_of(make_operation(service, kind), service, _Flavors())  # type: ignore[arg-type]
    # Nothing is called when a flow is made.
    return flows.build(shape, {}, MockDNS(config.load([], files=[]), "mock"))


def shape_of(flow: linear_flow.Flow) -> svg_boxes.Shape:
    """A flow as what can be drawn: stages in turn, of steps side by side."""
    return svg_boxes.InTurn(
        [
            svg_boxes.SideBySide([_step(task.name) for task in part])
            if isinstance(part, unordered_flow.Flow)
            else _step(part.name)
            for part in flow
        ]
    )


def _step(name: str) -> svg_boxes.Step:
    return svg_boxes.Step(name, "dns" if "DNS" in name else "provider")


class _Flavors:
    """A store of one flavor."""

    def get(self, flavor_id: str) -> Any:
        """The flavor, whatever it is called."""
        return make_flavor(flavor_id, _PROVIDERS)


def drawn(env: BuildEnvironment) -> dict[str, set[str]]:
    """What has been drawn so far, by page."""
    if not hasattr(env, "flows_drawn"):
        env.flows_drawn = {}  # type: ignore[attr-defined]
    found: dict[str, set[str]] = env.flows_drawn
    return found


def forget(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget the diagrams of a page that is read again or removed."""
    drawn(env).pop(page, None)


def merge(app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Another process has read some pages."""
    drawn(env).update(drawn(other))


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of what has no diagram."""
    everywhere = set().union(*drawn(env).values())
    for subject in SUBJECTS:
        if subject not in everywhere:
            LOG.warning("The flow '%s' is drawn on no page; see architecture.rst", subject)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("flow", Flow)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "env_version": 1}
