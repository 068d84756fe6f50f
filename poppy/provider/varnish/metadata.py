# SPDX-License-Identifier: Apache-2.0
"""Metadata in a comment of a service's VCL, so that a node needs no database of its own."""

import json
from dataclasses import dataclass
from typing import NamedTuple, Self

_MARK = "# poppy "
_MAX_PURGES = 50


class SoftPurge(NamedTuple):
    """Matching objects fetched before ``generation`` are stale; all objects if ``url`` is None."""

    generation: int
    url: str | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata that a service's VCL on a node carries.

    Attributes:
        service_id: the service's ID.
        domains: the domains that it serves.
        generation: the mark on the objects that it fetches; grows with each soft purge.
        purges: the soft purges that may still apply to an object.
    """

    service_id: str
    domains: tuple[str, ...]
    generation: int = 1
    purges: tuple[SoftPurge, ...] = ()

    def purged(self, url: str | None, now: int) -> Self:
        """Return the metadata with one more soft purge.

        Args:
            now: seconds since the epoch. It keeps generations growing even if the VCL, and with it
                the last generation, was lost.
        """
        generation = max(self.generation + 1, now)
        purges = [purge for purge in self.purges if url is not None and purge.url != url]
        # Too many: one purge of everything replaces them. It revalidates more than requested.
        entry = SoftPurge(generation, url if len(purges) < _MAX_PURGES else None)
        kept = (*purges, entry) if entry.url is not None else (entry,)
        return type(self)(self.service_id, self.domains, generation, kept)

    def folded(self) -> Self:
        """Return the metadata with one soft purge of everything in place of all others."""
        entry = SoftPurge(max(purge.generation for purge in self.purges), None)
        return type(self)(self.service_id, self.domains, self.generation, (entry,))

    def to_comment(self) -> str:
        """Return the metadata as a line of VCL."""
        document = {
            "service": self.service_id,
            "domains": self.domains,
            "generation": self.generation,
            "purges": self.purges,
        }
        return _MARK + json.dumps(document).replace("\x7f", "\\u007f") + "\n"

    @classmethod
    def from_vcl(cls, text: str) -> Self:
        """Read the metadata from the text of a VCL.

        Raises:
            ValueError: there is no such line, or it is malformed.
        """
        line = next((line for line in text.splitlines() if line.startswith(_MARK)), "")
        try:
            document = json.loads(line.removeprefix(_MARK))
            return cls(
                service_id=document["service"],
                domains=tuple(document["domains"]),
                generation=document["generation"],
                purges=tuple(SoftPurge(*entry) for entry in document["purges"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError("the VCL does not name its service") from exc
