# SPDX-License-Identifier: Apache-2.0
"""What a service's VCL says about itself, in a comment: so a node needs no database beside it."""

import json
from dataclasses import dataclass
from typing import NamedTuple, Self

_MARK = "# poppy "
_MAX_PURGES = 50


class SoftPurge(NamedTuple):
    """Objects fetched before ``generation`` that match are stale; all, when ``url`` is None."""

    generation: int
    url: str | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a service's VCL says about itself, for whoever finds it on a node.

    Attributes:
        service_id: of the service.
        domains: that it serves.
        generation: the mark it puts on what it fetches; grows with each soft purge.
        purges: the soft purges that may still concern an object.
    """

    service_id: str
    domains: tuple[str, ...]
    generation: int = 1
    purges: tuple[SoftPurge, ...] = ()

    def purged(self, url: str | None, now: int) -> Self:
        """After one more soft purge.

        Args:
            now: seconds since the epoch: keeps generations growing even where the VCL was lost
                and with it the last number.
        """
        generation = max(self.generation + 1, now)
        purges = [purge for purge in self.purges if url is not None and purge.url != url]
        # One for everything takes the place of many: more is revalidated than was asked for.
        entry = SoftPurge(generation, url if len(purges) < _MAX_PURGES else None)
        kept = (*purges, entry) if entry.url is not None else (entry,)
        return type(self)(self.service_id, self.domains, generation, kept)

    def folded(self) -> Self:
        """With one soft purge of everything instead of all those of single URLs."""
        entry = SoftPurge(max(purge.generation for purge in self.purges), None)
        return type(self)(self.service_id, self.domains, self.generation, (entry,))

    def to_comment(self) -> str:
        """One line of VCL."""
        document = {
            "service": self.service_id,
            "domains": self.domains,
            "generation": self.generation,
            "purges": self.purges,
        }
        return _MARK + json.dumps(document).replace("\x7f", "\\u007f") + "\n"

    @classmethod
    def from_vcl(cls, text: str) -> Self:
        """From a VCL's text.

        Raises:
            ValueError: there is no such line, or it is not ours.
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
            raise ValueError("the VCL does not say which service it is of") from exc
