# SPDX-License-Identifier: Apache-2.0
"""Steering policies: which of several providers a name points to."""

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar


class Steering(enum.StrEnum):
    """Criteria that a DNS server may use to choose an answer."""

    WEIGHTS = "weights"
    GEOGRAPHY = "geography"


@dataclass(frozen=True, slots=True)
class Target:
    """A provider's name that an operator name may point to.

    Attributes:
        name: the provider's name, without a trailing dot.
        weight: its share relative to the client's other targets. With 0, it is used only if
            there is no other.
        countries: ISO 3166-1 codes of two letters, in upper case.
        continents: AF, AN, AS, EU, NA, OC or SA.
    """

    name: str
    weight: int = 1
    countries: tuple[str, ...] = ()
    continents: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it serves only clients in some countries or continents."""
        return bool(self.countries or self.continents)


@dataclass(frozen=True, slots=True)
class AddressPool(Target):
    """A pool of the operator's own edge; ``name`` is the pool's.

    Attributes:
        addresses: of its nodes, of both families, in canonical form.
    """

    addresses: tuple[str, ...] = ()

    def of_family(self, version: int) -> "AddressPool":
        """Return the pool with its addresses of IP version 4 or 6 only."""
        found = (it for it in self.addresses if ipaddress.ip_address(it).version == version)
        return replace(self, addresses=tuple(found))


T = TypeVar("T", bound=Target)

#: The targets of a name, the preferred one first; never empty. A client is sent to the targets
#: that list its country, otherwise to those that list its continent, otherwise to those without
#: locations (the first target if all have some). Weights decide between several.
Policy = Sequence[Target]


def everywhere(policy: Sequence[T]) -> Sequence[T]:
    """Return the targets for clients in locations that no target lists."""
    return [target for target in policy if not target.is_local] or policy[:1]


def sharing(policy: Sequence[T]) -> Sequence[T]:
    """Return the targets with a weight; the first target alone if all weights are 0."""
    return [target for target in policy if target.weight > 0] or policy[:1]


def countries(policy: Sequence[T]) -> dict[str, Sequence[T]]:
    """Return the targets of each listed country, sorted by code."""
    named = sorted({code for target in policy for code in target.countries})
    return {code: [it for it in policy if code in it.countries] for code in named}


def continents(policy: Sequence[T]) -> dict[str, Sequence[T]]:
    """Return the targets of each listed continent, sorted by code."""
    named = sorted({code for target in policy for code in target.continents})
    return {code: [it for it in policy if code in it.continents] for code in named}


def families(pools: Sequence[AddressPool]) -> dict[str, Sequence[AddressPool]]:
    """Return the pools that have addresses of a family, by the type of their records.

    Returns:
        ``A`` and ``AAAA``, each with pools that have addresses of that family only; a type without
        pools is left out.
    """
    found: dict[str, Sequence[AddressPool]] = {}
    for rdtype, version in (("A", 4), ("AAAA", 6)):
        some = [pool for it in pools if (pool := it.of_family(version)).addresses]
        if some:
            found[rdtype] = some
    return found


def together(pools: Sequence[AddressPool]) -> Sequence[str]:
    """Return the addresses of all pools that share the clients, sorted and each once."""
    return sorted({address for pool in sharing(pools) for address in pool.addresses})
