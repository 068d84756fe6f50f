# SPDX-License-Identifier: Apache-2.0
"""Contract: a delete that supersedes a run waits for the end of that run."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.lifecycle import Run
from poppy.model.operations import Kind, OperationKey, State
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import after
from poppy.testing.storage.case import (
    Connect,
    StorageCase,
    add,
    begin,
    finish,
    first_operation,
    race,
    submit,
)


class SupersedingContract(StorageCase):
    """Calls of a superseded run can't take effect after the delete."""

    def test_delete_waits_for_the_superseded_run(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, delete, "job-2", now=after(29.999999))
        assert stocked.operations.get(delete.key) == delete

    def test_delete_begins_once_the_run_has_acknowledged(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        following = stocked.operations.acknowledge(*token(run), after(3))
        assert following == replace(delete, next_attempt_at=after(3))
        assert list(stocked.operations.due(after(3), 10)) == [following]
        assert begin(stocked, delete, "job-2", now=after(3)).operation.attempt == 1
        ended = stocked.operations.get(run.operation.key)
        assert (ended.state, ended.next_attempt_at) == (State.SUPERSEDED, None)

    def test_delete_begins_once_the_lease_of_the_run_has_lapsed(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        begin(stocked, delete, "job-2", now=after(30), until=after(60))
        with pytest.raises(errors.Fenced) as caught:
            stocked.operations.renew(*token(run), after(90))
        assert not isinstance(caught.value, errors.Superseded)
        assert stocked.operations.acknowledge(*token(run), after(31)) is None
        assert stocked.operations.get(delete.key).next_attempt_at == after(60)

    def test_superseded_run_may_hold_the_service_but_not_write(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        with pytest.raises(errors.Superseded):
            stocked.operations.save(run.operation, {})
        assert stocked.operations.renew(*token(run), after(60)) is False
        with pytest.raises(errors.NotRunnable):
            begin(stocked, delete, "job-2", now=after(59))
        begin(stocked, delete, "job-2", now=after(60), until=after(90))

    def test_acknowledge_is_idempotent(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        stocked.operations.acknowledge(*token(run), after(3))
        begun = begin(stocked, delete, "job-2", now=after(3)).operation
        assert stocked.operations.acknowledge(*token(run), after(4)) is None
        assert stocked.operations.get(delete.key) == begun

    def test_only_the_run_itself_can_acknowledge(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        again = begin(stocked, run.operation)
        delete = submit(stocked, run.service, Kind.DELETE)
        assert stocked.operations.acknowledge(*token(run), after(3)) is None
        with pytest.raises(errors.NotRunnable):
            begin(stocked, delete, "job-2", now=after(3))
        assert stocked.operations.acknowledge(*token(again), after(3)) is not None

    def test_run_that_was_not_superseded_has_nothing_to_acknowledge(
        self, stocked: Storage
    ) -> None:
        _service, run = running(stocked)
        assert stocked.operations.acknowledge(*token(run), after(3)) is None
        assert stocked.operations.get(run.operation.key) == run.operation

    def test_superseded_operation_is_never_due(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        assert [it.key for it in stocked.operations.due(after(10**6), 10)] == [delete.key]

    def test_delete_does_not_wait_for_an_operation_that_was_not_running(
        self, stocked: Storage
    ) -> None:
        service = add(stocked)
        assert begin(stocked, submit(stocked, service, Kind.DELETE)).operation.attempt == 1

    def test_operation_after_the_delete_waits_too(self, stocked: Storage) -> None:
        service, run = running(stocked)
        submit(stocked, run.service, Kind.DELETE)
        stored = stocked.services.get(service.project_id, service.service_id)
        late = submit(stocked, stored, Kind.DELETE)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, late, "job-2", now=after(29))
        following = stocked.operations.acknowledge(*token(run), after(3))
        assert following is not None
        assert following.key == late.key

    def test_removal_leaves_no_lease(self, stocked: Storage) -> None:
        _service, run = running(stocked)
        delete = submit(stocked, run.service, Kind.DELETE)
        stocked.operations.acknowledge(*token(run), after(3))
        begun = begin(stocked, delete, "job-2", now=after(3)).operation
        stocked.operations.remove(replace(begun, state=State.SUCCEEDED))
        assert stocked.operations.acknowledge(*token(run), after(4)) is None
        with pytest.raises(errors.Fenced):
            stocked.operations.renew(*token(run), after(99))

    def test_concurrent_delete_and_last_write_leave_a_consistent_state(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        for _ in range(4):
            check_delete_against_the_end(stocked, connect_again)


def running(storage: Storage) -> tuple[Service, Run]:
    """Create a service with a first operation that runs until ``after(30)``."""
    service = add(storage)
    return service, begin(storage, first_operation(storage, service))


def token(run: Run) -> tuple[OperationKey, int]:
    """Return the key and the attempt of the run."""
    return run.operation.key, run.operation.attempt


def check_delete_against_the_end(storage: Storage, connect: Connect) -> None:
    """Race a delete with the last write of the run that it may supersede."""
    _service, run = running(storage)
    saved, deleted = race(
        connect,
        [lambda s: finish(s, run.operation), lambda s: submit(s, run.service, Kind.DELETE)],
    )
    assert not isinstance(deleted, errors.PoppyError)
    stored = storage.operations.get(run.operation.key)
    if isinstance(saved, errors.PoppyError):
        assert isinstance(saved, errors.Superseded)
        assert stored.is_held
        assert storage.operations.acknowledge(*token(run), after(3)) is not None
    else:
        assert stored.state is State.SUCCEEDED
    assert begin(storage, deleted, "job-2", now=after(3)).operation.attempt == 1
