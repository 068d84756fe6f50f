# SPDX-License-Identifier: Apache-2.0
"""Flavors: what a tenant can choose, each a list of CDN providers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Geography:
    """Where the clients are that a provider is for.

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
        urls: the addresses of its public pages, in order.
        weight: its share of the clients, in relation to the others'; None where the flavor has
            no weights.
        geography: where the clients are that it is for; None for everywhere.
    """

    provider: str
    urls: tuple[str, ...]
    weight: int | None = None
    geography: Geography | None = None

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """From an entry of ``providers``."""
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
        """The entry of ``providers``, without what is not set."""
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
    """A named choice of providers; services name it, operators define it."""

    flavor_id: str
    providers: tuple[FlavorProvider, ...]

    @property
    def provider_names(self) -> tuple[str, ...]:
        """The providers, in the operator's order of preference."""
        return tuple(entry.provider for entry in self.providers)

    @property
    def steers_by_geography(self) -> bool:
        """Whether a name leads to several providers, by where the client is."""
        return len(self.providers) > 1 and any(it.geography is not None for it in self.providers)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """From a document that the flavor schema accepts; its ``limits`` are not kept."""
        return cls(
            flavor_id=document["id"],
            providers=tuple(map(FlavorProvider.from_dict, document["providers"])),
        )

    def to_dict(self) -> dict[str, Any]:
        """The document that :meth:`from_dict` reads."""
        return {
            "id": self.flavor_id,
            "providers": [entry.to_dict() for entry in self.providers],
        }
