# SPDX-License-Identifier: Apache-2.0
"""Contract: fair turns. Due operations are ordered by project, and counted by project."""

from dataclasses import replace
from typing import Any

import pytest

from poppy.model.fairness import SHARE
from poppy.model.operations import Kind, Operation, Priority, State
from poppy.storage.base import Storage
from poppy.storage.operations import Unfinished
from poppy.testing.builders import NOW, after, make_operation, make_service
from poppy.testing.storage.case import (
    StorageCase,
    begin,
    finish,
    first_operation,
    settle,
    submit,
)

_MANY = 1000


class TurnsContract(StorageCase):
    """The waiting operations of one project do not delay other projects."""

    @pytest.mark.parametrize("limit", [3, 10, 60])
    def test_projects_take_turns_despite_a_large_backlog_of_one(
        self, stocked: Storage, limit: int
    ) -> None:
        flood = [add(stocked, "flood", due=-100 + number) for number in range(40)]
        first = add(stocked, "late", due=-2)
        second = add(stocked, "late", due=-1)
        latest = add(stocked, "latest", due=0)
        expected = [flood[0], first, latest, flood[1], second, *flood[2:]]
        assert list(stocked.operations.due(NOW, limit)) == expected[:limit]

    @pytest.mark.parametrize("limit", [2, 20])
    def test_earlier_turns_of_a_project_count(self, stocked: Storage, limit: int) -> None:
        busy = [add(stocked, "busy", due=-100 + number) for number in range(3)]
        other = [add(stocked, "other", due=-50 + number) for number in range(3)]
        new = add(stocked, "new", due=0)
        expected = [new, other[0], busy[0], other[1], busy[1], other[2], busy[2]]
        found = stocked.operations.due(NOW, limit, {"busy": 2, "other": 1})
        assert set(found[:2]) == set(expected[:2])
        assert {it.project_id for it in found[2:6]} <= {"busy", "other"}
        assert [it for it in found if it in busy] == busy[: max(0, limit - 2)]

    def test_longest_due_projects_come_first_beyond_the_limit(self, stocked: Storage) -> None:
        names = [f"project-{(7 * number) % 20:02}" for number in range(20)]
        made = [add(stocked, name, due=-20 + number) for number, name in enumerate(names)]
        assert list(stocked.operations.due(NOW, 5)) == made[:5]

    @pytest.mark.parametrize("limit", [4, 20])
    def test_purges_come_first_within_a_project_and_within_a_turn(
        self, stocked: Storage, limit: int
    ) -> None:
        others = add(stocked, "two", due=-30)
        own = [add(stocked, "one", due=-20 + number) for number in range(3)]
        purge = add(stocked, "one", due=-1, priority=Priority.PURGE)
        expected = [purge, others, *own]
        assert list(stocked.operations.due(NOW, limit)) == expected[:limit]

    @pytest.mark.parametrize("limit", [2, 20])
    def test_bulk_work_comes_after_tenants_requests(self, stocked: Storage, limit: int) -> None:
        bulk = [
            add(stocked, f"bulk-{number % 2}", due=-100 + number, priority=Priority.BULK)
            for number in range(4)
        ]
        own = add(stocked, "bulk-1", due=-1)
        purge = add(stocked, "other", due=0, priority=Priority.PURGE)
        expected = [purge, own, *bulk]
        assert list(stocked.operations.due(NOW, limit)) == expected[:limit]

    @pytest.mark.parametrize("limit", [SHARE, 40])
    def test_bulk_work_has_a_share_while_tenants_are_busy(
        self, stocked: Storage, limit: int
    ) -> None:
        own = [add(stocked, f"project-{number:02}", due=-30 + number) for number in range(20)]
        bulk = [add(stocked, "bulk", due=-60 + n, priority=Priority.BULK) for n in range(3)]
        expected = [*own[:7], bulk[0], *own[7:14], bulk[1], *own[14:], bulk[2]]
        assert list(stocked.operations.due(NOW, limit)) == expected[:limit]

    def test_operations_that_are_not_due_take_no_turn(self, stocked: Storage) -> None:
        for number in range(5):
            add(stocked, "future", due=1 + number)
            gone = add(stocked, "gone", due=-5)
            finish(stocked, begin(stocked, gone).operation)
        due = [add(stocked, "flood", due=-10 + number) for number in range(5)]
        assert list(stocked.operations.due(NOW, 2)) == due[:2]
        assert stocked.operations.requeue(due[0], after(60))
        assert list(stocked.operations.due(NOW, 2)) == due[1:3]

    def test_priority_never_changes(self, stocked: Storage) -> None:
        operation = add(stocked, "one", due=0, priority=Priority.BULK)
        assert stocked.operations.requeue(operation, after(60))
        run = begin(stocked, operation)
        assert run.operation.priority is Priority.BULK
        finish(stocked, run.operation)
        assert stocked.operations.get(operation.key).priority is Priority.BULK

    def test_open_operations_are_counted_by_project_up_to_the_limit(
        self, stocked: Storage
    ) -> None:
        made = [add(stocked, "one", due=number) for number in range(3)]
        add(stocked, "two", due=0)
        add(stocked, "one", due=0, priority=Priority.BULK)
        assert count(stocked, "one", 10) == 3
        assert count(stocked, "one", 2) == 2
        assert count(stocked, "none", 2) == 0
        run = begin(stocked, made[0])
        assert count(stocked, "one", 10) == 3
        waiting = replace(run.operation, state=State.WAITING, next_attempt_at=after(99))
        stocked.operations.save(waiting, None)
        assert count(stocked, "one", 10) == 3
        assert count(stocked, "one", 2) == 2
        finish(stocked, begin(stocked, made[1]).operation)
        finish(stocked, begin(stocked, made[2]).operation, State.FAILED)
        assert count(stocked, "one", 10) == 1

    def test_superseded_operations_do_not_count_as_open(self, stocked: Storage) -> None:
        created = add(stocked, "one", due=0)
        service = settle(stocked, stocked.services.get(created.project_id, created.service_id))
        submit(stocked, service)
        assert count(stocked, "one", 10) == 1
        service = stocked.services.get(service.project_id, service.service_id)
        delete = submit(stocked, service, Kind.DELETE)
        assert count(stocked, "one", 10) == 1
        run = begin(stocked, delete)
        stocked.operations.remove(
            replace(run.operation, state=State.SUCCEEDED, next_attempt_at=None)
        )
        assert count(stocked, "one", 10) == 0

    def test_parked_operations_are_counted_apart_until_they_are_due(
        self, stocked: Storage
    ) -> None:
        made = [add(stocked, "one", due=number) for number in range(4)]
        for operation in made[:2]:
            run = begin(stocked, operation)
            parked = replace(run.operation, state=State.WAITING, next_attempt_at=after(99))
            stocked.operations.save(parked, None)
        begin(stocked, made[2])
        # The numbers may lag behind until a dispatcher looks.
        stocked.operations.due(NOW, 1)
        assert stocked.operations.count_open("one", 10, NOW) == Unfinished(4, 2)
        assert stocked.operations.count_open("one", 10, NOW).active == 2
        assert stocked.operations.count_open("one", 10, after(100)) == Unfinished(4, 0)
        assert stocked.operations.count_open("none", 10, NOW) == Unfinished(0, 0)


def count(storage: Storage, project_id: str, limit: int) -> int:
    """Count all unfinished operations."""
    return storage.operations.count_open(project_id, limit, NOW).total


def add(storage: Storage, project_id: str, due: float, **overrides: Any) -> Operation:
    """Create a service of a project with an operation that is due ``due`` seconds after now."""
    service = make_service(project_id=project_id)
    operation = make_operation(service, next_attempt_at=after(due), **overrides)
    storage.services.create(service, operation, _MANY)
    return first_operation(storage, service)
