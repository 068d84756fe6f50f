# SPDX-License-Identifier: Apache-2.0
"""Find the zone of a name."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from oslo_config import cfg

from poppy.common.errors import PermanentError

#: Option of drivers for servers with several zones.
ZONES_OPT = cfg.ListOpt(
    "zones",
    default=[],
    help="Zones of the operator names, such as example.net. Unset: the driver finds the closest "
    "zone at or above the suffix on the server.",
)

Z = TypeVar("Z", bound=Hashable)


class Zones(Generic[Z]):
    """Group names by zone, and cache the zones.

    Args:
        configured: names of the zones; if empty, they are searched.
        suffix: the operator's suffix. For a name below it, the search starts at the suffix,
            because the labels before it are a tenant's domain. For other names (shared names, or
            names below a former suffix) it starts at the parent.
        find: returns the server's id of a zone, or None if the zone does not exist. It is called
            for each name up to the root.
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
        """Return the names of each zone.

        Raises:
            PermanentError: a name has no zone; the message has the name.
        """
        found: dict[Z, list[str]] = {}
        for name in names:
            found.setdefault(self.of(name), []).append(name)
        return found

    def of(self, name: str) -> Z:
        """Return the zone of a name.

        Raises:
            PermanentError: it has no zone.
        """
        candidates = self._candidates(canonical(name))
        for candidate in candidates:
            zone = self._known.get(candidate)
            if zone is None:
                zone = self._find(candidate)
            if zone is not None:
                self._known[candidates[0]] = zone
                return zone
        tried = f"tried {candidates[0]} and its parents" if candidates else "see option zones"
        raise PermanentError(f"The DNS server has no zone for {name} ({tried})")

    def forget(self) -> None:
        """Clear the cache: a zone may have been created again with another id."""
        self._known.clear()

    def _candidates(self, name: str) -> list[str]:
        """Return possible zones, the most likely first."""
        if self._configured:
            above = [zone for zone in self._configured if is_within(name, zone)]
            return sorted(above, key=len, reverse=True)[:1]
        is_below = is_within(name, self._suffix)
        return list(ancestors(self._suffix if is_below else name.partition(".")[2]))


def ancestors(name: str) -> Iterator[str]:
    """Yield a name and its parents, without the root."""
    while name:
        yield name
        name = name.partition(".")[2]


def is_within(name: str, zone: str) -> bool:
    """Return whether a name is the zone's apex or below it."""
    return name == zone or name.endswith(f".{zone}")


def canonical(name: str) -> str:
    """Return a name in lower case, without a trailing dot."""
    return name.strip().rstrip(".").lower()
