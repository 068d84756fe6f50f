# SPDX-License-Identifier: Apache-2.0
"""Contract: flavors."""

import pytest

from poppy.common import errors
from poppy.storage.base import Storage
from poppy.testing.builders import make_flavor, make_service
from poppy.testing.storage.case import Connect, StorageCase, add, create, failures, race, remove


class FlavorContract(StorageCase):
    """Flavors are created once, listed in order, and kept while a service uses them."""

    def test_flavor_is_read_back_as_created(self, storage: Storage) -> None:
        flavor = make_flavor("fast", providers=("mock", "edge"))
        storage.flavors.create(flavor)
        assert storage.flavors.get("fast") == flavor

    def test_flavor_of_any_script_is_read_back_as_created(self, storage: Storage) -> None:
        flavor = make_flavor("schnell-🚀-سريع-e\u0301", providers=("mück", "模拟"))
        storage.flavors.create(flavor)
        assert storage.flavors.get(flavor.flavor_id) == flavor
        assert storage.flavors.list() == [flavor]

    def test_unknown_flavor_is_not_found(self, storage: Storage) -> None:
        with pytest.raises(errors.NotFound):
            storage.flavors.get("fast")

    def test_new_store_has_no_flavors(self, storage: Storage) -> None:
        assert list(storage.flavors.list()) == []

    def test_flavors_are_listed_by_id(self, storage: Storage) -> None:
        for flavor_id in ("b", "ab", "B", "a-c", "a", "é"):
            storage.flavors.create(make_flavor(flavor_id))
        listed = [flavor.flavor_id for flavor in storage.flavors.list()]
        assert listed == ["B", "a", "a-c", "ab", "b", "é"]

    def test_second_flavor_with_an_id_is_refused(self, storage: Storage) -> None:
        first = make_flavor("fast", providers=("mock",))
        storage.flavors.create(first)
        with pytest.raises(errors.InvalidRequest):
            storage.flavors.create(make_flavor("fast", providers=("edge",)))
        assert storage.flavors.get("fast") == first

    def test_only_one_of_several_concurrent_creates_of_a_flavor_succeeds(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        outcomes = race(connect_again, [lambda s: s.flavors.create(make_flavor("fast"))] * 4)
        assert len(failures(outcomes)) == 3
        assert all(isinstance(error, errors.InvalidRequest) for error in failures(outcomes))
        assert len(storage.flavors.list()) == 1

    def test_deleted_flavor_is_gone(self, storage: Storage) -> None:
        storage.flavors.create(make_flavor("fast"))
        storage.flavors.create(make_flavor("slow"))
        storage.flavors.delete("fast")
        with pytest.raises(errors.NotFound):
            storage.flavors.get("fast")
        assert storage.flavors.list() == [make_flavor("slow")]

    def test_deleting_an_unknown_flavor_is_not_found(self, storage: Storage) -> None:
        storage.flavors.create(make_flavor("fast"))
        storage.flavors.delete("fast")
        with pytest.raises(errors.NotFound):
            storage.flavors.delete("fast")

    def test_flavor_in_use_can_not_be_deleted(self, stocked: Storage) -> None:
        service = add(stocked)
        with pytest.raises(errors.InUse):
            stocked.flavors.delete(service.spec.flavor_id)
        assert stocked.flavors.get(service.spec.flavor_id) == make_flavor()

    def test_flavor_can_be_deleted_once_no_service_uses_it(self, stocked: Storage) -> None:
        remove(stocked, add(stocked))
        stocked.flavors.delete(make_flavor().flavor_id)
        assert list(stocked.flavors.list()) == []

    def test_flavor_of_a_concurrent_create_is_not_deleted(
        self, storage: Storage, connect_again: Connect
    ) -> None:
        for turn in range(4):
            check_creation_against_deletion(storage, connect_again, f"flavor-{turn}")


def check_creation_against_deletion(storage: Storage, connect: Connect, flavor_id: str) -> None:
    """Race the first service of a flavor with the flavor's deletion: one of them is refused."""
    storage.flavors.create(make_flavor(flavor_id))
    service = make_service(flavor_id=flavor_id)
    created, deleted = race(
        connect, [lambda s: create(s, service), lambda s: s.flavors.delete(flavor_id)]
    )
    if created is None:
        assert isinstance(deleted, errors.InUse)
    else:
        assert isinstance(created, errors.InvalidRequest)
        assert deleted is None
