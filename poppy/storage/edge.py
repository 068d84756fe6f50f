# SPDX-License-Identifier: Apache-2.0
"""The contract of the operator's own edge: its log of changes, and its nodes."""

import abc
import datetime
import json
from collections.abc import Sequence

from poppy.model.edge import Change, EdgeLog, Node, Page, Report
from poppy.model.purges import Purge

#: Bytes of programs on a page, unless its first program alone is larger.
PAGE_SIZE = 4 * 1024 * 1024


class EdgeStore(EdgeLog, abc.ABC):
    """Store what the nodes must serve, and what they report.

    The log keeps one row for each service, under the revision of its last change, and one for
    each purge. So the rows after revision *n* bring a node from *n* to the present, and the rows
    after 0 are a snapshot. ``doc/source/specs/edge-pulls.rst`` describes the design.
    """

    @abc.abstractmethod
    def changes(self, after: int, limit: int, snapshot: int = 0) -> Page:
        """Return the changes after a revision, up to ``limit`` and about :data:`PAGE_SIZE`.

        Args:
            after: 0 to begin a snapshot.
            snapshot: while a node reads a snapshot, the head of the snapshot's first page. What
                was pruned up to there does not concern the node.

        Raises:
            Gone: changes after the revision have been pruned, or the log does not reach that far,
                since the store was restored from a backup.
        """

    @abc.abstractmethod
    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Delete old purges and withdrawals, up to ``limit``; return how many.

        Changes after a revision before the last deleted one are gone then.
        """

    @abc.abstractmethod
    def add_node(self, node: Node) -> None:
        """Add a node, or replace one that has not joined.

        Raises:
            InUse: a node with this name has joined.
            InvalidRequest: there are :data:`poppy.model.edge.MAX_NODES` nodes already.
        """

    @abc.abstractmethod
    def node(self, name: str) -> Node | None:
        """Return a node; None if there is none."""

    @abc.abstractmethod
    def node_of(self, token: str) -> Node | None:
        """Return the node that has the token with this hash; None if there is none."""

    @abc.abstractmethod
    def join(self, name: str, join_token: str, token: str, now: datetime.datetime) -> bool:
        """Exchange the hash of a join token for that of a token of the node.

        Returns:
            Whether the join token was valid. Of several concurrent calls one succeeds.
        """

    @abc.abstractmethod
    def report(self, name: str, token: str, report: Report, now: datetime.datetime) -> bool:
        """Store a report in place of the node's last one.

        Args:
            token: the hash of the token that the report came with.

        Returns:
            Whether the node is drained.

        Raises:
            Changed: another instance has reported lately.
            NotFound: the node was removed, or has joined again.
        """

    @abc.abstractmethod
    def set_drained(self, name: str, drained: bool) -> None:
        """Drain a node, or end that.

        Raises:
            NotFound: there is no such node.
        """

    @abc.abstractmethod
    def place_node(self, name: str, pool: str, addresses: Sequence[str]) -> None:
        """Move a node to a pool, and replace its addresses.

        Raises:
            NotFound: there is no such node.
        """

    @abc.abstractmethod
    def remove_node(self, name: str) -> None:
        """Remove a node; its token is refused from then on.

        Raises:
            NotFound: there is no such node.
        """


def purge_to_text(purge: Purge) -> str | None:
    """Return what the row of a purge has besides ``hard``.

    That is a path, None for everything, or a JSON object, which nodes refuse if a server of the
    previous release passes it on as a path.
    """
    if purge.covers_all or len(purge.urls) == 1:
        return purge.url
    return json.dumps(purge.to_dict())


def prewarm_to_text(paths: Sequence[str]) -> str:
    """Return what the row of a prewarm has, in the form of :func:`purge_to_text`."""
    return json.dumps({"prewarm": list(paths)})


def command(revision: int, service_id: str, text: str | None, hard: bool) -> Change:
    """Return the purge or prewarm of a row; see :func:`purge_to_text`."""
    if text is None or not text.startswith("{"):
        return Change(revision, service_id, purge=Purge(text, hard))
    document = json.loads(text)
    if "prewarm" in document:
        return Change(revision, service_id, prewarm=tuple(document["prewarm"]))
    return Change(revision, service_id, purge=Purge.from_dict(document))
