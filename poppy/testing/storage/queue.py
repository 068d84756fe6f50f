# SPDX-License-Identifier: Apache-2.0
"""Contract: reading operations, and finding and taking due ones."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.operations import Kind, State
from poppy.storage.base import Storage
from poppy.testing.builders import NOW, after, make_operation, make_service
from poppy.testing.storage.case import (
    LIMIT,
    Connect,
    StorageCase,
    add,
    begin,
    each,
    finish,
    first_operation,
    race,
    settle,
    submit,
)


class QueueContract(StorageCase):
    """Unfinished operations are found when they are due, and one dispatcher takes each."""

    def test_unknown_operation_is_not_found(self, stocked: Storage) -> None:
        service = add(stocked)
        with pytest.raises(errors.NotFound):
            stocked.operations.get(make_operation(service).key)

    def test_operation_of_another_project_is_not_found(self, stocked: Storage) -> None:
        key = first_operation(stocked, add(stocked)).key
        with pytest.raises(errors.NotFound):
            stocked.operations.get(key._replace(project_id="another"))
        assert list(stocked.operations.list("another", key.service_id)) == []

    def test_operations_of_a_service_are_listed_by_id(self, stocked: Storage) -> None:
        service = make_service()
        older, newer = make_operation(service), make_operation(service)
        stocked.services.create(service, newer, LIMIT)
        stocked.services.submit(service, older)
        add(stocked)
        assert list(stocked.operations.list(service.project_id, service.service_id)) == [
            older,
            newer,
        ]

    def test_was_deleted_reports_a_deletion_as_the_latest_request(self, stocked: Storage) -> None:
        service = make_service()
        key = (service.project_id, service.service_id)
        assert not stocked.operations.was_deleted(*key)
        stocked.services.create(service, make_operation(service), LIMIT)
        assert not stocked.operations.was_deleted(*key)
        stocked.services.submit(service, make_operation(service, Kind.DELETE))
        assert stocked.operations.was_deleted(*key)

    def test_due_operations_come_longest_due_first_up_to_the_limit(self, stocked: Storage) -> None:
        moments = (after(-0.000001), after(-5), NOW, after(-60), after(0.000001))
        by_moment = {}
        for moment in moments:
            service = make_service()
            by_moment[moment] = make_operation(service, next_attempt_at=moment)
            stocked.services.create(service, by_moment[moment], LIMIT)
        expected = [by_moment[moment] for moment in sorted(moments)]
        assert list(stocked.operations.due(NOW, 10)) == expected[:4]
        assert list(stocked.operations.due(NOW, 2)) == expected[:2]
        assert list(stocked.operations.due(after(-61), 10)) == []

    def test_running_and_waiting_operations_become_due_too(self, stocked: Storage) -> None:
        running = begin(stocked, first_operation(stocked, add(stocked)), until=after(1))
        waiting = begin(stocked, first_operation(stocked, add(stocked))).operation
        waiting = replace(waiting, state=State.WAITING, next_attempt_at=after(2))
        stocked.operations.save(waiting, None)
        assert list(stocked.operations.due(after(0.9), 10)) == []
        assert list(stocked.operations.due(after(2), 10)) == [running.operation, waiting]

    @pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
    def test_finished_operation_is_never_due_again(self, stocked: Storage, state: State) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        assert run.operation.next_attempt_at is not None
        finish(stocked, run.operation, state)
        stored = stocked.operations.get(run.operation.key)
        assert (stored.state, stored.next_attempt_at) == (state, None)
        assert list(stocked.operations.due(after(10**6), 10)) == []

    def test_taken_operation_is_not_due_until_its_job_counts_as_lost(
        self, stocked: Storage
    ) -> None:
        add(stocked)
        (operation,) = stocked.operations.due(after(60), 10)
        assert stocked.operations.requeue(operation, after(120))
        assert list(stocked.operations.due(after(119), 10)) == []
        assert list(stocked.operations.due(after(120), 10)) == [
            replace(operation, next_attempt_at=after(120))
        ]

    def test_operation_is_taken_once(self, stocked: Storage) -> None:
        operation = first_operation(stocked, add(stocked))
        assert stocked.operations.requeue(operation, after(120))
        assert not stocked.operations.requeue(operation, after(180))
        assert stocked.operations.get(operation.key).next_attempt_at == after(120)

    def test_only_one_of_several_concurrent_dispatchers_takes_an_operation(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        operation = first_operation(stocked, add(stocked))
        outcomes = race(
            connect_again,
            each(lambda s, n: s.operations.requeue(operation, after(120 + n)), range(8)),
        )
        assert sorted(outcomes) == [False] * 7 + [True]
        taken = stocked.operations.get(operation.key)
        assert taken.next_attempt_at == after(120 + outcomes.index(True))

    def test_waiting_operation_that_is_taken_is_queued(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        waiting = replace(run.operation, state=State.WAITING, next_attempt_at=after(5))
        stocked.operations.save(waiting, None)
        assert stocked.operations.requeue(waiting, after(65))
        expected = replace(waiting, state=State.QUEUED, next_attempt_at=after(65))
        assert stocked.operations.get(waiting.key) == expected

    def test_running_operation_that_is_taken_is_queued(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        assert stocked.operations.requeue(run.operation, after(90))
        stored = stocked.operations.get(run.operation.key)
        assert (stored.state, stored.next_attempt_at) == (State.QUEUED, after(90))
        assert stored.crashes == 1

    def test_operation_begun_since_it_was_read_is_not_taken(self, stocked: Storage) -> None:
        operation = first_operation(stocked, add(stocked))
        run = begin(stocked, operation, until=operation.next_attempt_at)
        assert not stocked.operations.requeue(operation, after(90))
        assert stocked.operations.get(operation.key) == run.operation

    def test_run_taken_over_since_it_was_read_is_not_taken(self, stocked: Storage) -> None:
        lost = begin(stocked, first_operation(stocked, add(stocked)), until=after(30)).operation
        run = begin(stocked, lost, until=after(30))
        assert not stocked.operations.requeue(lost, after(90))
        assert stocked.operations.get(lost.key) == run.operation

    def test_run_that_renewed_since_it_was_read_is_not_taken(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        stocked.operations.renew(run.operation.key, run.operation.attempt, after(45))
        assert not stocked.operations.requeue(run.operation, after(90))
        assert stocked.operations.get(run.operation.key).state is State.RUNNING

    def test_run_parked_until_the_same_moment_since_it_was_read_is_not_taken(
        self, stocked: Storage
    ) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), until=after(30))
        parked = replace(run.operation, state=State.WAITING)
        stocked.operations.save(parked, None)
        assert not stocked.operations.requeue(run.operation, after(90))
        assert stocked.operations.get(parked.key) == parked

    def test_operation_finished_since_it_was_read_is_not_taken(self, stocked: Storage) -> None:
        operation = first_operation(stocked, add(stocked))
        finish(stocked, begin(stocked, operation).operation)
        assert not stocked.operations.requeue(operation, after(90))
        assert list(stocked.operations.due(after(3600), 10)) == []

    def test_next_operation_is_due_when_the_earlier_one_ends(self, stocked: Storage) -> None:
        service = add(stocked)
        second = submit(stocked, service, next_attempt_at=after(600))
        run = begin(stocked, first_operation(stocked, service))
        done = replace(run.operation, state=State.SUCCEEDED, updated_at=after(10))
        following = stocked.operations.save(done, None)
        assert following is not None
        assert following.key == second.key
        assert list(stocked.operations.due(after(10), 10)) == [following]
        # save returns the stored operation, which a dispatcher can take unchanged.
        assert stocked.operations.requeue(following, after(90))

    def test_nothing_follows_the_last_operation(self, stocked: Storage) -> None:
        service = add(stocked)
        add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        assert stocked.operations.save(run.operation, None) is None
        assert finish(stocked, run.operation) is None

    def test_oldest_of_several_unfinished_operations_follows(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        queued = []
        for _ in range(3):
            queued.append(submit(stocked, service))
            service = stocked.services.get(service.project_id, service.service_id)
        following = finish(stocked, begin(stocked, queued[0]).operation, State.FAILED)
        assert following is not None
        assert following.key == queued[1].key
