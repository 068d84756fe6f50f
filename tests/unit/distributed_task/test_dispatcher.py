# SPDX-License-Identifier: Apache-2.0
"""The dispatcher, which posts due operations from storage to the job board."""

import datetime
import threading
import time
from dataclasses import replace
from typing import NamedTuple

import pytest
from taskflow.jobs.base import JobPriority

from poppy.common import errors
from poppy.distributed_task import dispatcher as dispatcher_module
from poppy.distributed_task.dispatcher import Dispatcher
from poppy.model.operations import Kind, Operation, Priority, State
from poppy.testing.builders import make_operation, make_service

NOW = datetime.datetime.now(datetime.UTC)
#: Longer than any test, so that none sees a redelivery.
LATER = datetime.timedelta(hours=1)


class Job(NamedTuple):
    name: str
    project: str = "p"
    priority: JobPriority = JobPriority.NORMAL

    @property
    def uuid(self):
        return self.name

    @property
    def details(self):
        return {"project_id": self.project}


class Board:
    """A board with unclaimed jobs."""

    connected = True

    def __init__(self):
        self.names = []
        self.counted = 0

    def waiting(self, limit):
        self.counted += 1
        return min(limit, len(self.names))

    def iterjobs(self, only_unclaimed, ensure_fresh):
        assert only_unclaimed
        # Copy first: while others take jobs, an iteration would skip some that remain.
        return map(Job, list(self.names))

    def post(self, operation):
        self.names.append(operation.operation_id)


class Operations:
    """Due operations; other dispatchers may take some of them concurrently."""

    def __init__(self, count):
        self.queued = {f"{number:04}": NOW for number in range(count)}
        self.asked = 0
        self.taken = set()

    def due(self, now, limit, had):
        self.asked += 1
        self.had = dict(had)
        ids = [name for name, at in sorted(self.queued.items()) if at <= now]
        return [self._operation(name) for name in ids[:limit]]

    def _operation(self, name):
        return Operation(
            project_id="p",
            service_id="s",
            operation_id=name,
            kind=Kind.CREATE,
            created_at=NOW,
            updated_at=NOW,
            next_attempt_at=self.queued[name],
        )

    def requeue(self, operation, until):
        name = operation.operation_id
        if name in self.taken or self.queued[name] != operation.next_attempt_at:
            return False
        self.queued[name] = until
        return True


class Storage:
    def __init__(self, count):
        self.operations = Operations(count)


def make(storage, board, depth=16, interval=1.0, post=None):
    return Dispatcher(storage, board, post or board.post, interval, LATER, depth)


def test_a_project_is_limited_to_its_share_of_the_board():
    storage, board = Storage(20), Board()
    assert make(storage, board).look()
    # A single project may have half of the board.
    assert board.names == [f"{number:04}" for number in range(8)]


def test_a_full_board_costs_one_count_and_no_storage_query():
    storage, board = Storage(20), Board()
    board.names = ["x"] * 15
    assert make(storage, board).look(), "there may be more"
    assert storage.operations.asked == 0
    assert board.counted == 1


def test_look_returns_false_when_nothing_more_is_due():
    assert not make(Storage(0), Board()).look()
    assert not make(Storage(3), Board()).look()


def test_looks_after_an_idle_one_only_ask_storage():
    storage, board = Storage(0), Board()
    dispatcher = make(storage, board)
    dispatcher.look()
    board.counted = storage.operations.asked = 0
    for _ in range(5):
        assert not dispatcher.look()
    assert (storage.operations.asked, board.counted) == (5, 0)


def test_a_look_after_an_idle_one_posts_all_that_became_due():
    storage, board = Storage(0), Board()
    dispatcher = make(storage, board)
    dispatcher.look()
    storage.operations.queued = dict.fromkeys(["0000", "0001", "0002"], NOW)
    assert not dispatcher.look()
    assert board.names == ["0000", "0001", "0002"]


def test_a_backlog_after_an_idle_look_is_counted_on_the_board_again():
    storage, board = Storage(0), Board()
    dispatcher = make(storage, board)
    dispatcher.look()
    storage.operations.queued = {f"{number:04}": NOW for number in range(40)}
    board.names = ["x"] * 15
    assert dispatcher.look(), "the board is full"
    storage.operations.asked = 0
    assert dispatcher.look()
    assert storage.operations.asked == 0


def test_a_job_on_the_board_is_not_posted_again():
    storage, board = Storage(3), Board()
    board.names = ["0001"]
    make(storage, board).look()
    assert sorted(board.names) == ["0000", "0001", "0002"]
    make(storage, board).look()
    assert sorted(board.names) == ["0000", "0001", "0002"]


def test_a_lost_race_with_another_dispatcher_ends_the_look():
    storage, board = Storage(10), Board()
    storage.operations.taken = {"0002"}
    assert make(storage, board).look()
    assert board.names == ["0000", "0001"]


def test_concurrent_dispatchers_post_each_operation_once():
    storage, board = Storage(500), Board()
    lock = threading.Lock()
    posted, deepest = [], []
    real = storage.operations.requeue

    def requeue(operation, until):
        with lock:
            return real(operation, until)

    def post(operation):
        with lock:
            posted.append(operation.operation_id)
            board.names.append(operation.operation_id)
            deepest.append(len(board.names))

    storage.operations.requeue = requeue
    stopped = threading.Event()
    threads = [
        threading.Thread(
            target=make(storage, board, depth=50, interval=0.01, post=post).run, args=(stopped,)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while len(posted) < 500 and time.monotonic() < deadline:
        time.sleep(0.002)
        with lock:
            del board.names[:5]
    stopped.set()
    for thread in threads:
        thread.join()
    assert sorted(posted) == sorted(storage.operations.queued)
    # At most the share of the project, 25, by each look that began before the latest one.
    assert max(deepest) <= 4 * 25


def test_storage_is_not_queried_while_the_board_is_disconnected():
    storage, board = Storage(5), Board()
    board.connected = False
    assert not make(storage, board).look()
    assert storage.operations.asked == 0


def test_the_dispatcher_survives_outages_and_unexpected_errors():
    storage, board = Storage(5), Board()
    failures = [errors.Unavailable("away"), ValueError("surprise")]

    def post(operation):
        if failures:
            raise failures.pop()
        board.post(operation)

    stopped = threading.Event()
    thread = threading.Thread(
        target=make(storage, board, interval=0.01, post=post).run, args=(stopped,)
    )
    thread.start()
    deadline = time.monotonic() + 10
    while len(board.names) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    stopped.set()
    thread.join()
    # The two that could not be posted are due again after the redelivery interval.
    assert board.names == ["0002", "0003", "0004"]


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_all_operations_pass_through_a_small_board(depth):
    storage, board = Storage(10), Board()
    dispatcher = make(storage, board, depth=depth)
    while dispatcher.look():
        board.names.clear()
    assert all(at > NOW for at in storage.operations.queued.values())


def operation(project, priority=Priority.TENANT):
    service = make_service(project_id=project)
    return make_operation(service, next_attempt_at=NOW, priority=priority)


def filled(due, waiting, depth=16):
    """Look once; return the projects of the posted operations, and whether there may be more."""
    storage, board = Storage(0), Board()
    storage.operations.due = lambda now, limit, had: list(due)[:limit]
    storage.operations.requeue = lambda operation, until: True
    board.iterjobs = lambda **_: iter(waiting)
    board.names = [job.name for job in waiting]
    posted = []
    more = make(storage, board, depth, post=lambda it: posted.append(it.project_id)).look()
    return posted, more


def jobs(project, count, priority=JobPriority.NORMAL):
    return [Job(f"{project}-{number}", project, priority) for number in range(count)]


def test_storage_gets_the_number_of_jobs_per_project():
    storage, board = Storage(3), Board()
    board.names = ["x", "y"]
    make(storage, board).look()
    assert storage.operations.had == {"p": 2}


def test_a_project_with_its_full_share_leaves_room_for_others():
    due = [operation(name) for name in ("flood", "flood", "other", "flood")]
    assert filled(due, jobs("flood", 8)) == (["other"], True)


def test_the_last_quarter_is_reserved_for_projects_without_jobs():
    due = [operation(name) for name in ("a", "new", "b", "new", "newer")]
    posted, more = filled(due, [*jobs("a", 6), *jobs("b", 6)])
    assert (posted, more) == (["new", "newer"], True)


def test_bulk_work_is_limited_to_a_quarter_of_the_board():
    due = [operation(f"p{number}", Priority.BULK) for number in range(10)]
    assert filled(due, [])[0] == ["p0", "p1", "p2", "p3"]
    posted, _ = filled([*due, operation("own")], jobs("bulk", 4, JobPriority.LOW))
    assert posted == ["own"]


class Old:
    """Storage with operations that ended long ago."""

    def __init__(self, old):
        self.operations = self
        self.old = old
        self.asked = []

    def prune(self, before, limit):
        self.asked.append(before)
        gone = min(self.old, limit)
        self.old -= gone
        return gone


@pytest.mark.parametrize(("old", "times"), [(0, 1), (499, 1), (500, 2), (1700, 4)])
def test_old_operations_are_pruned_in_batches(monkeypatch, old, times):
    storage = Old(old)
    days = datetime.timedelta(days=3)
    dispatcher = Dispatcher(storage, Board(), None, 1.0, LATER, 10, days)
    clock = time.monotonic() + dispatcher_module.SWEEP
    monkeypatch.setattr(dispatcher_module.time, "monotonic", lambda: clock)
    for _ in range(10):
        if clock >= dispatcher._next_sweep:
            dispatcher.sweep()
    assert storage.old == 0
    assert len(storage.asked) == times
    ago = datetime.datetime.now(datetime.UTC) - storage.asked[0]
    assert abs(ago - days) < datetime.timedelta(seconds=10)


class Running(Storage):
    """Storage with a run with an expired lease; it is unavailable at the first look."""

    def __init__(self):
        super().__init__(1)
        self.looks = 0
        due = self.operations.due
        self.operations.due = lambda now, limit, had: [
            replace(it, state=State.RUNNING) for it in self._answer(due(now, limit, had))
        ]

    def _answer(self, found):
        self.looks += 1
        if self.looks == 1:
            raise errors.Unavailable("away")
        return found


@pytest.mark.parametrize(("spare", "taken"), [(3600, []), (0, ["0000"])])
def test_takeovers_wait_for_heartbeats_after_a_storage_outage(spare, taken):
    storage, board, stopped = Running(), Board(), threading.Event()
    dispatcher = Dispatcher(storage, board, board.post, 0.01, LATER, 10, spare=spare)
    thread = threading.Thread(target=dispatcher.run, args=(stopped,))
    thread.start()
    deadline = time.monotonic() + 20
    while storage.looks < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    stopped.set()
    thread.join()
    assert storage.looks >= 4
    assert board.names == taken


def test_nothing_is_pruned_without_a_retention_time():
    storage = Old(5)
    storage.edge = Old(5)
    Dispatcher(storage, Board(), None, 1.0, LATER, 10).sweep()
    assert storage.asked == storage.edge.asked == []


def test_log_of_the_edge_is_pruned_in_batches_of_its_own(monkeypatch):
    storage, hours = Old(0), datetime.timedelta(hours=5)
    storage.edge = Old(1200)
    days = datetime.timedelta(days=3)
    dispatcher = Dispatcher(storage, Board(), None, 1.0, LATER, 10, days, hours)
    clock = time.monotonic() + dispatcher_module.SWEEP
    monkeypatch.setattr(dispatcher_module.time, "monotonic", lambda: clock)
    for _ in range(10):
        if clock >= dispatcher._next_sweep:
            dispatcher.sweep()
    assert (storage.edge.old, len(storage.edge.asked)) == (0, 3)
    ago = datetime.datetime.now(datetime.UTC) - storage.edge.asked[0]
    assert abs(ago - hours) < datetime.timedelta(seconds=10)
