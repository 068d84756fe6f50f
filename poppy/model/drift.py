# SPDX-License-Identifier: Apache-2.0
"""Drift: differences between a deployed service and what is at a provider or in DNS."""

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

#: The source of differences in DNS. No provider may have this name.
DNS = "dns"


class Drift(NamedTuple):
    """A difference that an audit has found and that is not repaired.

    Attributes:
        source: the provider's name, or ``dns``.
        message: how it differs, for tenants and operators.
        found_at: when the audit first found it, in UTC.
    """

    source: str
    message: str
    found_at: datetime.datetime

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document for storage."""
        return {**self._asdict(), "found_at": self.found_at.isoformat()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create it from the document of :meth:`to_dict`."""
        found_at = datetime.datetime.fromisoformat(document["found_at"])
        return cls(document["source"], document["message"], found_at)
