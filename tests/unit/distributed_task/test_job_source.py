# SPDX-License-Identifier: Apache-2.0
"""The jobs of a board that a conductor sees."""

import itertools
import logging
import threading
import time
from typing import NamedTuple

import pytest
import taskflow.exceptions
from taskflow.jobs.base import JobPriority

from poppy.distributed_task import job_source


class Job(NamedTuple):
    """A job with the attributes that the source uses."""

    uuid: str
    project: str = "p"
    priority: JobPriority = JobPriority.NORMAL

    @property
    def details(self):
        return {"project_id": self.project}


class Board:
    """A board that may be unreachable."""

    def __init__(self):
        self.away = False
        self.asked = []
        self.jobs = [Job("job")]
        self.taken = set()
        self.claimed = []

    def iterjobs(self, **options):
        self.asked.append(options)
        if self.away:
            raise taskflow.exceptions.JobFailure("no answer")
        return iter(self.jobs)

    def claim(self, job, who):
        if self.away:
            raise taskflow.exceptions.JobFailure("no answer")
        if job in self.taken:
            raise taskflow.exceptions.UnclaimableJob("another was faster")
        self.claimed.append((job, who))

    @property
    def connected(self):
        return not self.away


class Stopped(threading.Event):
    """An event that records pauses and does not wait."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    def wait(self, timeout=None):
        self.pauses.append(timeout)
        return False


@pytest.fixture
def stopped():
    return Stopped()


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def source(board, stopped):
    return job_source.JobSource(board, stopped)


def test_only_unclaimed_jobs_are_listed(source, board):
    assert list(source.iterjobs(ensure_fresh=True)) == [Job("job")]
    assert board.asked == [{"only_unclaimed": True, "ensure_fresh": True}]


def test_other_attributes_are_those_of_the_board(source, board):
    assert source.connected
    board.away = True
    assert not source.connected


def test_an_outage_logs_one_line_per_attempt_and_pauses_grow(source, board, stopped, caplog):
    board.away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            assert list(source.iterjobs()) == []
    assert stopped.pauses == [1, 2, 4, 8, 15, 15, 15, 15]
    assert len(caplog.records) == 8
    assert all(record.exc_info is None for record in caplog.records)
    board.away = False
    assert list(source.iterjobs()) == [Job("job")]
    board.away = True
    list(source.iterjobs())
    assert stopped.pauses[-1] == 1


def test_claims_fail_with_growing_pauses_during_an_outage(source, board, stopped):
    assert source.take(Job("job"), "me")
    board.away = True
    for _ in range(6):
        assert not source.take(Job("job"), "me")
    assert stopped.pauses == [1, 2, 4, 8, 15, 15], "its slot stays taken"
    board.away = False
    assert source.take(Job("job"), "me")
    board.away = True
    assert not source.take(Job("job"), "me")
    assert stopped.pauses[-1] == 1


def test_an_unexpected_error_of_the_board_is_a_failed_claim(source, board, stopped, caplog):
    board.claim = None
    assert not source.take(Job("job"), "me")
    assert stopped.pauses == [1]
    assert caplog.records[-1].exc_info


def test_a_failed_claim_does_not_disturb_the_current_listing(source, board):
    board.jobs = [Job("a"), Job("b")]
    jobs = source.iterjobs()
    assert next(jobs) == Job("a")
    board.away = True
    assert not source.take(Job("a"), "me")
    board.away = False
    assert next(jobs) == Job("b")


def test_a_job_in_progress_is_not_listed_until_it_is_released(source, board):
    board.jobs = [Job("a"), Job("b")]
    source.claim(Job("a"), "me")
    assert list(source.iterjobs(ensure_fresh=True)) == [Job("b")]
    assert board.claimed == []
    assert source.take(Job("a"), "me")
    assert board.claimed == [(Job("a"), "me")]
    assert list(source.iterjobs(ensure_fresh=True)) == [Job("b")]
    source.let_go(Job("a"))
    assert list(source.iterjobs(ensure_fresh=True)) == [Job("a"), Job("b")]


def test_the_board_is_not_queried_without_a_free_slot(board, stopped):
    places = [0]
    source = job_source.JobSource(board, stopped, lambda: places[0])
    board.jobs = [Job(name) for name in "abc"]
    assert list(source.iterjobs()) == []
    assert board.asked == []
    places[0] = 2
    jobs = source.iterjobs()
    assert next(jobs) == Job("a")
    places[0] = 0
    assert list(jobs) == []
    places[0] = 2
    assert list(source.iterjobs()) == [Job("b"), Job("c")], "from the list of a moment ago"
    assert len(board.asked) == 1


def test_the_first_job_is_random_for_a_while_after_collisions(source, board):
    board.jobs = [Job(f"{number:02}") for number in range(100)]

    def first():
        source._stale_at = 0.0
        return int(next(source.iterjobs()).uuid)

    assert {first() for _ in range(20)} == {0}
    board.taken = {Job("00")}
    for _ in range(3):
        assert not source.take(Job("00"), "me")
    seen = {first() for _ in range(16)}
    assert len(seen) > 3
    assert max(seen) < 32
    for _ in range(32):
        first()
    assert first() == 0, "after a while without collisions"


def taken(source, count):
    """Claim the next jobs and return their names."""
    names = []
    for job in source.iterjobs(ensure_fresh=True):
        source.claim(job, "me")
        names.append(job.uuid)
        if len(names) == count:
            break
    return names


def test_a_project_with_few_jobs_does_not_wait_for_one_with_many(source, board):
    board.jobs = [*(Job(f"a{number}", "a") for number in range(50)), Job("b", "b")]
    assert taken(source, 3) == ["a0", "b", "a1"]


def test_running_jobs_count_as_turns_of_their_project(source, board):
    board.jobs = [Job(f"a{number}", "a") for number in range(50)]
    assert taken(source, 2) == ["a0", "a1"]
    board.jobs += [Job(f"b{number}", "b") for number in range(3)]
    assert taken(source, 4) == ["b0", "b1", "a2", "b2"]
    for number in range(3):
        source.let_go(Job(f"a{number}", "a"))
    board.jobs = [job for job in board.jobs if job.uuid not in ("a0", "a1", "a2")]
    board.jobs.append(Job("b3", "b"))
    assert taken(source, 1) == ["a3"]


def test_a_new_project_is_found_while_a_listing_is_in_use(source, board):
    board.jobs = [Job(f"a{number}", "a") for number in range(50)]
    (first,) = itertools.islice(source.iterjobs(), 1)
    source.claim(first, "me")
    board.jobs.append(Job("b", "b"))
    deadline = time.monotonic() + 10
    seen = None
    while seen != "b" and time.monotonic() < deadline:
        time.sleep(0.01)
        seen = next(source.iterjobs()).uuid
    assert seen == "b"


def test_collisions_do_not_put_a_project_behind_another(source, board):
    board.jobs = [*(Job(f"a{number}", "a") for number in range(60)), Job("b", "b")]
    source._spread = 64
    for _ in range(20):
        source._stale_at = 0.0
        jobs = source.iterjobs()
        assert "b" in {next(jobs).uuid, next(jobs).uuid}


def test_purges_come_first_and_bulk_work_gets_its_share(source, board):
    low, high = JobPriority.LOW, JobPriority.HIGH
    board.jobs = [
        Job("bulk", "a", low),
        *(Job(f"{number}", "a") for number in range(20)),
        Job("purge", "a", high),
    ]
    order = [taken(source, 1)[0] for _ in range(10)]
    assert order == ["purge", *(str(number) for number in range(6)), "bulk", "6", "7"]


def test_the_whole_board_is_read(board, stopped):
    source = job_source.JobSource(board, stopped, depth=400)
    board.jobs = [*(Job(f"a{number}", "a") for number in range(400)), Job("b", "b")]
    assert "b" in taken(source, 2)


def test_a_job_without_a_project_does_not_block_others(source, board):
    class Junk(Job):
        details = None

    board.jobs = [Junk("junk"), Job("a", "a")]
    assert taken(source, 2) == ["junk", "a"]


def test_a_pause_ends_when_woken_or_interrupted():
    idle = job_source.Idle(30)
    begin = time.monotonic()
    threading.Timer(0.05, idle.wake).start()
    idle.wait()
    idle.wake()
    idle.wait()
    threading.Timer(0.05, idle.interrupt).start()
    idle.wait()
    assert idle.is_stopped()
    assert time.monotonic() - begin < 5


def test_pauses_grow_until_there_may_be_work(monkeypatch):
    idle = job_source.Idle(0.2)
    pauses = []

    def passed(pause):
        pauses.append(pause)
        return len(pauses) == 12

    monkeypatch.setattr(idle._woken, "wait", passed)
    for _ in range(13):
        idle.wait()
    assert pauses[0] == pauses[12] == 0.2
    assert sorted(pauses[:12]) == pauses[:12]
    assert pauses[8] == pauses[11] == 1.0
