# SPDX-License-Identifier: Apache-2.0
"""Contract: the end of a delete, and the store as a whole."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.operations import Kind, State
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import PROJECT_ID, after, make_flavor
from poppy.testing.storage.case import (
    Connect,
    StorageCase,
    add,
    begin,
    failures,
    first_operation,
    is_free,
    race,
    remove,
    submit,
)


class RemovalContract(StorageCase):
    """A removed service keeps its operations and no longer counts towards the limit."""

    def test_removed_service_is_gone(self, stocked: Storage) -> None:
        kept, gone = add(stocked), add(stocked)
        remove(stocked, gone)
        with pytest.raises(errors.NotFound):
            stocked.services.get(gone.project_id, gone.service_id)
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == [kept]

    def test_operations_of_a_removed_service_stay_readable(self, stocked: Storage) -> None:
        service = add(stocked)
        done = remove(stocked, service)
        assert stocked.operations.get(done.key) == done
        listed = stocked.operations.list(service.project_id, service.service_id)
        assert [operation.state for operation in listed] == [State.SUPERSEDED, State.SUCCEEDED]
        assert list(stocked.operations.due(after(10**6), 10)) == []

    def test_domains_of_a_removed_service_are_free(self, stocked: Storage) -> None:
        add(stocked, domains=["other.example.com"])
        service = add(stocked, domains=["a.example.com", "b.example.com"])
        dropped = replace(service, spec=replace(service.spec, domains=service.spec.domains[:1]))
        submit(stocked, dropped)
        remove(stocked, stocked.services.get(service.project_id, service.service_id))
        assert is_free(stocked, "a.example.com")
        assert is_free(stocked, "b.example.com")
        assert not is_free(stocked, "other.example.com")

    def test_removed_service_does_not_count_towards_the_limit(self, stocked: Storage) -> None:
        service = add(stocked, limit=1)
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=1)
        remove(stocked, service)
        add(stocked, limit=1)
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=1)

    def test_service_is_removed_once(self, stocked: Storage) -> None:
        add(stocked, limit=2)
        done = remove(stocked, add(stocked, limit=2))
        with pytest.raises(errors.Fenced):
            stocked.operations.remove(done)
        add(stocked, limit=2)
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=2)

    def test_fenced_run_removes_nothing(self, stocked: Storage) -> None:
        service = add(stocked, limit=1, domains=["a.example.com"])
        run = begin(stocked, submit(stocked, service, Kind.DELETE))
        again = begin(stocked, run.operation)
        with pytest.raises(errors.Fenced):
            stocked.operations.remove(replace(run.operation, state=State.SUCCEEDED))
        assert stocked.services.get(service.project_id, service.service_id) == again.service
        assert stocked.operations.get(run.operation.key) == again.operation
        assert not is_free(stocked, "a.example.com")
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=1)

    def test_only_one_of_several_concurrent_removals_counts(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        services = [add(stocked, limit=3) for _ in range(3)]
        run = begin(stocked, submit(stocked, services[0], Kind.DELETE))
        done = replace(run.operation, state=State.SUCCEEDED)
        outcomes = race(connect_again, [lambda s: s.operations.remove(done)] * 4)
        assert [type(error) for error in failures(outcomes)] == [errors.Fenced] * 3
        add(stocked, limit=3)
        with pytest.raises(errors.LimitReached):
            add(stocked, limit=3)

    def test_operation_queued_behind_the_delete_is_superseded(self, stocked: Storage) -> None:
        service = add(stocked)
        run = begin(stocked, submit(stocked, service, Kind.DELETE))
        late = submit(stocked, run.service)
        stocked.operations.remove(replace(run.operation, state=State.SUCCEEDED))
        assert stocked.operations.get(late.key).state is State.SUPERSEDED
        assert list(stocked.operations.due(after(10**6), 10)) == []
        with pytest.raises(errors.NotRunnable):
            begin(stocked, late)

    def test_removals_and_creates_of_the_same_domain_do_not_block_each_other(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        service = add(stocked, domains=["a.example.com"])
        run = begin(stocked, submit(stocked, service, Kind.DELETE))
        done = replace(run.operation, state=State.SUCCEEDED)
        outcomes = race(
            connect_again,
            [
                lambda s: s.operations.remove(done),
                *[lambda s: add(s, domains=["a.example.com"])] * 3,
            ],
        )
        assert outcomes[0] is None
        assert {type(error) for error in failures(outcomes)} <= {errors.DomainTaken}
        created = [outcome for outcome in outcomes if isinstance(outcome, Service)]
        assert len(created) <= 1
        assert list(stocked.services.list(PROJECT_ID, None, 10)) == created


class StoreContract(StorageCase):
    """The store as a whole: schema, health, connections."""

    def test_sync_can_be_repeated(self, stocked: Storage) -> None:
        service = add(stocked)
        stocked.sync()
        stocked.check()
        version = stocked.version()
        assert version.stored == version.needed
        assert stocked.services.get(service.project_id, service.service_id) == service

    def test_store_that_answers_is_alive(self, storage: Storage) -> None:
        assert storage.is_alive() is True

    def test_store_can_be_used_after_it_was_closed(self, stocked: Storage) -> None:
        service = add(stocked)
        stocked.close()
        stocked.close()
        assert stocked.services.get(service.project_id, service.service_id) == service
        assert stocked.is_alive() is True

    def test_one_driver_reads_what_another_has_written(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        other = connect_again()
        try:
            service = add(stocked)
            assert other.services.get(service.project_id, service.service_id) == service
            operation = begin(other, first_operation(other, service)).operation
            assert stocked.operations.get(operation.key) == operation
            assert stocked.flavors.list() == [make_flavor()]
        finally:
            other.close()
