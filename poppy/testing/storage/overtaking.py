# SPDX-License-Identifier: Apache-2.0
"""Contract: operations that overtake a waiting create or update."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.lifecycle import Run
from poppy.model.operations import Kind, Operation, State
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import after
from poppy.testing.storage.case import (
    Connect,
    StorageCase,
    add,
    begin,
    failures,
    finish,
    first_operation,
    is_free,
    race,
    settle,
    submit,
)

passing = pytest.mark.parametrize("kind", [Kind.PURGE, Kind.DISABLE, Kind.STEER])


class OvertakingContract(StorageCase):
    """A waiting create or update blocks nothing, and an update supersedes it."""

    def test_update_supersedes_a_waiting_create(self, stocked: Storage) -> None:
        service = add(stocked)
        waiting = park(stocked, first_operation(stocked, service))
        update = submit(stocked, service)
        assert state(stocked, waiting) == (State.SUPERSEDED, None)
        assert begin(stocked, update).operation.state is State.RUNNING

    def test_update_supersedes_a_waiting_update(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service))
        update = submit(stocked, stored(stocked, service))
        assert state(stocked, waiting) == (State.SUPERSEDED, None)
        assert [it.key for it in stocked.operations.due(after(3600), 10)] == [update.key]

    def test_update_supersedes_a_waiting_update_that_is_being_posted(
        self, stocked: Storage
    ) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service))
        assert stocked.operations.requeue(waiting, after(90))
        update = submit(stocked, stored(stocked, service))
        assert state(stocked, waiting) == (State.SUPERSEDED, None)
        assert begin(stocked, update).operation.attempt == 1

    def test_superseded_waiting_operation_is_finished(self, stocked: Storage) -> None:
        service = add(stocked)
        waiting = park(stocked, first_operation(stocked, service))
        submit(stocked, service)
        ended = stocked.operations.get(waiting.key)
        assert not ended.is_held
        for runner in ("job-1", "job-2"):
            with pytest.raises(errors.NotRunnable):
                begin(stocked, waiting, runner, now=after(3600))
        assert not stocked.operations.requeue(waiting, after(90))
        late = replace(waiting, state=State.SUCCEEDED)
        with pytest.raises(errors.Fenced) as caught:
            stocked.operations.save(late, {})
        assert not isinstance(caught.value, errors.Superseded)
        assert stocked.operations.get(waiting.key) == ended

    def test_refused_update_supersedes_nothing(self, stocked: Storage) -> None:
        service = add(stocked)
        add(stocked, domains=["taken.example.com"])
        waiting = park(stocked, first_operation(stocked, service))
        taken = replace(service, spec=replace(service.spec, flavor_id="no-such"))
        with pytest.raises(errors.InvalidRequest):
            submit(stocked, taken)
        with pytest.raises(errors.Changed):
            submit(stocked, replace(service, revision=service.revision + 7))
        assert stocked.operations.get(waiting.key) == waiting

    @passing
    def test_other_operations_supersede_nothing(self, stocked: Storage, kind: Kind) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service))
        other = submit(stocked, stored(stocked, service), kind)
        begin(stocked, other)
        assert stocked.operations.get(waiting.key) == waiting

    @passing
    def test_other_operations_run_while_an_update_waits(
        self, stocked: Storage, kind: Kind
    ) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service))
        other = submit(stocked, stored(stocked, service), kind)
        run = begin(stocked, other)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, waiting, "job-2", now=after(3600))
        assert finish(stocked, run.operation) is None
        assert stocked.operations.get(waiting.key) == waiting
        assert begin(stocked, waiting, "job-2", now=after(3600)).operation.attempt == 2

    def test_purge_waits_for_an_update_that_runs_or_is_queued(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        update = submit(stocked, service)
        purge = submit(stocked, stored(stocked, service), Kind.PURGE)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, purge)
        waiting = park(stocked, update)
        assert stocked.operations.requeue(waiting, after(90))
        with pytest.raises(errors.NotRunnable):
            begin(stocked, purge)
        begin(stocked, update, "job-1", now=after(90))
        with pytest.raises(errors.NotRunnable):
            begin(stocked, purge)

    @pytest.mark.parametrize("kind", [Kind.PURGE, Kind.DISABLE, Kind.STEER, Kind.DELETE])
    def test_other_waiting_operations_are_not_overtaken(
        self, stocked: Storage, kind: Kind
    ) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service, kind))
        for later in (Kind.UPDATE, Kind.PURGE):
            operation = submit(stocked, stored(stocked, service), later)
            with pytest.raises(errors.NotRunnable):
                begin(stocked, operation, "job-2")
        assert stocked.operations.get(waiting.key) == waiting

    def test_purge_is_due_when_the_update_before_it_waits(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        run = begin(stocked, submit(stocked, service))
        purge = submit(stocked, stored(stocked, service), Kind.PURGE, next_attempt_at=after(600))
        parked = waiting_from(run.operation)
        following = stocked.operations.save(parked, None)
        assert following == replace(purge, next_attempt_at=parked.updated_at)
        assert list(stocked.operations.due(parked.updated_at, 10)) == [following]

    def test_end_of_a_purge_does_not_wake_a_waiting_update(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service))
        purges = [submit(stocked, stored(stocked, service), Kind.PURGE) for _ in range(2)]
        following = finish(stocked, begin(stocked, purges[0]).operation)
        assert following is not None
        assert following.key == purges[1].key
        assert finish(stocked, begin(stocked, purges[1]).operation) is None
        assert stocked.operations.get(waiting.key) == waiting

    def test_waiting_purge_wakes_nothing(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        first, second = (submit(stocked, stored(stocked, service), Kind.PURGE) for _ in range(2))
        parked = waiting_from(begin(stocked, first).operation)
        assert stocked.operations.save(parked, None) is None
        assert stocked.operations.get(second.key) == second

    def test_update_requested_during_a_create_supersedes_it_once_it_waits(
        self, stocked: Storage
    ) -> None:
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        update = submit(stocked, service)
        parked = waiting_from(run.operation)
        following = stocked.operations.save(parked, None)
        assert following is not None
        assert following.key == update.key
        begin(stocked, update)
        assert state(stocked, parked) == (State.SUPERSEDED, None)

    def test_dropped_domain_stays_claimed_until_the_later_update_succeeds(
        self, stocked: Storage
    ) -> None:
        service = settle(stocked, add(stocked, domains=["a.example.com"]))
        pair = add_domain(service, "typo.example.com")
        park(stocked, submit(stocked, pair))
        update = submit(stocked, replace(stored(stocked, service), spec=service.spec))
        assert not is_free(stocked, "typo.example.com")
        run = begin(stocked, update)
        assert not is_free(stocked, "typo.example.com")
        finish(stocked, run.operation)
        assert is_free(stocked, "typo.example.com")
        assert not is_free(stocked, "a.example.com")

    def test_success_before_a_queued_update_releases_nothing_behind_a_purge(
        self, stocked: Storage
    ) -> None:
        service = add(stocked, domains=["a.example.com", "b.example.com"])
        run = begin(stocked, first_operation(stocked, service))
        submit(stocked, service, Kind.PURGE)
        kept = stored(stocked, service)
        kept = replace(kept, spec=replace(kept.spec, domains=kept.spec.domains[:1]))
        submit(stocked, kept)
        finish(stocked, run.operation)
        assert not is_free(stocked, "b.example.com")

    def test_delete_supersedes_a_waiting_update_and_later_operations(
        self, stocked: Storage
    ) -> None:
        service = settle(stocked, add(stocked))
        waiting = park(stocked, submit(stocked, service))
        purge = submit(stocked, stored(stocked, service), Kind.PURGE)
        run = begin(stocked, purge)
        submit(stocked, stored(stocked, service), Kind.DELETE)
        assert state(stocked, waiting) == (State.SUPERSEDED, None)
        assert stocked.operations.get(run.operation.key).is_held

    def test_concurrent_update_and_next_run_leave_a_consistent_state(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        for _ in range(4):
            check_update_against_the_next_run(stocked, connect_again)

    def test_purge_and_next_run_of_a_waiting_update_do_not_overlap(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        for _ in range(4):
            check_purge_against_the_next_run(stocked, connect_again)


def check_update_against_the_next_run(storage: Storage, connect: Connect) -> None:
    """Race an update with a worker that begins the earlier, waiting update."""
    service = settle(storage, add(storage))
    waiting = park(storage, submit(storage, service))
    service = stored(storage, service)
    begun, update = race(
        connect,
        [
            lambda s: begin(s, waiting, "job-2", now=after(60), until=after(90)),
            lambda s: submit(s, service),
        ],
    )
    assert isinstance(update, Operation)
    if isinstance(begun, Run):
        # It runs first; the update supersedes it if it waits again.
        with pytest.raises(errors.NotRunnable):
            begin(storage, update, "job-3", now=after(61))
        following = storage.operations.save(waiting_from(begun.operation), None)
        assert following is not None
        assert following.key == update.key
    else:
        assert isinstance(begun, errors.NotRunnable)
    assert begin(storage, update, "job-3", now=after(61)).operation.attempt == 1
    assert state(storage, waiting) == (State.SUPERSEDED, None)


def check_purge_against_the_next_run(storage: Storage, connect: Connect) -> None:
    """Race a purge with a worker that begins the earlier, waiting update."""
    service = settle(storage, add(storage))
    waiting = park(storage, submit(storage, service))
    purge = submit(storage, stored(storage, service), Kind.PURGE)
    outcomes = race(
        connect,
        [
            lambda s: begin(s, waiting, "job-1", now=after(60), until=after(90)),
            lambda s: begin(s, purge, "job-2", now=after(60), until=after(90)),
        ],
    )
    (run,) = [it for it in outcomes if isinstance(it, Run)]
    assert [type(error) for error in failures(outcomes)] == [errors.NotRunnable]
    (other,) = {waiting.key, purge.key} - {run.operation.key}
    finish(storage, run.operation)
    assert storage.operations.begin(other, "job-3", after(60), after(90))


def park(storage: Storage, operation: Operation) -> Operation:
    """Begin a run and park it until ``after(60)``; return the stored operation."""
    parked = waiting_from(begin(storage, operation).operation)
    storage.operations.save(parked, None)
    return storage.operations.get(parked.key)


def waiting_from(run: Operation) -> Operation:
    """Park a run."""
    return replace(
        run, state=State.WAITING, error="a record is missing", next_attempt_at=after(60)
    )


def state(storage: Storage, operation: Operation) -> tuple[State, object]:
    """Return the operation's state, and when it is due."""
    now = storage.operations.get(operation.key)
    return now.state, now.next_attempt_at


def stored(storage: Storage, service: Service) -> Service:
    """Return the stored service."""
    return storage.services.get(service.project_id, service.service_id)


def add_domain(service: Service, name: str) -> Service:
    """Return the service with one more domain."""
    first = service.spec.domains[0]
    domains = (*service.spec.domains, replace(first, domain=name))
    return replace(service, spec=replace(service.spec, domains=domains))
