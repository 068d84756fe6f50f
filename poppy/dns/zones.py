# SPDX-License-Identifier: Apache-2.0
"""Which zone a name is in."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from oslo_config import cfg

from poppy.common.errors import PermanentError

#: For drivers of servers that hold several zones.
ZONES_OPT = cfg.ListOpt(
    "zones",
    default=[],
    help="The zones that hold the operator's names, such as example.net. Unset: the server is "
    "asked for the closest one at or above the suffix.",
)

Z = TypeVar("Z", bound=Hashable)


class Zones(Generic[Z]):
    """Sorts names by the zones they are in, and remembers what it was told of them.

    Args:
        configured: zones by their names; without any, they are looked for.
        suffix: the operator's. The zone of a name below it is looked for from the suffix
            upwards, since what is between them is a tenant's name; of any other (shared names,
            or those of a suffix that was changed) from its parent upwards.
        find: gives what the server knows a zone by, or None when it has none of that name.
            Called for one name after the other, up to the root.
    """

    def __init__(
        self,
        configured: Sequence[str],
        suffix: str,
        find: Callable[[str], Z | None],
    ) -> None:
        self._configured = [canonical(name) for name in configured]
        self._suffix = canonical(suffix)
        self._find = find
        self._known: dict[str, Z] = {}

    def group(self, names: Iterable[str]) -> dict[Z, list[str]]:
        """The names of each zone.

        Raises:
            PermanentError: there is no zone for a name; names it.
        """
        found: dict[Z, list[str]] = {}
        for name in names:
            found.setdefault(self.of(name), []).append(name)
        return found

    def of(self, name: str) -> Z:
        """The zone of a name.

        Raises:
            PermanentError: there is none.
        """
        candidates = self._candidates(canonical(name))
        for candidate in candidates:
            zone = self._known.get(candidate)
            if zone is None:
                zone = self._find(candidate)
            if zone is not None:
                self._known[candidates[0]] = zone
                return zone
        tried = f"looked for {candidates[0]} and above" if candidates else "see option zones"
        raise PermanentError(f"The DNS server has no zone for {name} ({tried})")

    def forget(self) -> None:
        """Ask anew: a zone may have been made again under another id."""
        self._known.clear()

    def _candidates(self, name: str) -> list[str]:
        """Names that the zone may have, the most likely first."""
        if self._configured:
            above = [zone for zone in self._configured if is_within(name, zone)]
            return sorted(above, key=len, reverse=True)[:1]
        is_below = is_within(name, self._suffix)
        return list(ancestors(self._suffix if is_below else name.partition(".")[2]))


def ancestors(name: str) -> Iterator[str]:
    """A name and all above it, but the root."""
    while name:
        yield name
        name = name.partition(".")[2]


def is_within(name: str, zone: str) -> bool:
    """Whether a name is a zone's own or below it."""
    return name == zone or name.endswith(f".{zone}")


def canonical(name: str) -> str:
    """A name in lower case, without the trailing dot."""
    return name.strip().rstrip(".").lower()
