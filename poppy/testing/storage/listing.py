# SPDX-License-Identifier: Apache-2.0
"""Contract: search, retry and pruning of operations."""

from dataclasses import replace

import pytest

from poppy.common import errors
from poppy.model.operations import Kind, Operation, State, Step, StepState
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.storage.base import Storage
from poppy.storage.operations import Marker
from poppy.testing.builders import NOW, after, make_operation, make_service
from poppy.testing.storage.case import (
    LIMIT,
    StorageCase,
    add,
    begin,
    finish,
    first_operation,
    remove,
    settle,
    submit,
)

UNFINISHED = [state for state in State if not state.finished]


class ListingContract(StorageCase):
    """Operators find unfinished and failed operations; tenants read a service's history."""

    def test_history_is_listed_latest_first_in_pages(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        for _ in range(4):
            submit(stocked, service)
            service = stocked.services.get(service.project_id, service.service_id)
        listed = list(stocked.operations.list(service.project_id, service.service_id))
        expected = listed[::-1]
        where = (service.project_id, service.service_id)
        assert list(stocked.operations.history(*where, None, 10)) == expected
        assert list(stocked.operations.history(*where, None, 2)) == expected[:2]
        marker = expected[1].operation_id
        assert list(stocked.operations.history(*where, marker, 2)) == expected[2:4]
        assert list(stocked.operations.history(*where, expected[-1].operation_id, 2)) == []

    def test_history_outlives_the_service(self, stocked: Storage) -> None:
        service = add(stocked)
        done = remove(stocked, service)
        history = stocked.operations.history(service.project_id, service.service_id, None, 1)
        assert list(history) == [done]

    def test_history_belongs_to_one_project(self, stocked: Storage) -> None:
        service = add(stocked)
        assert list(stocked.operations.history("another", service.service_id, None, 10)) == []

    def test_unfinished_operations_are_found_by_their_states(self, stocked: Storage) -> None:
        queued = first_operation(stocked, add(stocked))
        running = begin(stocked, first_operation(stocked, add(stocked))).operation
        waiting = begin(stocked, first_operation(stocked, add(stocked))).operation
        waiting = replace(waiting, state=State.WAITING, next_attempt_at=after(10**6))
        stocked.operations.save(waiting, None)
        settle(stocked, add(stocked))
        for states, expected in (
            ([State.QUEUED], [queued]),
            ([State.RUNNING], [running]),
            ([State.WAITING], [waiting]),
            (UNFINISHED, [queued, running, waiting]),
            ([State.FAILED], []),
        ):
            assert list(stocked.operations.find(states, NOW)) == expected

    def test_only_operations_requested_before_the_time_are_found(self, stocked: Storage) -> None:
        service = make_service()
        old = make_operation(service, created_at=after(-60))
        stocked.services.create(service, old, LIMIT)
        new = first_operation(stocked, add(stocked))
        assert by_id(stocked.operations.find(UNFINISHED, after(-60))) == [old]
        assert by_id(stocked.operations.find(UNFINISHED, after(-60.000001))) == []
        assert by_id(stocked.operations.find(UNFINISHED, NOW)) == [old, new]

    def test_listing_continues_after_a_marker(self, stocked: Storage) -> None:
        waiting = begin(stocked, first_operation(stocked, add(stocked))).operation
        waiting = replace(waiting, state=State.WAITING, next_attempt_at=after(9))
        stocked.operations.save(waiting, None)
        listed = [waiting, *(first_operation(stocked, add(stocked)) for _ in range(3))]
        for number, operation in enumerate(listed, 1):
            marker = Marker(operation.created_at, operation.operation_id)
            found = stocked.operations.find(UNFINISHED, NOW, marker)
            assert list(found) == listed[number:]

    def test_find_reads_several_batches(self, stocked: Storage) -> None:
        service = settle(stocked, add(stocked))
        for _ in range(230):
            submit(stocked, service, Kind.PURGE)
            service = stocked.services.get(service.project_id, service.service_id)
        found = by_id(stocked.operations.find([State.QUEUED], NOW))
        assert len(found) == 230
        assert len({operation.operation_id for operation in found}) == 230

    def test_failed_operations_are_found(self, stocked: Storage) -> None:
        failed = [fail(stocked, add(stocked)) for _ in range(3)]
        settle(stocked, add(stocked))
        assert by_id(stocked.operations.find([State.FAILED], NOW)) == failed
        both = by_id(stocked.operations.find([State.FAILED, State.QUEUED], NOW))
        assert both == failed

    def test_latest_failures_are_found_up_to_the_limit(self, stocked: Storage) -> None:
        failed = [fail(stocked, add(stocked)) for _ in range(4)]
        first_operation(stocked, add(stocked))
        settle(stocked, add(stocked))
        latest = failed[::-1]
        assert list(stocked.operations.failures(10)) == latest
        assert list(stocked.operations.failures(3)) == latest[:3]

    def test_retried_operation_is_not_listed_as_failed(self, stocked: Storage) -> None:
        service = add(stocked)
        failed = fail(stocked, service)
        service = stocked.services.get(service.project_id, service.service_id)
        stocked.services.reopen(service, retried(failed))
        assert list(stocked.operations.failures(10)) == []

    def test_failed_operation_is_queued_again_with_its_service(self, stocked: Storage) -> None:
        service = add(stocked)
        failed = fail(stocked, service)
        service = stocked.services.get(service.project_id, service.service_id)
        updating = {"mock": ProviderDetail(ProviderStatus.UPDATE_IN_PROGRESS, "id-1")}
        again = retried(failed)
        stocked.services.reopen(service.with_details(updating), again)
        assert stocked.operations.get(failed.key) == again
        stored = stocked.services.get(service.project_id, service.service_id)
        assert stored.provider_details == updating
        assert stored.revision == service.revision + 1
        assert by_id(stocked.operations.find([State.FAILED], NOW)) == []
        assert list(stocked.operations.due(after(100), 10)) == [again]
        run = begin(stocked, again, "job-2")
        assert run.operation.attempt == failed.attempt + 1
        finish(stocked, run.operation)

    def test_operation_that_failed_twice_is_found_once(self, stocked: Storage) -> None:
        service = add(stocked)
        failed = fail(stocked, service)
        service = stocked.services.get(service.project_id, service.service_id)
        stocked.services.reopen(service, retried(failed))
        run = begin(stocked, failed, "job-2", now=after(200))
        finish(stocked, run.operation, State.FAILED)
        (found,) = stocked.operations.find([State.FAILED], NOW)
        assert found.attempt == 2

    def test_operation_that_has_not_failed_is_not_queued_again(self, stocked: Storage) -> None:
        service = add(stocked)
        failed = fail(stocked, service)
        service = stocked.services.get(service.project_id, service.service_id)
        stale = replace(retried(failed), attempt=failed.attempt + 1)
        for refused in (stale, retried(submit(stocked, service))):
            current = stocked.services.get(service.project_id, service.service_id)
            with pytest.raises(errors.Changed):
                stocked.services.reopen(current, refused)
            assert stocked.services.get(service.project_id, service.service_id) == current
        assert stocked.operations.get(failed.key) == failed

    def test_operation_of_a_changed_service_is_not_queued_again(self, stocked: Storage) -> None:
        service = add(stocked)
        failed = fail(stocked, service)
        submit(stocked, stocked.services.get(service.project_id, service.service_id))
        with pytest.raises(errors.Changed):
            stocked.services.reopen(service, retried(failed))
        assert stocked.operations.get(failed.key) == failed

    def test_operation_of_a_service_that_is_gone_is_not_queued_again(
        self, stocked: Storage
    ) -> None:
        service = add(stocked)
        failed = fail(stocked, service)
        service = stocked.services.get(service.project_id, service.service_id)
        remove(stocked, service)
        with pytest.raises(errors.NotFound):
            stocked.services.reopen(service, retried(failed))

    def test_prune_keeps_recent_and_unfinished_operations(self, stocked: Storage) -> None:
        service = add(stocked)
        first = first_operation(stocked, service)
        done = begin(stocked, submit(stocked, add(stocked), Kind.DELETE)).operation
        stocked.operations.remove(replace(done, state=State.SUCCEEDED, updated_at=after(60)))
        assert stocked.operations.prune(after(60), 10) <= 1  # the superseded create
        assert stocked.operations.get(first.key) == first
        assert stocked.operations.get(done.key).state is State.SUCCEEDED


def by_id(found: object) -> list[Operation]:
    """Sort operations by creation."""
    return sorted(found, key=lambda operation: operation.operation_id)  # type: ignore[call-overload,no-any-return]


def fail(storage: Storage, service: Service) -> Operation:
    """Fail the first operation of a service."""
    operation = begin(storage, first_operation(storage, service)).operation
    step = Step("provider:mock", StepState.FAILED, "refused")
    failed = replace(
        operation.with_step(step), state=State.FAILED, error="refused", next_attempt_at=None
    )
    storage.operations.save(failed, {"mock": ProviderDetail(ProviderStatus.FAILED, "id-1")})
    return failed


def retried(failed: Operation) -> Operation:
    """Return the operation with the fields of a retry."""
    return replace(
        failed,
        state=State.QUEUED,
        steps=(),
        error=None,
        retried_at=after(5),
        updated_at=after(5),
        next_attempt_at=after(100),
    )
