# SPDX-License-Identifier: Apache-2.0
"""The nodes of the own edge, and how far they are with changes."""

from collections.abc import Sequence
from typing import NamedTuple

from oslo_config import cfg

from poppy.common.clock import now_utc
from poppy.common.errors import InProgressError, PermanentError
from poppy.model.edge import EdgeLog, Node, Stamp
from poppy.model.services import Service

#: Seconds between polls.
SOONEST, LATEST = 0.2, 5.0


class Progress(NamedTuple):
    """How far the nodes are with a change.

    Attributes:
        live: the nodes that count.
        message: what the change waits for; empty if it is done.
        poll_after: seconds.
    """

    live: Sequence[Node]
    message: str
    poll_after: float


class Nodes:
    """Finds out how far the nodes are.

    Args:
        log: the log of changes.
        options: those of the provider.
    """

    def __init__(self, log: EdgeLog, options: cfg.ConfigOpts.GroupAttr) -> None:
        self._log = log
        self._options = options

    def live(self) -> Sequence[Node]:
        """Return the live nodes that are not drained."""
        return live(self._log.nodes())

    def progress(self, stamp: Stamp, most: int | None = None) -> Progress:
        """Return how far the nodes are with a change; ``most`` limits ``min_nodes``."""
        found = self.live()
        have = sum(node.revision >= stamp.revision for node in found)
        least: int = self._options.min_nodes
        if most is not None:
            least = min(least, most)
        message = ""
        if len(found) < least:
            message = f"{len(found)} nodes are live, of {least} that are needed"
        elif have < max(least, -(-len(found) * self._options.edge_quorum // 100)):
            message = f"{have} of {len(found)} nodes have it"
        age = (now_utc() - stamp.at).total_seconds()
        return Progress(found, message, min(LATEST, max(SOONEST, age / 4)))

    def wait(self, stamp: Stamp, most: int | None = None) -> None:
        """Return once the nodes have a change; ``most`` limits ``min_nodes``.

        Raises:
            InProgressError: they do not have it yet.
        """
        progress = self.progress(stamp, most)
        if progress.message:
            raise InProgressError(progress.message, progress.poll_after)


def check_accepted(nodes: Sequence[Node], service: Service, stamp: Stamp, problem: str) -> None:
    """Check that no node has refused a change.

    Raises:
        PermanentError: a node has; names it, with its reason.
    """
    for node in nodes:
        failure = node.report.failures.get(service.service_id) if node.report else None
        if failure is not None and failure.revision == stamp.revision:
            raise PermanentError(f"Node {node.name} {problem}: {failure.reason}")


def not_fetched(nodes: Sequence[Node], service: Service, stamp: Stamp) -> Sequence[str]:
    """Return what nodes could not fetch in a prewarm.

    Raises:
        InProgressError: a node fetches the paths.
    """
    reasons = []
    for node in nodes:
        # An agent that was restarted since says nothing about it.
        state = node.report.prewarms.get(service.service_id) if node.report else None
        if state is None or state.revision != stamp.revision:
            continue
        if not state.done:
            raise InProgressError(f"node {node.name} fetches them", 1.0)
        if state.reason:
            reasons.append(f"node {node.name}: {state.reason}")
    return reasons


def live(nodes: Sequence[Node]) -> Sequence[Node]:
    """Return the live nodes that are not drained."""
    now = now_utc()
    return [node for node in nodes if node.is_live(now) and not node.drained]
