# SPDX-License-Identifier: Apache-2.0
"""Flavors: the operator's choice of providers."""

from collections.abc import Mapping, Sequence

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.dns.steering import Steering
from poppy.model import validation
from poppy.model.flavors import Flavor
from poppy.provider.base import Provider
from poppy.storage.base import Storage


class FlavorsManager:
    """Flavors."""

    def __init__(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> None:
        self._storage = storage
        self._providers = providers
        self._dns = dns

    def create(self, document: object) -> Flavor:
        """Define a flavor.

        Raises:
            InvalidRequest: as for :meth:`check`, or its id is taken.
        """
        flavor = self.check(document)
        self._storage.flavors.create(flavor)
        return flavor

    def check(self, document: object) -> Flavor:
        """The flavor that a document defines; nothing is stored.

        Raises:
            InvalidRequest: the document is invalid, or it names a provider that is not loaded,
                or asks for what the DNS driver can't do, which the message names.
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
            NotFound: there is none of that id.
        """
        return self._storage.flavors.get(flavor_id)

    def list(self) -> Sequence[Flavor]:
        """All flavors, by id."""
        return self._storage.flavors.list()

    def delete(self, flavor_id: str) -> None:
        """Remove a flavor.

        Raises:
            NotFound: there is none of that id.
            InUse: a service uses it.
        """
        self._storage.flavors.delete(flavor_id)
