# SPDX-License-Identifier: Apache-2.0
"""Pools (points of presence) of the operator's own edge, and what DNS has of them."""

import datetime
import enum
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

#: Pools of an installation.
MAX_POOLS = 100
#: Addresses of a node, and those that a pool's nodes have together of one family. More do not fit
#: into a UDP response of 1,232 bytes.
MAX_NODE_ADDRESSES, MAX_POOL_ADDRESSES = 8, 32


@dataclass(frozen=True, slots=True)
class Pool:
    """A group of nodes in one place.

    Attributes:
        weight: its share of the clients relative to the other pools of their location. With 0, it
            gets clients only if there is no other.
        countries: whose clients it serves: ISO 3166-1 codes of two letters, in upper case.
        continents: likewise, of :data:`.schema_parts.CONTINENTS`. Without both, it serves all
            others.
        min_nodes: with fewer healthy nodes, the pool gets no clients as long as others do.
        drained: whether the operator takes it out of service.
    """

    name: str
    weight: int = 1
    countries: tuple[str, ...] = ()
    continents: tuple[str, ...] = ()
    min_nodes: int = 1
    drained: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the name as a JSON object."""
        return {
            "weight": self.weight,
            "countries": list(self.countries),
            "continents": list(self.continents),
            "min_nodes": self.min_nodes,
            "drained": self.drained,
        }

    @classmethod
    def from_dict(cls, name: str, document: Mapping[str, Any]) -> Self:
        """Create a pool from the document of :meth:`to_dict`."""
        return cls(
            name,
            document["weight"],
            tuple(document["countries"]),
            tuple(document["continents"]),
            document["min_nodes"],
            document["drained"],
        )


class NameKeeping(NamedTuple):
    """How the DNS name of the nodes is kept.

    Attributes:
        name: the DNS name.
        ttl: of its records, in seconds.
        interval: seconds between comparisons of the nodes with DNS.
        dead_after: seconds after its last report in which a node leaves DNS.
        max_behind: a node that is this many changes behind leaves DNS.
    """

    name: str
    ttl: int
    interval: float
    dead_after: float
    max_behind: int


class NameState(enum.StrEnum):
    """The state of the nodes' DNS name.

    ``current``: it has the healthy nodes. ``kept``: no node is healthy, so it has the last ones
    that were. ``failing``: the DNS server did not accept a change.
    """

    CURRENT = "current"
    KEPT = "kept"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Published:
    """What the nodes' DNS name resolves to.

    Attributes:
        name: the DNS name.
        changed_at: when its records were last changed; None before the first time.
        state: as of the last comparison.
        nodes: the names of the nodes whose addresses are published, by pool.
    """

    name: str
    changed_at: datetime.datetime | None = None
    state: NameState = NameState.CURRENT
    nodes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "name": self.name,
            "changed_at": self.changed_at.isoformat() if self.changed_at else None,
            "state": self.state,
            "nodes": {pool: list(names) for pool, names in self.nodes.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create it from the document of :meth:`to_dict`."""
        changed = document["changed_at"]
        return cls(
            document["name"],
            datetime.datetime.fromisoformat(changed) if changed else None,
            NameState(document["state"]),
            document["nodes"],
        )


def canonical_address(text: str) -> str:
    """Return the canonical form of an address that clients can reach.

    Raises:
        ValueError: it is none; the message has the address.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"'{text:.60}' is no IP address") from None
    is_special = address.is_multicast or address.is_unspecified or address.is_link_local
    if is_special or getattr(address, "ipv4_mapped", None) or "%" in text:
        raise ValueError(f"{text:.60} can't be the address of a node")
    return str(address)
