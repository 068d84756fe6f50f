# SPDX-License-Identifier: Apache-2.0
"""Flavors: what a tenant can choose, each a list of CDN providers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class FlavorProvider:
    """A provider of a flavor, with the addresses of its public pages, in order."""

    provider: str
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flavor:
    """A named choice of providers; services name it, operators define it."""

    flavor_id: str
    providers: tuple[FlavorProvider, ...]

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The providers, in the operator's order of preference."""
        return tuple(entry.provider for entry in self.providers)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From a document that the flavor schema accepts."""
        return cls(
            flavor_id=document["id"],
            providers=tuple(
                FlavorProvider(
                    provider=entry["provider"],
                    urls=tuple(link["href"] for link in entry["links"]),
                )
                for entry in document["providers"]
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """The document that :meth:`from_dict` reads."""
        return {
            "id": self.flavor_id,
            "providers": [
                {
                    "provider": entry.provider,
                    "links": [{"href": url, "rel": "provider_url"} for url in entry.urls],
                }
                for entry in self.providers
            ],
        }
