# SPDX-License-Identifier: Apache-2.0
"""Pools of the operator's own edge, and the places of its nodes."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from poppy.common import errors
from poppy.model.edge import Node
from poppy.model.pools import (
    MAX_NODE_ADDRESSES,
    MAX_POOL_ADDRESSES,
    MAX_POOLS,
    Pool,
    canonical_address,
)
from poppy.model.schema_parts import CONTINENTS, COUNTRY, NODE_NAME, PATTERNS
from poppy.storage.base import Storage
from poppy.storage.pools import PoolStore

_MAX_WEIGHT, _MAX_MIN_NODES, _MAX_COUNTRIES = 1000, 1000, 250


class PoolsManager:
    """Define pools, and place nodes in them.

    A pool exists if it is defined or has nodes. One that is not defined has the default settings
    of :class:`~poppy.model.pools.Pool`.
    """

    def __init__(self, storage: Storage) -> None:
        self._edge = storage.edge
        self._store = PoolStore(storage.documents)

    def list(self) -> Sequence[Pool]:
        """Return all pools, sorted by name."""
        known = self._store.pools()
        return [known.get(name) or Pool(name) for name in sorted(self._names(known))]

    def add(self, name: str, settings: Mapping[str, Any]) -> None:
        """Define a pool.

        Args:
            settings: fields of a pool.

        Raises:
            InUse: it is defined already.
            InvalidRequest: the name or a setting is invalid, or there are too many pools.
        """
        pool = _checked(replace(Pool(name), **settings))

        def work(pools: dict[str, Pool]) -> None:
            if name in pools:
                raise errors.InUse(f"Pool {name} is defined already")
            _check_count({*self._names(pools), name})
            pools[name] = pool

        self._store.change(work)

    def change(self, name: str, settings: Mapping[str, Any]) -> None:
        """Change some settings of a pool.

        Raises:
            InvalidRequest: a setting is invalid.
            NotFound: there is no such pool.
        """
        used = any(node.pool == name for node in self._edge.nodes())

        def work(pools: dict[str, Pool]) -> None:
            if name not in pools and not used:
                raise errors.NotFound(f"There is no pool {name}")
            pools[name] = _checked(replace(pools.get(name) or Pool(name), **settings))

        self._store.change(work)

    def remove(self, name: str) -> None:
        """Remove a pool without nodes.

        Raises:
            InUse: it has nodes.
            NotFound: there is no such pool.
        """
        nodes = [node.name for node in self._edge.nodes() if node.pool == name]
        if nodes:
            raise errors.InUse(f"Pool {name} has nodes: {', '.join(nodes[:5])}")

        def work(pools: dict[str, Pool]) -> None:
            if pools.pop(name, None) is None:
                raise errors.NotFound(f"There is no pool {name}")

        self._store.change(work)

    def place(
        self, name: str, pool: str | None = None, addresses: Sequence[str] | None = None
    ) -> None:
        """Move a node to a pool, or replace its addresses.

        Args:
            pool: None to keep it.
            addresses: None to keep them.

        Raises:
            InvalidRequest: the pool's name or an address is invalid, or there are too many.
            NotFound: there is no such node.
        """
        node = self._edge.node(name)
        if node is None:
            raise errors.NotFound(f"There is no node {name}")
        pool = node.pool if pool is None else pool
        wanted = node.addresses if addresses is None else addresses
        self._edge.place_node(name, pool, self.check_place(name, pool, wanted))

    def check_place(self, name: str, pool: str, addresses: Sequence[str]) -> tuple[str, ...]:
        """Return a node's addresses in canonical form.

        Raises:
            InvalidRequest: the pool's name or an address is invalid, or there are too many.
        """
        check_name("pool", pool)
        _check_count({*self._names(self._store.pools()), pool})
        try:
            found = tuple(dict.fromkeys(canonical_address(it) for it in addresses))
        except ValueError as exc:
            raise errors.InvalidRequest(str(exc)) from exc
        if len(found) > MAX_NODE_ADDRESSES:
            raise errors.InvalidRequest(f"A node has at most {MAX_NODE_ADDRESSES} addresses")
        others = [it for it in self._edge.nodes() if it.pool == pool and it.name != name]
        _check_room(pool, {*found, *_addresses(others)})
        return found

    def _names(self, defined: Iterable[str]) -> set[str]:
        return {*defined, *(node.pool for node in self._edge.nodes())}


def check_name(kind: str, name: str) -> None:
    """Check the name of a node or pool.

    Raises:
        InvalidRequest: it is invalid.
    """
    if not re.match(NODE_NAME, name) or len(name) > 64:
        raise errors.InvalidRequest(
            f"'{name}' can't be the name of a {kind}: use up to 64 lower-case letters, "
            "digits, dots and hyphens, with a letter or digit at both ends"
        )


def _check_count(names: set[str]) -> None:
    if len(names) > MAX_POOLS:
        raise errors.InvalidRequest(f"There are {MAX_POOLS} pools, which is the maximum")


def _addresses(nodes: Iterable[Node]) -> set[str]:
    return {address for node in nodes for address in node.addresses}


def _check_room(pool: str, addresses: set[str]) -> None:
    for version in (4, 6):
        count = sum(ipaddress.ip_address(it).version == version for it in addresses)
        if count > MAX_POOL_ADDRESSES:
            raise errors.InvalidRequest(
                f"Pool {pool} would have {count} IPv{version} addresses; the maximum is "
                f"{MAX_POOL_ADDRESSES}. Put nodes in another pool, or behind load balancers"
            )


def _checked(pool: Pool) -> Pool:
    check_name("pool", pool.name)
    for what, value, most in (
        ("weight", pool.weight, _MAX_WEIGHT),
        ("min_nodes", pool.min_nodes, _MAX_MIN_NODES),
    ):
        if not 0 <= value <= most:
            raise errors.InvalidRequest(f"{what} {value} is not from 0 to {most}")
    for code in pool.countries:
        if not re.match(COUNTRY, code):
            raise errors.InvalidRequest(f"'{code:.60}' {PATTERNS[COUNTRY]}")
    for code in pool.continents:
        if code not in CONTINENTS:
            raise errors.InvalidRequest(
                f"'{code:.60}' is not a continent: use one of {', '.join(CONTINENTS)}"
            )
    if len(pool.countries) > _MAX_COUNTRIES:
        raise errors.InvalidRequest(f"A pool has at most {_MAX_COUNTRIES} countries")
    return replace(
        pool,
        countries=tuple(dict.fromkeys(pool.countries)),
        continents=tuple(dict.fromkeys(pool.continents)),
    )
