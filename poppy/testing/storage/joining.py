# SPDX-License-Identifier: Apache-2.0
"""Contract: purges that join a purge that no worker has begun."""

from dataclasses import replace

import pytest

from poppy.model.operations import Kind, Operation, Priority, Purge, State
from poppy.model.purges import MAX_PATHS
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import after
from poppy.testing.storage.case import (
    Connect,
    StorageCase,
    add,
    begin,
    each,
    first_operation,
    race,
    settle,
    submit,
)


class JoiningContract(StorageCase):
    """A purge joins the last unfinished operation of its service if that has not begun."""

    def test_purge_joins_a_queued_purge(self, stocked: Storage) -> None:
        service, queued = waiting(stocked, Purge("/a", True))
        joined = join(stocked, service, Purge("/b", True))
        assert joined == replace(queued, purge=Purge("/a", True, ("/b",)))
        assert stocked.operations.get(queued.key) == joined
        assert join(stocked, service, Purge("/a", True)) == joined
        run = begin(stocked, queued)
        assert run.operation.purge == Purge("/a", True, ("/b",))

    def test_purge_of_everything_absorbs_paths(self, stocked: Storage) -> None:
        service, _queued = waiting(stocked, Purge("/a", False))
        for purge in (Purge(None, False), Purge("/b", False)):
            joined = join(stocked, service, purge)
            assert joined is not None
            assert joined.purge == Purge(None, False)

    def test_hard_and_soft_purges_stay_apart(self, stocked: Storage) -> None:
        service, queued = waiting(stocked, Purge("/a", True))
        assert join(stocked, service, Purge("/a", False)) is None
        assert stocked.operations.get(queued.key) == queued

    def test_number_of_paths_is_bounded(self, stocked: Storage) -> None:
        service, queued = waiting(stocked, Purge("/0", True))
        for number in range(1, MAX_PATHS):
            assert join(stocked, service, Purge(f"/{number}", True)) is not None
        assert join(stocked, service, Purge("/more", True)) is None
        found = stocked.operations.get(queued.key).purge
        assert found is not None
        assert [it.url for it in found.single()] == [f"/{number}" for number in range(MAX_PATHS)]

    def test_nothing_joins_a_purge_that_a_worker_has_begun(self, stocked: Storage) -> None:
        service, queued = waiting(stocked, Purge("/a", True))
        run = begin(stocked, queued)
        assert join(stocked, service, Purge("/b", True)) is None
        parked = replace(run.operation, state=State.WAITING, next_attempt_at=after(1))
        stocked.operations.save(parked, None)
        assert join(stocked, service, Purge("/b", True)) is None
        assert stocked.operations.requeue(parked, after(60))
        assert join(stocked, service, Purge("/b", True)) is None

    def test_nothing_joins_a_purge_with_a_later_operation(self, stocked: Storage) -> None:
        service, _queued = waiting(stocked, Purge("/a", True))
        submit(stocked, stocked.services.get(*service))
        assert join(stocked, service, Purge("/b", True)) is None

    @pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE, Kind.DELETE])
    def test_nothing_joins_an_operation_of_another_kind(
        self, stocked: Storage, kind: Kind
    ) -> None:
        service = add(stocked)
        if kind is not Kind.CREATE:
            submit(stocked, service, kind)
        key = (service.project_id, service.service_id)
        assert join(stocked, key, Purge("/b", True)) is None

    def test_there_is_nothing_to_join_without_service_or_operation(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        assert join(stocked, ("p", "s"), Purge("/b", True)) is None
        key = (service.project_id, service.service_id)
        assert join(stocked, key, Purge("/b", True)) is None
        _key, queued = waiting(stocked, Purge("/a", True))
        assert join(stocked, ("another", queued.service_id), Purge("/b", True)) is None

    def test_concurrent_joins_are_all_purged(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        service, queued = waiting(stocked, Purge("/0", True))
        outcomes = race(
            connect_again,
            each(lambda s, n: join(s, service, Purge(f"/{n}", True)), range(1, 7)),
        )
        assert all(isinstance(it, Operation) for it in outcomes)
        found = stocked.operations.get(queued.key).purge
        assert found is not None
        assert {it.url for it in found.single()} == {f"/{number}" for number in range(7)}

    def test_join_during_the_beginning_of_a_run_is_purged(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        service, queued = waiting(stocked, Purge("/a", True))
        joined, run = race(
            connect_again,
            [lambda s: join(s, service, Purge("/b", True)), lambda s: begin(s, queued)],
        )
        purge = run.operation.purge
        assert ("/b" in purge.more) is (joined is not None)


Key = tuple[str, str]


def waiting(storage: Storage, purge: Purge) -> tuple[Key, Operation]:
    """Create a settled service with a queued purge; return their key and the operation."""
    service: Service = settle(storage, add(storage))
    queued = submit(storage, service, Kind.PURGE, purge=purge, priority=Priority.PURGE)
    assert first_operation(storage, service).state is State.SUCCEEDED
    return (service.project_id, service.service_id), queued


def join(storage: Storage, service: Key, purge: Purge) -> Operation | None:
    """Join a purge to a queued one; return the joint operation, or None."""
    return storage.operations.join(*service, purge)
