# SPDX-License-Identifier: Apache-2.0
"""Steering policies: which of several providers a name points to."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass


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


#: The targets of a name, the preferred one first; never empty. A client is sent to the targets
#: that list its country, otherwise to those that list its continent, otherwise to those without
#: locations (the first target if all have some). Weights decide between several.
Policy = Sequence[Target]


def everywhere(policy: Policy) -> Policy:
    """Return the targets for clients in locations that no target lists."""
    return [target for target in policy if not target.is_local] or policy[:1]


def sharing(policy: Policy) -> Policy:
    """Return the targets with a weight; the first target alone if all weights are 0."""
    return [target for target in policy if target.weight > 0] or policy[:1]


def countries(policy: Policy) -> dict[str, Policy]:
    """Return the targets of each listed country, sorted by code."""
    named = sorted({code for target in policy for code in target.countries})
    return {code: [it for it in policy if code in it.countries] for code in named}


def continents(policy: Policy) -> dict[str, Policy]:
    """Return the targets of each listed continent, sorted by code."""
    named = sorted({code for target in policy for code in target.continents})
    return {code: [it for it in policy if code in it.continents] for code in named}
