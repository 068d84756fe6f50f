# SPDX-License-Identifier: Apache-2.0
"""The pools of the operator's own edge, and what DNS has of them, as shared documents."""

from collections.abc import Callable
from typing import Any

from poppy.model.pools import Pool, Published
from poppy.storage.queries import DocumentStore

_POOLS, _PUBLISHED = "edge_pools", "edge_dns"


class PoolStore:
    """Read and change the two documents."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def pools(self) -> dict[str, Pool]:
        """Return the defined pools by name. All other pools have the default settings."""
        content = self._documents.get(_POOLS).content or {}
        return {name: Pool.from_dict(name, content[name]) for name in sorted(content)}

    def change(self, work: Callable[[dict[str, Pool]], None]) -> None:
        """Change the defined pools.

        Args:
            work: changes a dictionary of them in place. It is called again if another process has
                changed the pools; what it raises changes nothing.

        Raises:
            Unavailable: others keep changing them at the same time.
        """

        def changed(content: Any) -> dict[str, Any]:
            pools = {name: Pool.from_dict(name, it) for name, it in (content or {}).items()}
            work(pools)
            return {name: pool.to_dict() for name, pool in pools.items()}

        self._documents.change(_POOLS, changed)

    def published(self) -> Published | None:
        """Return what the DNS name has; None if Poppy has never set it."""
        content = self._documents.get(_PUBLISHED).content
        return Published.from_dict(content) if content else None

    def put_published(self, published: Published) -> None:
        """Store what the DNS name has.

        Raises:
            Changed: another process has just done so.
        """
        version = self._documents.get(_PUBLISHED).version
        self._documents.put(_PUBLISHED, published.to_dict(), version)
