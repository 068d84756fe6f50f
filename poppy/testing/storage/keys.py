# SPDX-License-Identifier: Apache-2.0
"""Contract: creation with an idempotency key."""

import datetime
from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.storage.services import IdempotencyKey
from poppy.testing.builders import PROJECT_ID, make_operation, make_service
from poppy.testing.storage.case import LIMIT, Connect, StorageCase, add, each, race, remove

_NOW = datetime.datetime.now(datetime.UTC)
KEY = IdempotencyKey("k-1", "a" * 64, _NOW + datetime.timedelta(days=1))
OTHER = KEY._replace(fingerprint="b" * 64)


def create(
    storage: Storage,
    service: Service,
    key: IdempotencyKey = KEY,
    limit: int = LIMIT,
    now: datetime.datetime = _NOW,
) -> None:
    """Create a service with a key."""
    operation = replace(make_operation(service), created_at=now)
    storage.services.create(service, operation, limit, key)


class KeyContract(StorageCase):
    """Repeated requests with the same key create one service."""

    def test_repeated_create_names_the_first_service_and_stores_nothing(
        self, stocked: Storage
    ) -> None:
        assert stocked.services.created_by(PROJECT_ID, KEY) is None
        first, second = make_service(), make_service()
        create(stocked, first)
        assert stocked.services.created_by(PROJECT_ID, KEY) == first.service_id
        # The limit and the domain are used up by then: a repetition needs neither.
        with pytest.raises(errors.Repeated) as caught:
            create(stocked, replace(second, spec=first.spec), limit=1)
        assert caught.value.service_id == first.service_id
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == [first]
        add(stocked, limit=2, domains=second.spec.domain_names)

    def test_key_of_another_request_is_refused(self, stocked: Storage) -> None:
        create(stocked, make_service())
        with pytest.raises(errors.KeyReused):
            create(stocked, make_service(), OTHER)
        with pytest.raises(errors.KeyReused):
            stocked.services.created_by(PROJECT_ID, OTHER)
        assert len(stocked.services.list(PROJECT_ID, None, 10)) == 1

    def test_keys_of_different_projects_are_independent(self, stocked: Storage) -> None:
        create(stocked, make_service())
        create(stocked, make_service(project_id="another"), OTHER)
        assert stocked.services.created_by("third", KEY) is None

    def test_refused_create_leaves_its_key_unused(self, stocked: Storage) -> None:
        taken = add(stocked)
        service = make_service(spec=taken.spec)
        with pytest.raises(errors.DomainTaken):
            create(stocked, service)
        with pytest.raises(errors.LimitReached):
            create(stocked, make_service(), limit=1)
        assert stocked.services.created_by(PROJECT_ID, KEY) is None
        create(stocked, make_service(), OTHER)

    def test_key_outlives_its_service(self, stocked: Storage) -> None:
        service = make_service()
        create(stocked, service)
        remove(stocked, service)
        assert stocked.services.created_by(PROJECT_ID, KEY) == service.service_id
        with pytest.raises(errors.Repeated):
            create(stocked, make_service())

    def test_expired_key_may_be_used_again(self, stocked: Storage) -> None:
        soon = KEY._replace(expires_at=_NOW + datetime.timedelta(seconds=1))
        create(stocked, make_service(), soon)
        self.let_expire()
        service = make_service()
        later = _NOW + datetime.timedelta(seconds=5)
        create(stocked, service, OTHER, now=later)
        assert stocked.services.created_by(PROJECT_ID, OTHER) == service.service_id

    def test_expired_key_names_no_service(self, stocked: Storage) -> None:
        old = KEY._replace(expires_at=_NOW - datetime.timedelta(seconds=1))
        create(stocked, make_service(), old)
        self.let_expire()
        assert stocked.services.created_by(PROJECT_ID, old) is None
        assert stocked.services.created_by(PROJECT_ID, OTHER) is None

    def let_expire(self) -> None:
        """Wait some seconds; for stores that use their own clock."""

    def test_only_one_of_several_concurrent_creates_with_one_key_succeeds(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        services = [make_service() for _ in range(6)]

        def attempt(storage: Storage, service: Service) -> str:
            try:
                create(storage, service)
            except errors.Repeated as exc:
                return exc.service_id
            except errors.Unavailable:
                return ""  # a repetition was faster
            return service.service_id

        told = set(race(connect_again, each(attempt, services))) - {""}
        (stored,) = stocked.services.list(PROJECT_ID, None, 10)
        assert told <= {stored.service_id}
        with pytest.raises(errors.Repeated):
            create(stocked, make_service())
