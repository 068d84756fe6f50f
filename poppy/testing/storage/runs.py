# SPDX-License-Identifier: Apache-2.0
"""Contract: runs of operations, one at a time and fenced."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.lifecycle import Run
from poppy.model.operations import Kind, Operation, State, Step, StepState
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.testing.builders import NOW, after, make_operation, make_service, make_spec
from poppy.testing.storage.case import (
    LIMIT,
    Connect,
    StorageCase,
    add,
    begin,
    each,
    failures,
    finish,
    first_operation,
    race,
    settle,
    submit,
)

DEPLOYED = {"mock": ProviderDetail(ProviderStatus.DEPLOYED, "id-1")}

Loss = Callable[[Storage, Run], object]

LOSSES: dict[str, Loss] = {
    "taken over by the same job": lambda s, run: begin(s, run.operation),
    "taken over when it was overdue": lambda s, run: begin(
        s, run.operation, "job-2", now=after(30), until=after(60)
    ),
    "requeued": lambda s, run: s.operations.requeue(run.operation, after(90)),
    "requeued and begun again": lambda s, run: (
        s.operations.requeue(run.operation, after(90)) and begin(s, run.operation, "job-2")
    ),
    "superseded": lambda s, run: submit(s, run.service, Kind.DELETE),
    "parked": lambda s, run: s.operations.save(
        replace(run.operation, state=State.WAITING, next_attempt_at=after(5)), None
    ),
    "finished": lambda s, run: finish(s, run.operation, State.FAILED),
}
"""All ways in which a run is fenced."""

lossy = pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())


class RunContract(StorageCase):
    """A run begins once, and can write only while it is the latest one."""

    def test_begun_operation_is_running_with_a_new_attempt(self, stocked: Storage) -> None:
        service = add(stocked)
        queued = first_operation(stocked, service)
        run = begin(stocked, queued, "job-1", now=after(1), until=after(31))
        assert run.service == service
        assert run.operation == replace(
            queued,
            state=State.RUNNING,
            attempt=queued.attempt + 1,
            runner="job-1",
            next_attempt_at=after(31),
            updated_at=after(1),
        )
        assert stocked.operations.get(queued.key) == run.operation

    def test_run_gets_the_service_as_it_is_now(self, stocked: Storage) -> None:
        service = add(stocked)
        submit(stocked, replace(service, spec=replace(service.spec, name="newer")))
        run = begin(stocked, first_operation(stocked, service))
        assert run.service == stocked.services.get(service.project_id, service.service_id)
        assert run.service.spec.name == "newer"

    def test_unknown_operation_can_not_begin(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        for key in (
            make_operation(service).key,
            make_operation(make_service()).key,
            first_operation(stocked, service).key._replace(project_id="another"),
        ):
            with pytest.raises(errors.NotRunnable):
                stocked.operations.begin(key, "job-1", NOW, after(30))

    @pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
    def test_finished_operation_can_not_begin(self, stocked: Storage, state: State) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        finish(stocked, run.operation, state)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, run.operation)
        assert stocked.operations.get(run.operation.key).state is state

    def test_operation_waits_for_an_earlier_one_of_its_service(self, stocked: Storage) -> None:
        service = add(stocked)
        first = first_operation(stocked, service)
        second = submit(stocked, service)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, second)
        run = begin(stocked, first)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, second)
        assert stocked.operations.get(second.key) == second
        finish(stocked, run.operation, State.FAILED)
        assert begin(stocked, second).operation.attempt == 1

    def test_operation_does_not_wait_for_other_services(self, stocked: Storage) -> None:
        begin(stocked, first_operation(stocked, add(stocked)))
        assert begin(stocked, first_operation(stocked, add(stocked))).operation.attempt == 1

    def test_operation_with_an_earlier_id_waits_for_one_that_runs_already(
        self, stocked: Storage
    ) -> None:
        # Ids are made from several servers' clocks, which differ.
        service = make_service()
        earlier, later = make_operation(service), make_operation(service)
        stocked.services.create(service, later, LIMIT)
        run = begin(stocked, later)
        stocked.services.submit(service, earlier)
        with pytest.raises(errors.NotRunnable):
            begin(stocked, earlier, "job-2")
        following = finish(stocked, run.operation)
        assert following is not None
        assert following.key == earlier.key
        assert begin(stocked, earlier, "job-2").operation.state is State.RUNNING

    def test_running_operation_can_not_be_begun_by_another_job(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1", until=after(30))
        with pytest.raises(errors.NotRunnable):
            begin(stocked, run.operation, "job-2", now=after(29.999999))
        assert stocked.operations.get(run.operation.key) == run.operation

    def test_running_operation_can_be_begun_again_by_the_same_job(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1")
        again = begin(stocked, run.operation, "job-1").operation
        assert (again.attempt, again.runner) == (2, "job-1")

    def test_running_operation_can_be_begun_by_another_job_when_overdue(
        self, stocked: Storage
    ) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1", until=after(30))
        again = begin(stocked, run.operation, "job-2", now=after(30), until=after(60))
        assert (again.operation.attempt, again.operation.runner) == (2, "job-2")

    def test_waiting_operation_can_be_begun_when_it_is_due_and_not_before(
        self, stocked: Storage
    ) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), "job-1")
        parked = replace(run.operation, state=State.WAITING, next_attempt_at=after(60))
        stocked.operations.save(parked, None)
        for job in ("job-1", "job-2"):
            with pytest.raises(errors.NotRunnable):
                begin(stocked, parked, job, now=after(59.999999))
        assert stocked.operations.get(parked.key) == parked
        assert begin(stocked, parked, "job-2", now=after(60)).operation.attempt == 2

    def test_only_one_of_several_concurrent_jobs_begins(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        operation = first_operation(stocked, add(stocked))
        outcomes = race(
            connect_again, each(lambda s, n: begin(s, operation, f"job-{n}"), range(8))
        )
        assert [type(error) for error in failures(outcomes)] == [errors.NotRunnable] * 7
        winner = next(outcome for outcome in outcomes if isinstance(outcome, Run))
        assert stocked.operations.get(operation.key) == winner.operation
        assert winner.operation.attempt == 1

    def test_only_one_of_several_operations_of_a_service_begins(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        service = add(stocked)
        queued = [first_operation(stocked, service)]
        for _ in range(3):
            queued.append(submit(stocked, service))
            service = stocked.services.get(service.project_id, service.service_id)
        outcomes = race(connect_again, each(begin, queued))
        assert isinstance(outcomes[0], Run)
        assert len(failures(outcomes)) == 3

    def test_progress_is_written_with_the_details(self, stocked: Storage) -> None:
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        progress = replace(
            run.operation,
            state=State.WAITING,
            failures=1,
            next_attempt_at=after(900),
            steps=(Step("provider:mock", StepState.WAITING, "activating"),),
            error="activating",
            updated_at=after(2),
        )
        assert stocked.operations.save(progress, DEPLOYED) is None
        assert stocked.operations.get(progress.key) == progress
        expected = replace(
            service, provider_details=DEPLOYED, updated_at=after(2), revision=service.revision + 1
        )
        assert stocked.services.get(service.project_id, service.service_id) == expected

    def test_details_are_written_on_the_service_as_it_is_now(self, stocked: Storage) -> None:
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        spec = make_spec(["a.example.com"], name="newer")
        submit(stocked, replace(service, spec=spec, disabled=True))
        finish(stocked, run.operation, details=DEPLOYED)
        stored = stocked.services.get(service.project_id, service.service_id)
        assert (stored.spec, stored.disabled, stored.revision) == (spec, True, 3)
        assert stored.provider_details == DEPLOYED

    @pytest.mark.parametrize("state", [State.RUNNING, State.WAITING, State.SUCCEEDED])
    def test_save_without_details_leaves_the_service_unchanged(
        self, stocked: Storage, state: State
    ) -> None:
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        finish(stocked, replace(run.operation, updated_at=after(2)), state)
        assert stocked.services.get(service.project_id, service.service_id) == service

    def test_empty_details_are_stored(self, stocked: Storage) -> None:
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        finish(stocked, run.operation, details={})
        stored = stocked.services.get(service.project_id, service.service_id)
        assert stored.provider_details == {}

    def test_run_may_write_until_it_ends(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)))
        for seconds in (40, 50):
            lease = replace(run.operation, next_attempt_at=after(seconds))
            stocked.operations.save(lease, None)
            assert stocked.operations.get(lease.key) == lease
        finish(stocked, run.operation)

    @lossy
    @pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED])
    def test_fenced_run_writes_nothing(self, stocked: Storage, lose: Loss, state: State) -> None:
        service = add(stocked, domains=["a.example.com"])
        run = begin(stocked, first_operation(stocked, service))
        lose(stocked, run)
        before = everything(stocked, service)
        late = replace(run.operation, state=state, error="late", updated_at=after(9))
        for details in (DEPLOYED, None):
            with pytest.raises(errors.Fenced):
                stocked.operations.save(late, details)
        assert everything(stocked, service) == before

    @pytest.mark.parametrize(
        "lose", [lose for name, lose in LOSSES.items() if name != "superseded"]
    )
    def test_fenced_run_can_not_renew(self, stocked: Storage, lose: Loss) -> None:
        service = add(stocked)
        run = begin(stocked, first_operation(stocked, service))
        lose(stocked, run)
        before = everything(stocked, service)
        with pytest.raises(errors.Fenced):
            stocked.operations.renew(run.operation.key, run.operation.attempt, after(999))
        assert everything(stocked, service) == before

    def test_fenced_success_releases_no_domain(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked, domains=["a.example.com", "b.example.com"]))
        spec = replace(service.spec, domains=service.spec.domains[:1])
        run = begin(stocked, submit(stocked, replace(service, spec=spec)))
        begin(stocked, run.operation)
        with pytest.raises(errors.Fenced):
            finish(stocked, run.operation)
        with pytest.raises(errors.DomainTaken):
            add(stocked, domains=["b.example.com"])

    def test_operation_that_is_unknown_can_not_be_saved_or_renewed(self, stocked: Storage) -> None:
        unknown = replace(make_operation(add(stocked)), state=State.RUNNING, attempt=1)
        for state in (State.RUNNING, State.SUCCEEDED):
            with pytest.raises(errors.Fenced):
                stocked.operations.save(replace(unknown, state=state), DEPLOYED)
        with pytest.raises(errors.Fenced):
            stocked.operations.renew(unknown.key, 1, after(60))

    def test_renewed_run_counts_as_lost_later(self, stocked: Storage) -> None:
        run = begin(stocked, first_operation(stocked, add(stocked)), until=after(30))
        assert stocked.operations.renew(run.operation.key, run.operation.attempt, after(60))
        assert list(stocked.operations.due(after(59), 10)) == []
        expected = replace(run.operation, next_attempt_at=after(60))
        assert list(stocked.operations.due(after(60), 10)) == [expected]

    def test_concurrent_takeover_and_last_write_leave_a_consistent_state(
        self, stocked: Storage, connect_again: Connect
    ) -> None:
        for _ in range(4):
            check_takeover_at_the_end(stocked, connect_again)


def check_takeover_at_the_end(storage: Storage, connect: Connect) -> None:
    """Race the last write of a run with a takeover of the run."""
    run = begin(storage, first_operation(storage, add(storage)))
    saved, taken = race(
        connect,
        [
            lambda s: finish(s, run.operation, details=DEPLOYED),
            lambda s: begin(s, run.operation),
        ],
    )
    stored = storage.operations.get(run.operation.key)
    if isinstance(saved, errors.Fenced):
        assert stored == taken.operation
    else:
        assert saved is None
        assert isinstance(taken, errors.NotRunnable)
        assert stored.state is State.SUCCEEDED


def everything(storage: Storage, service: Service) -> tuple[Service, list[Operation]]:
    """Return the stored service and its operations."""
    return (
        storage.services.get(service.project_id, service.service_id),
        list(storage.operations.list(service.project_id, service.service_id)),
    )
