# SPDX-License-Identifier: Apache-2.0
"""Flavors: named lists of CDN providers that tenants choose from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Geography:
    """The locations of the clients that a provider serves.

    Attributes:
        countries: ISO 3166-1 codes of two letters, in upper case.
        continents: AF, AN, AS, EU, NA, OC or SA.
    """

    countries: tuple[str, ...] = ()
    continents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlavorProvider:
    """A provider of a flavor.

    Attributes:
        urls: the URLs of its public pages, in order.
        weight: its share of the clients relative to the others; None if the flavor has no
            weights.
        geography: the locations of the clients that it serves; None for everywhere.
    """

    provider: str
    urls: tuple[str, ...]
    weight: int | None = None
    geography: Geography | None = None

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """Create a provider from an entry of ``providers``."""
        places = entry.get("geography")
        return cls(
            provider=entry["provider"],
            urls=tuple(link["href"] for link in entry["links"]),
            weight=entry.get("weight"),
            geography=places
            and Geography(
                countries=tuple(places.get("countries", ())),
                continents=tuple(places.get("continents", ())),
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of ``providers``, without unset fields."""
        entry: dict[str, Any] = {
            "provider": self.provider,
            "links": [{"href": url, "rel": "provider_url"} for url in self.urls],
        }
        if self.weight is not None:
            entry["weight"] = self.weight
        if self.geography is not None:
            places = {
                "countries": list(self.geography.countries),
                "continents": list(self.geography.continents),
            }
            entry["geography"] = {name: codes for name, codes in places.items() if codes}
        return entry


@dataclass(frozen=True, slots=True)
class Flavor:
    """A choice of providers that operators define and services name."""

    flavor_id: str
    providers: tuple[FlavorProvider, ...]

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The names of the providers, in the operator's order of preference."""
        return tuple(entry.provider for entry in self.providers)

    @property
    def steers_by_geography(self) -> bool:
        """Whether the client's location decides between several providers."""
        return len(self.providers) > 1 and any(it.geography is not None for it in self.providers)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Create a flavor from a valid document; its ``limits`` are ignored."""
        return cls(
            flavor_id=document["id"],
            providers=tuple(map(FlavorProvider.from_dict, document["providers"])),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the document that :meth:`from_dict` reads."""
        return {
            "id": self.flavor_id,
            "providers": [entry.to_dict() for entry in self.providers],
        }
