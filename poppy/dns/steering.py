# SPDX-License-Identifier: Apache-2.0
"""Answers that depend on who asks: what a name leads to where there are several providers."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Steering(enum.StrEnum):
    """What a DNS server may be able to go by when it answers."""

    WEIGHTS = "weights"
    GEOGRAPHY = "geography"


@dataclass(frozen=True, slots=True)
class Target:
    """One of the providers' names that an operator's name may lead to.

    Attributes:
        name: without the trailing dot.
        weight: its share, in relation to the others that a client may be sent to; 0 for none
            while there is any other.
        countries: ISO 3166-1 codes of two letters, in upper case.
        continents: AF, AN, AS, EU, NA, OC or SA.
    """

    name: str
    weight: int = 1
    countries: tuple[str, ...] = ()
    continents: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it is for clients of some places only."""
        return bool(self.countries or self.continents)


#: What a name leads to, the preferred one first, never empty. A client in a country that targets
#: name is sent to one of those; else to one of those that name its continent; else to one of
#: those that name no place, or the first if all do. Among several, weights decide.
Policy = Sequence[Target]


def everywhere(policy: Policy) -> Policy:
    """The targets for clients of places that none names."""
    return [target for target in policy if not target.is_local] or policy[:1]


def sharing(policy: Policy) -> Policy:
    """Those targets among which weights decide; one alone gets everybody.

    Without any weight that is the first: it is what the others stand behind.
    """
    return [target for target in policy if target.weight > 0] or policy[:1]


def countries(policy: Policy) -> dict[str, Policy]:
    """The targets of each country that any names, in order of the codes."""
    named = sorted({code for target in policy for code in target.countries})
    return {code: [it for it in policy if code in it.countries] for code in named}


def continents(policy: Policy) -> dict[str, Policy]:
    """The targets of each continent that any names, in order of the codes."""
    named = sorted({code for target in policy for code in target.continents})
    return {code: [it for it in policy if code in it.continents] for code in named}
