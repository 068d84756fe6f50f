# SPDX-License-Identifier: Apache-2.0
"""Cached copies of partitions of the due index, without a server."""

import itertools
from dataclasses import replace

import pytest

pytest.importorskip("cassandra")

from poppy.model.operations import Kind, OperationKey, Priority, State
from poppy.storage.cassandra import codec, due_index, opened
from poppy.storage.cassandra import due_index_copy as module
from poppy.storage.cassandra.due_index import MARGIN, WIDTH, Hint, Partition
from poppy.storage.cassandra.due_index_copy import DueIndexCopy
from poppy.storage.operations import Unfinished
from poppy.testing.builders import make_operation, make_service

NOW = 1_900_000_000_000_000 - 1_900_000_000_000_000 % WIDTH


class Hints:
    """Partitions by slot and shard."""

    def __init__(self):
        self.partitions = {}
        self.reads = []
        self.left = []
        self._numbers = itertools.count()

    def add(self, project, age=0.0, priority=Priority.TENANT, count=1):
        due_at = NOW - int(age * 1_000_000)
        slot = due_at - due_at % WIDTH
        operation = make_operation(make_service(project_id=project), priority=priority)
        shard = due_index._shard(operation)
        for _ in range(count):
            key = OperationKey(project, "s", f"{next(self._numbers):06}")
            hint = Hint(slot, shard, due_at, key, "", 0, 0)
            self.partitions.setdefault((slot, shard), []).append(hint)

    def index(self, now):
        return [Partition(*it) for it in sorted(self.partitions) if it[0] <= now]

    def read(self, partitions, page):
        self.reads += partitions
        return [self.partitions[it.slot, it.shard][:page] for it in partitions]

    def leave(self, empty, now):
        self.left += empty


@pytest.fixture
def waiting():
    return Hints()


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        seconds = 1000.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.seconds)
    monkeypatch.setattr(codec, "now", lambda: NOW)
    return Clock


def projects(found, count=None):
    return [hint.key.project_id for hint in itertools.islice(found, count)]


def test_a_flood_in_old_slots_does_not_hide_another_project(waiting, clock):
    for age in range(100, 1000, 10):
        waiting.add("flood", age, count=20)
    waiting.add("new")
    assert projects(DueIndexCopy(waiting).due(NOW, {}), 3) == ["flood", "new", "flood"]


def test_hints_that_are_not_due_are_left(waiting, clock):
    waiting.add("later", -1.0)
    assert projects(DueIndexCopy(waiting).due(NOW, {})) == []
    assert projects(DueIndexCopy(waiting).due(NOW + 1_000_000, {})) == ["later"]


def test_the_partition_determines_the_priority(waiting, clock):
    waiting.add("a", 300, Priority.BULK)
    waiting.add("b", 200)
    waiting.add("c", 100, Priority.PURGE)
    assert projects(DueIndexCopy(waiting).due(NOW, {})) == ["c", "b", "a"]


@pytest.mark.parametrize("priority", Priority)
def test_each_priority_has_its_own_partitions(priority):
    shards = {
        due_index._shard(make_operation(make_service(project_id=f"p{n}"), priority=priority))
        for n in range(100)
    }
    assert len(shards) == due_index.SHARDS
    assert {Partition(0, shard).priority for shard in shards} == {priority}
    assert shards.isdisjoint(range(due_index._EARLIER))


def test_partitions_of_earlier_versions_have_tenant_priority():
    found = {Partition(0, shard).priority for shard in range(due_index._EARLIER)}
    assert found == {Priority.TENANT}


@pytest.mark.parametrize(
    ("age", "holds"), [(0, 0.0), (WIDTH / 1e6, 0.0), (30, 1.0), (MARGIN / 1e6 + 20, 15.0)]
)
def test_a_copy_is_cached_longer_once_its_slot_is_over(waiting, clock, age, holds):
    waiting.add("a", age)
    copy = DueIndexCopy(waiting)
    projects(copy.due(NOW, {}))
    for passed, reads in ((0.9 * holds, 1), (0.2 * holds, 2)) if holds else ((0.0, 2),):
        clock.seconds += passed
        assert projects(copy.due(NOW, {})) == ["a"]
        assert len(waiting.reads) == reads


def test_a_discarded_hint_is_left_out_until_the_next_read(waiting, clock):
    waiting.add("a", 200)
    waiting.add("b", 200)
    copy = DueIndexCopy(waiting)
    first = next(copy.due(NOW, {}))
    copy.discard(first)
    assert first.key.project_id not in projects(copy.due(NOW, {}))
    clock.seconds += 20
    assert first.key.project_id in projects(copy.due(NOW, {}))


def test_each_hint_of_an_operation_is_followed(waiting, clock):
    """A worker that dies leaves a stale hint, which may be later than the valid one."""
    waiting.add("a", 200)
    ((place, (hint,)),) = waiting.partitions.items()
    stale = hint._replace(due_at=hint.due_at + 1)
    waiting.partitions[place].append(stale)
    copy = DueIndexCopy(waiting)
    assert list(copy.due(NOW, {})) == [hint, stale]
    copy.discard(stale)
    assert list(copy.due(NOW, {})) == [hint]


def test_an_empty_past_partition_is_passed_to_leave_at_each_read(waiting, clock):
    waiting.add("a", 200)
    (key,) = waiting.partitions
    waiting.partitions[key] = []
    copy = DueIndexCopy(waiting)
    for _ in range(2):
        assert projects(copy.due(NOW, {})) == []
    assert len(waiting.left) == 2


def test_a_large_partition_is_read_on_when_half_of_it_is_done(waiting, clock, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 10)
    waiting.add("a", 200, count=15)
    copy = DueIndexCopy(waiting)
    assert len(projects(copy.due(NOW, {}))) == 10
    for hint in list(copy.due(NOW, {}))[:6]:
        copy.discard(hint)
    del waiting.partitions[next(iter(waiting.partitions))][:6]
    assert len(projects(copy.due(NOW, {}))) == 9


def test_bulk_hints_do_not_fill_the_memory_before_tenant_hints(waiting, clock, monkeypatch):
    monkeypatch.setattr(module, "MOST", 50)
    monkeypatch.setattr(module, "_AT_A_TIME", 1)
    for age in range(100, 300, 10):
        waiting.add("bulk", age, Priority.BULK, count=10)
    waiting.add("a", 90)
    found = projects(DueIndexCopy(waiting).due(NOW, {}))
    assert found[0] == "a"
    assert len(found) <= 70


class Database:
    """Rows of open operations, and the operations that are still stored."""

    def __init__(self, rows):
        self.rows = rows
        self.reads = []
        self.written = []

    def read(self, cql, where):
        self.reads.append(where)
        found = [row for row in self.rows if row[0] >= where["floor"]]
        return found[: where["page"]]

    def read_each(self, calls):
        return [[] for _ in calls]

    def write(self, calls):
        self.written += calls


def rows(count, age=600.0):
    first = opened.time.time_ns() - int(age * 1e9)
    return [(opened.ids.earliest(first + n * 1_000_000), "s", 7, None) for n in range(count)]


def counter(database):
    made = opened.Opened(database)
    return lambda project_id, limit: made.count(project_id, limit, codec.now()).total


def test_small_counts_are_always_read_and_large_ones_cached(monkeypatch):
    database = Database(rows(3))
    count = counter(database)
    assert [count("p", 500), count("p", 500)] == [3, 3]
    assert len(database.reads) == 2
    database.rows = rows(400)
    assert [count("p", 500), count("p", 500), count("p", 100)] == [400, 400, 100]
    assert len(database.reads) == 3


def test_rows_of_ended_operations_are_skipped():
    database = Database(rows(3))
    count = counter(database)
    count("p", 500)
    count("p", 500)
    assert [it["floor"] for it in database.reads] == ["", database.rows[0][0]]
    database.rows = []
    count("p", 500)
    count("p", 500)
    assert database.reads[-1]["floor"] > database.reads[-2]["floor"]


def test_stale_rows_are_removed_at_the_limit():
    left = rows(10)
    database = Database(left)
    assert counter(database)("p", 10) == 0
    assert {call[1]["operation_id"] for call in database.written} == {row[0] for row in left}
    assert {call[1]["clock"] for call in database.written} == {7}


def test_a_row_of_a_recent_operation_is_kept():
    database = Database(rows(10, age=5.0))
    assert counter(database)("p", 10) == 10
    assert database.written == []


def test_bulk_work_is_not_counted():
    bulk = make_operation(make_service(), Kind.UPDATE, priority=Priority.BULK)
    assert list(opened.Opened.begins(bulk, 1)) == []
    assert list(opened.Opened.changes([bulk], 1)) == []


def test_cached_counts_tell_which_parked_operations_have_become_due():
    database = Database([(*row[:3], 1000 + n) for n, row in enumerate(rows(60))])
    made = opened.Opened(database)
    assert made.count("p", 500, 0) == Unfinished(60, 60)
    assert made.count("p", 500, 1009) == Unfinished(60, 50)
    assert made.count("p", 20, 1009) == Unfinished(20, 10)
    assert len(database.reads) == 1


def test_only_parked_operations_are_written_again():
    operation = make_operation(make_service(), Kind.UPDATE)
    assert list(opened.Opened.changes([operation], 1)) == []
    parked = replace(operation, state=State.WAITING)
    ((_statement, parameters),) = opened.Opened.changes([parked], 1)
    assert parameters["parked_until"] == codec.to_number(parked.next_attempt_at)
