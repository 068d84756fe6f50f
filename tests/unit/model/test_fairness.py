# SPDX-License-Identifier: Apache-2.0
"""The order of waiting work."""

import itertools
from typing import NamedTuple

import pytest

from poppy.model import fairness
from poppy.model.fairness import SHARE, Place
from poppy.model.operations import Priority

PURGE, TENANT, BULK = Priority


class Item(NamedTuple):
    project: str
    number: int = 0
    priority: Priority = TENANT


def place(item):
    return Place(item.project, item.priority)


def some(project, count, priority=TENANT):
    return [Item(project, number, priority) for number in range(count)]


def ordered(items, **options):
    return list(fairness.ordered(items, place, **options))


def test_nothing_is_lost_or_duplicated():
    items = [Item(f"p{number % 7}", number, Priority(number % 3)) for number in range(200)]
    assert sorted(ordered(items)) == sorted(items)
    assert ordered([]) == []


def test_projects_take_turns():
    a, b = some("a", 4), some("b", 2)
    assert ordered([*a, *b]) == [a[0], b[0], a[1], b[1], a[2], a[3]]


def test_earlier_turns_count():
    a, b = some("a", 2), some("b", 3)
    assert ordered([*a, *b], had={"a": 2}) == [b[0], b[1], a[0], b[2], a[1]]


def test_a_purge_is_first_in_its_project_but_waits_for_its_turn():
    a, b = some("a", 2), some("b", 1)
    purges = some("a", 2, PURGE)
    assert ordered([*a, *b, *purges]) == [purges[0], b[0], purges[1], a[0], a[1]]


def test_bulk_work_comes_last_except_for_its_share():
    own, bulk = some("a", 2 * SHARE), some("b", 3, BULK)
    expected = [*own[: SHARE - 1], bulk[0], *own[SHARE - 1 : 2 * SHARE - 2], bulk[1]]
    assert ordered([*bulk, *own]) == [*expected, *own[2 * SHARE - 2 :], bulk[2]]


@pytest.mark.parametrize("ahead", range(SHARE))
def test_bulk_work_comes_when_it_is_its_turn(ahead):
    found = ordered([*some("a", 20), *some("b", 1, BULK)], ahead=ahead)
    assert [it.priority for it in found].index(BULK) == ahead


def test_projects_take_turns_with_bulk_work():
    a, b = some("a", 3, BULK), some("b", 1, BULK)
    assert ordered([*a, *b]) == [a[0], b[0], a[1], a[2]]


def test_queues_are_read_only_as_far_as_needed():
    read = []

    def queue(name):
        for number in itertools.count():
            read.append(name)
            yield f"{name}{number}"

    turns = fairness.in_turns([(0, queue("a")), (2, queue("b")), (0, iter(["c0"]))])
    assert list(itertools.islice(turns, 6)) == ["a0", "c0", "a1", "a2", "b0", "a3"]
    assert read == ["a", "a", "a", "b", "a"]


def test_queues_with_earlier_turns_start_at_once():
    assert list(fairness.in_turns([(5, iter("ab")), (7, iter("c"))])) == ["a", "b", "c"]
    assert list(fairness.in_turns([(5, iter("abc")), (6, iter("x"))])) == ["a", "b", "x", "c"]
    assert list(fairness.in_turns([])) == []
