# SPDX-License-Identifier: Apache-2.0
"""Flavors: choices of providers that the operator defines."""

from collections.abc import Mapping, Sequence

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.dns.steering import Steering
from poppy.model import validation
from poppy.model.flavors import Flavor
from poppy.provider.base import Capability, Provider
from poppy.storage.base import Storage


class FlavorsManager:
    """Create, read and delete flavors."""

    def __init__(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> None:
        self._storage = storage
        self._providers = providers
        self._dns = dns

    def create(self, document: object) -> Flavor:
        """Define a flavor.

        Raises:
            InvalidRequest: as for :meth:`check`, or the id is taken.
        """
        flavor = self.check(document)
        self._storage.flavors.create(flavor)
        return flavor

    def check(self, document: object) -> Flavor:
        """Return the flavor that a document defines, without storing it.

        Raises:
            InvalidRequest: the document is invalid, names a provider that is not loaded, or needs
                steering that the DNS driver does not support; the message names it.
        """
        flavor = validation.flavor(document)
        for name in flavor.provider_names:
            if name not in self._providers:
                known = ", ".join(sorted(self._providers)) or "none"
                raise errors.InvalidRequest(f"Provider '{name}' is not loaded (loaded: {known})")
        for need, needed in (
            (Steering.WEIGHTS, any(it.weight is not None for it in flavor.providers)),
            (Steering.GEOGRAPHY, any(it.geography is not None for it in flavor.providers)),
        ):
            if needed and need not in self._dns.steering:
                raise errors.InvalidRequest(
                    f"The DNS driver '{self._dns.name}' can't answer by {need} as it is configured"
                )
        return flavor

    def get(self, flavor_id: str) -> Flavor:
        """Read a flavor.

        Raises:
            NotFound: there is no flavor with this id.
        """
        return self._storage.flavors.get(flavor_id)

    def capabilities(self, flavor: Flavor) -> Sequence[Capability]:
        """Return what all loaded providers of a flavor support, sorted by key."""
        known = (self._providers.get(name) for name in flavor.provider_names)
        loaded = [provider.supports for provider in known if provider is not None]
        common = frozenset.intersection(*loaded) if loaded else frozenset()
        return sorted(common, key=lambda it: it.key)

    def list(self) -> Sequence[Flavor]:
        """Return all flavors, sorted by id."""
        return self._storage.flavors.list()

    def delete(self, flavor_id: str) -> None:
        """Delete a flavor.

        Raises:
            NotFound: there is no flavor with this id.
            InUse: a service uses it.
        """
        self._storage.flavors.delete(flavor_id)
