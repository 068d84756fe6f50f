# SPDX-License-Identifier: Apache-2.0
"""Rotation of the keys that encrypt private keys in the store of the operator's own edge."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from poppy.distributed_task.renewals import update
from poppy.manager.edge_programs import published
from poppy.storage.base import Storage


@runtime_checkable
class Seals(Protocol):
    """A provider that keeps secrets in the store, encrypted by configured keys."""

    @property
    def key_ids(self) -> Sequence[str]:
        """The IDs of the keys; the first one encrypts."""
        ...

    def seal_accounts(self) -> Sequence[str]:
        """Encrypt accounts' keys with the first key; return the IDs of their previous keys."""
        ...


class Sealed(NamedTuple):
    """The keys that encrypt the secrets of a service.

    Attributes:
        key_ids: the number of secrets by the ID of the key.
    """

    project_id: str
    service_id: str
    key_ids: Mapping[str, int]


class Rotation(NamedTuple):
    """What a rotation has begun, and what is left.

    Attributes:
        updated: the services that are being updated.
        left: services with old secrets that are not updated, because they are not deployed.
    """

    updated: Sequence[Sealed]
    left: Sequence[Sealed]


class EdgeKeys:
    """Find what old keys encrypt, and have it encrypted again.

    A secret begins with the ID of its key, so no key is needed to count.

    Args:
        providers: by name.
    """

    def __init__(self, storage: Storage, providers: Mapping[str, object]) -> None:
        self._storage = storage
        self._seals = [it for it in providers.values() if isinstance(it, Seals)]

    @property
    def key_ids(self) -> list[str]:
        """The IDs of the configured keys, the one that encrypts first."""
        return [key_id for it in self._seals for key_id in it.key_ids]

    def usage(self) -> Mapping[str, int]:
        """Return how many secrets of services each key encrypts, by its ID."""
        found = Counter(dict.fromkeys(self.key_ids, 0))
        for sealed in self._sealed():
            found.update(sealed.key_ids)
        return found

    def rotate(self) -> Rotation:
        """Have everything encrypted with the first key that an older one encrypts.

        Services are updated, which publishes their certificates again.

        Raises:
            ConfigError: a key is missing.
            Unavailable: the store does not answer.
        """
        first = {it.key_ids[0] for it in self._seals if it.key_ids}
        for it in self._seals:
            it.seal_accounts()
        updated: list[Sealed] = []
        left: list[Sealed] = []
        for sealed in self._sealed():
            if sealed.key_ids.keys() <= first:
                continue
            done = update(self._storage, sealed.project_id, sealed.service_id)
            (updated if done else left).append(sealed)
        return Rotation(updated, left)

    def _sealed(self) -> Iterator[Sealed]:
        """Yield the services that have secrets. Their programs are in the log of the edge."""
        log = self._storage.edge
        for service_id, program in published(log):
            orders = log.orders(service_id)
            keys = [it.content["key"] for it in orders]
            keys += [it["key"] for it in program.get("certificates", ())]
            if keys:
                counted = Counter(key.partition(".")[0] for key in keys)
                yield Sealed(orders[0].project_id if orders else "", service_id, counted)
