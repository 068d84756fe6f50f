# SPDX-License-Identifier: Apache-2.0
"""Joined purges, and stored operations with purges."""

import datetime
from dataclasses import replace

import pytest

from poppy.model import ids
from poppy.model.operations import Kind, Operation, Priority, Purge, State
from poppy.model.purges import MAX_PATHS
from poppy.testing.builders import make_operation, make_service


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (Purge("/a", True), Purge("/b", True), Purge("/a", True, ("/b",))),
        (Purge("/a", True), Purge("/a", True), Purge("/a", True)),
        (Purge("/a", True, ("/b",)), Purge("/b", True), Purge("/a", True, ("/b",))),
        (Purge("/a", True, ("/b",)), Purge(None, True), Purge(None, True)),
        (Purge(None, False), Purge("/b", False), Purge(None, False)),
        (Purge("/a", True), Purge("/b", False), None),
        (Purge(None, True), Purge(None, False), None),
    ],
)
def test_only_purges_of_the_same_type_are_joined(first, second, both):
    assert first.joined(second) == both


def test_the_number_of_paths_of_a_purge_is_limited():
    full = Purge("/0", True, tuple(f"/{number}" for number in range(1, MAX_PATHS)))
    assert len(full.single()) == MAX_PATHS
    assert full.joined(Purge("/more", True)) is None
    assert full.joined(Purge("/3", True)) == full
    assert full.joined(Purge(None, True)) == Purge(None, True)


def test_drivers_get_one_path_at_a_time():
    assert Purge("/a", False, ("/b", "/c")).single() == (
        Purge("/a", False),
        Purge("/b", False),
        Purge("/c", False),
    )
    assert Purge(None, True).single() == (Purge(None, True),)


def test_each_path_has_its_own_reference():
    operation = make_operation(make_service(), kind=Kind.PURGE, purge=Purge("/a", True, ("/b",)))

    def references(purge, of):
        return [single.reference for single in purge.single(of.reference)]

    first = references(operation.purge, operation)
    assert len(set(first)) == 2
    assert references(operation.purge, replace(operation, attempt=3, failures=2)) == first
    retried = replace(operation, retried_at=operation.created_at + datetime.timedelta(minutes=1))
    assert not set(references(operation.purge, retried)) & set(first)
    another = replace(operation, operation_id=ids.new())
    assert not set(references(operation.purge, another)) & set(first)


@pytest.mark.parametrize(
    "purge", [Purge(None, True), Purge("/a", False), Purge("/a", True, ("/b", "/c"))]
)
def test_a_purge_round_trips(purge):
    assert Purge.from_dict(purge.to_dict()) == purge


def test_earlier_versions_can_read_a_purge_of_one_path():
    assert Purge("/a", True).to_dict() == {"url": "/a", "hard": True}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": State.RUNNING, "attempt": 1},
        {"state": State.WAITING, "attempt": 1},
        {"state": State.QUEUED, "attempt": 1},
        {"state": State.SUCCEEDED, "attempt": 1},
        {"purge": None},
    ],
)
def test_only_purges_that_have_not_started_are_joined(changes):
    operation = make_operation(make_service(), Kind.PURGE, purge=Purge("/a", True))
    assert operation.joined(Purge("/b", True)) is not None
    assert replace(operation, **changes).joined(Purge("/b", True)) is None


@pytest.mark.parametrize("kind", Kind)
def test_the_default_priority_depends_on_the_kind(kind):
    expected = Priority.PURGE if kind is Kind.PURGE else Priority.TENANT
    assert Operation.new("p", "s", kind).priority is expected
    assert Operation.new("p", "s", kind, priority=Priority.BULK).priority is Priority.BULK


def test_the_earliest_id_of_a_moment_sorts_before_new_ids(monkeypatch):
    moment = 1_900_000_000_123_456_789
    monkeypatch.setattr(ids.time, "time_ns", lambda: moment)
    assert ids.is_uuid(ids.earliest(moment))
    assert ids.earliest(moment) <= ids.new() < ids.earliest(moment + 1_000_000)
