# SPDX-License-Identifier: Apache-2.0
"""The nodes of the operator's own edge: how they join, what they fetch, and what they report."""

import datetime
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import cachetools

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.manager.caching import cached
from poppy.manager.pools import PoolsManager, check_name
from poppy.model import edge_schemas, validation
from poppy.model.edge import DEFAULT_POOL, MAX_NODES, Change, Node, Page, Report
from poppy.storage.base import Storage

#: Within this time a node must join.
JOIN_WITHIN = datetime.timedelta(hours=1)

_HEAD_AGE = 0.5  # Seconds for which the head is cached.
_TOKEN_AGE = 5.0  # Seconds for which a valid token is cached.


@runtime_checkable
class Reveals(Protocol):
    """A provider that publishes programs with encrypted parts."""

    def reveal(self, program: str) -> str:
        """Return a program as nodes get it."""
        ...


class EdgeManager:
    """Serve the nodes, which authenticate by tokens of their own.

    The store keeps the SHA-256 of tokens only. They are random and long, so that a slow hash
    would add nothing.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Callable[[], float] = time.monotonic,
        providers: Mapping[str, object] | None = None,
    ) -> None:
        self._store = storage.edge
        self._pools = PoolsManager(storage)
        self._providers = providers or {}
        self._head = cached(lambda: self._store.head(), _HEAD_AGE)
        self._nodes: cachetools.TTLCache[str, Node] = cachetools.TTLCache(
            MAX_NODES, _TOKEN_AGE, timer=clock
        )
        self._lock = threading.Lock()

    def add(self, name: str, pool: str = DEFAULT_POOL, addresses: Sequence[str] = ()) -> str:
        """Add a node, or give one that has not joined another token.

        Args:
            addresses: where clients reach the node; see :mod:`poppy.model.pools`.

        Returns:
            The token for one join, valid for :data:`JOIN_WITHIN`. It is stored nowhere.

        Raises:
            InvalidRequest: a name or an address is invalid, or there are too many nodes or
                addresses.
            InUse: the node has joined.
        """
        check_name("node", name)
        where = self._pools.check_place(name, pool, addresses)
        token = _new_token()
        until = now_utc() + JOIN_WITHIN
        node = Node(name, pool, addresses=where, join_token=_hash(token), join_until=until)
        self._store.add_node(node)
        return token

    def join(self, document: object) -> str | None:
        """Exchange a join token for a token of the node.

        Returns:
            The token, which is stored nowhere; None if the join token is not valid (any more).

        Raises:
            SchemaInvalid: the document is invalid; names the field.
        """
        body = validation.validate(edge_schemas.JOIN, document)
        name, given = body["name"], _hash(body["token"])
        node = self._store.node(name)
        # A node that is unknown takes as long as one that is not.
        known = (node.join_token if node else None) or _hash("")
        token = _new_token()
        if not hmac.compare_digest(known, given):
            return None
        return token if self._store.join(name, given, _hash(token), now_utc()) else None

    def authenticate(self, token: str) -> Node | None:
        """Return the node that has a token; None if there is none.

        A node that was removed since may be found for :data:`_TOKEN_AGE`.
        """
        key = _hash(token)
        with self._lock:
            found = self._nodes.get(key)
        if found is None:
            found = self._store.node_of(key)
            if found is None or not hmac.compare_digest(found.token or "", key):
                return None
            with self._lock:
                self._nodes[key] = found
        return found

    def head(self) -> int:
        """Return the last revision of the log, as it was within half a second."""
        return self._head()

    def changes(self, after: int, limit: int, snapshot: int) -> Page:
        """Return a page of changes; see :meth:`.EdgeStore.changes`."""
        page = self._store.changes(after, limit, snapshot)
        return page._replace(changes=[self._revealed(it) for it in page.changes])

    def _revealed(self, change: Change) -> Change:
        program = change.program
        for provider in self._providers.values():
            if program is not None and isinstance(provider, Reveals):
                program = provider.reveal(program)
        return replace(change, program=program)

    def report(self, node: Node, document: object) -> bool | None:
        """Store what a node says about itself.

        Returns:
            Whether the node is drained; None if it was removed.

        Raises:
            SchemaInvalid: the document is invalid; names the field.
            Changed: another instance of the node is live.
        """
        body = validation.validate(edge_schemas.REPORT, document)
        try:
            report = Report.from_dict(body)
        except ValueError as exc:
            raise errors.SchemaInvalid([str(exc)]) from exc
        if report.revision > self._head() and report.revision > (head := self._store.head()):
            raise errors.SchemaInvalid(
                [f"[revision]-{report.revision} is after the head of the log, {head}"]
            )
        try:
            return self._store.report(node.name, node.token or "", report, now_utc())
        except errors.NotFound:
            return None


def _new_token() -> str:
    # A letter or digit at the start, so that no shell command takes it for an option.
    return secrets.token_hex(32)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
