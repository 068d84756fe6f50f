# SPDX-License-Identifier: Apache-2.0
"""The contract of flavor storage."""

import abc
from collections.abc import Sequence

from poppy.model.flavors import Flavor


class FlavorStore(abc.ABC):
    """Store flavors."""

    @abc.abstractmethod
    def create(self, flavor: Flavor) -> None:
        """Store a flavor.

        Raises:
            InvalidRequest: the id is in use.
        """

    @abc.abstractmethod
    def get(self, flavor_id: str) -> Flavor:
        """Return a flavor.

        Raises:
            NotFound: there is no such flavor.
        """

    @abc.abstractmethod
    def list(self) -> Sequence[Flavor]:
        """Return all flavors, sorted by id."""

    @abc.abstractmethod
    def delete(self, flavor_id: str) -> None:
        """Delete a flavor that no service uses.

        Raises:
            NotFound: there is no such flavor.
            InUse: a service uses it.
        """
