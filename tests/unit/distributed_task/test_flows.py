# SPDX-License-Identifier: Apache-2.0
"""Flows: the tasks of each kind of operation, in order."""

import concurrent.futures
import threading

import pytest

from poppy.distributed_task import flows
from poppy.distributed_task.tasks import Task
from poppy.model.operations import Kind
from poppy.testing.builders import make_flavor, make_operation, make_service


def steps(flow):
    """Return the names of a flow's tasks, with a set for those that run in parallel."""
    stages = [[task.name for task in stage] for stage in flow.stages if stage]
    return [set(names) if len(names) > 1 else names[0] for names in stages]


class Flavors:
    """A store of one flavor."""

    def __init__(self, providers):
        self._flavor = make_flavor(providers=providers)

    def get(self, flavor_id):
        assert flavor_id == self._flavor.flavor_id
        return self._flavor


def built(kind, flavor, deployed, ownership=None):
    service = make_service()
    detail = next(iter(service.provider_details.values()))
    service = service.with_details(dict.fromkeys(deployed, detail))
    flavors = Flavors(flavor) if flavor else None
    operation = make_operation(service, kind)
    return flows.build(operation, service, flavors, {}, dns=None, ownership=ownership)


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
def test_names_are_created_after_all_providers_serve(kind):
    assert steps(built(kind, ["a", "b"], ["a", "b"])) == [
        {"ensure at a", "ensure at b"},
        "ensure names in DNS",
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.CREATE, ["ensure at a", "ensure names in DNS"]),
        (Kind.UPDATE, ["ensure at a", "ensure names in DNS"]),
        (Kind.STEER, ["ensure names in DNS"]),
    ],
)
def test_with_one_provider_the_flavor_is_not_read(kind, expected):
    assert steps(built(kind, None, ["a"])) == expected


def test_a_dropped_provider_is_cleaned_up_after_names_are_moved():
    assert steps(built(Kind.UPDATE, ["b"], ["b", "a"])) == [
        "ensure at b",
        "ensure names in DNS",
        "remove from a",
    ]


def test_a_delete_removes_names_before_deployments():
    assert steps(built(Kind.DELETE, None, ["a", "b"])) == [
        "remove names from DNS",
        {"remove from a", "remove from b"},
    ]


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE])
def test_ownership_is_checked_before_any_provider_call(kind):
    assert steps(built(kind, ["a", "b"], ["a", "b"], ownership=object())) == [
        "check the ownership of domains",
        {"ensure at a", "ensure at b"},
        "ensure names in DNS",
    ]


@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PURGE, Kind.DISABLE, Kind.STEER])
def test_operations_that_deploy_no_domain_need_no_ownership_check(kind):
    assert steps(built(kind, ["a"], ["a"], ownership=object())) == steps(built(kind, ["a"], ["a"]))


def test_steering_changes_names_and_calls_no_provider():
    assert steps(built(Kind.STEER, ["a", "b"], ["a", "b"])) == ["ensure names in DNS"]


def test_a_purge_calls_only_the_providers():
    assert steps(built(Kind.PURGE, None, ["a", "b"])) == [
        {"purge at a", "purge at b"},
    ]


class Noted(Task):
    """A task that records its begin and end, and waits at a barrier in between."""

    def __init__(self, name, notes, barrier=None, error=None):
        super().__init__(name)
        self._notes = notes
        self._barrier = barrier
        self._error = error

    def execute(self, run):
        self._notes.append((f"{self.name} begins", run))
        if self._barrier:
            self._barrier.wait(timeout=10)
        if self._error:
            raise self._error
        self._notes.append((f"{self.name} ends", run))


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(4) as made:
        yield made


def test_tasks_of_a_stage_run_in_parallel_and_stages_in_sequence(pool):
    notes = []
    barrier = threading.Barrier(2)
    sides = [Noted(name, notes, barrier) for name in "ab"]
    flows.Flow("it", [[Noted("first", notes)], sides, [], [Noted("last", notes)]]).run("run", pool)
    assert [note for note, run in notes[:2]] == ["first begins", "first ends"]
    assert {note for note, run in notes[2:4]} == {"a begins", "b begins"}
    assert {note for note, run in notes[4:6]} == {"a ends", "b ends"}
    assert [note for note, run in notes[6:]] == ["last begins", "last ends"]
    assert {run for note, run in notes} == {"run"}


def test_an_error_stops_later_stages_but_not_parallel_tasks(pool):
    notes = []
    barrier = threading.Barrier(2)
    broken = Noted("broken", notes, barrier, ValueError("broken"))
    stages = [[broken, Noted("beside", notes, barrier)], [Noted("behind", notes)]]
    with pytest.raises(ValueError, match="broken"):
        flows.Flow("it", stages).run("run", pool)
    assert {note for note, run in notes} == {"broken begins", "beside begins", "beside ends"}


def test_every_kind_of_operation_has_a_flow():
    for kind in Kind:
        assert steps(built(kind, ["a"], ["a"]))
