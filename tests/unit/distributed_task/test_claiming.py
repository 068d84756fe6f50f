# SPDX-License-Identifier: Apache-2.0
"""What a conductor is shown of a board."""

import logging
import threading
import time
from typing import NamedTuple

import pytest
import taskflow.exceptions

from poppy.distributed_task import claiming


class Job(NamedTuple):
    """What is needed of a job."""

    uuid: str


class Board:
    """A board that may be away."""

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
    """Remembers pauses and waits for none."""

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
def patient(board, stopped):
    return claiming.PatientBoard(board, stopped)


def test_only_free_jobs_are_shown(patient, board):
    assert list(patient.iterjobs(ensure_fresh=True)) == [Job("job")]
    assert board.asked == [{"only_unclaimed": True, "ensure_fresh": True}]


def test_everything_else_is_the_boards(patient, board):
    assert patient.connected
    board.away = True
    assert not patient.connected


def test_an_outage_is_one_line_and_a_pause_that_grows(patient, board, stopped, caplog):
    board.away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            assert list(patient.iterjobs()) == []
    assert stopped.pauses == [1, 2, 4, 8, 15, 15, 15, 15]
    assert len(caplog.records) == 8
    assert all(record.exc_info is None for record in caplog.records)
    board.away = False
    assert list(patient.iterjobs()) == [Job("job")]
    board.away = True
    list(patient.iterjobs())
    assert stopped.pauses[-1] == 1


def test_a_claim_that_fails_for_an_outage_is_no_claim(patient, board, stopped):
    assert patient.take(Job("job"), "me")
    board.away = True
    for _ in range(6):
        assert not patient.take(Job("job"), "me")
    assert stopped.pauses == [1, 2, 4, 8, 15, 15], "its place stays taken meanwhile"
    board.away = False
    assert patient.take(Job("job"), "me")
    board.away = True
    assert not patient.take(Job("job"), "me")
    assert stopped.pauses[-1] == 1


def test_a_board_that_breaks_has_claimed_nothing(patient, board, stopped, caplog):
    board.claim = None
    assert not patient.take(Job("job"), "me")
    assert stopped.pauses == [1]
    assert caplog.records[-1].exc_info


def test_claims_that_fail_do_not_disturb_the_list_that_is_worked_off(patient, board):
    board.jobs = [Job("a"), Job("b")]
    jobs = patient.iterjobs()
    assert next(jobs) == Job("a")
    board.away = True
    assert not patient.take(Job("a"), "me")
    board.away = False
    assert next(jobs) == Job("b")


def test_a_job_that_is_about_to_be_taken_is_not_shown_again_until_it_is_let_go(patient, board):
    board.jobs = [Job("a"), Job("b")]
    patient.claim(Job("a"), "me")
    assert list(patient.iterjobs(ensure_fresh=True)) == [Job("b")]
    assert board.claimed == []
    assert patient.take(Job("a"), "me")
    assert board.claimed == [(Job("a"), "me")]
    assert list(patient.iterjobs(ensure_fresh=True)) == [Job("b")]
    patient.let_go(Job("a"))
    assert list(patient.iterjobs(ensure_fresh=True)) == [Job("a"), Job("b")]


def test_without_a_free_place_the_board_is_not_asked(board, stopped):
    places = [0]
    patient = claiming.PatientBoard(board, stopped, lambda: places[0])
    board.jobs = [Job(name) for name in "abc"]
    assert list(patient.iterjobs()) == []
    assert board.asked == []
    places[0] = 2
    jobs = patient.iterjobs()
    assert next(jobs) == Job("a")
    places[0] = 0
    assert list(jobs) == []
    places[0] = 2
    assert list(patient.iterjobs()) == [Job("b"), Job("c")], "from the list of a moment ago"
    assert len(board.asked) == 1


def test_alone_the_oldest_is_taken_first_and_after_a_collision_any_of_the_first(patient, board):
    board.jobs = [Job(f"{number:02}") for number in range(100)]

    def first():
        patient._jobs.clear()
        return int(next(patient.iterjobs()).uuid)

    assert {first() for _ in range(20)} == {0}
    board.taken = {Job("00")}
    for _ in range(3):
        assert not patient.take(Job("00"), "me")
    seen = {first() for _ in range(16)}
    assert len(seen) > 3
    assert max(seen) < 32
    for _ in range(32):
        first()
    assert first() == 0, "after a while without collisions"


def test_a_pause_is_over_when_there_may_be_something():
    idle = claiming.Idle(30)
    begin = time.monotonic()
    threading.Timer(0.05, idle.wake).start()
    idle.wait()
    idle.wake()
    idle.wait()
    threading.Timer(0.05, idle.interrupt).start()
    idle.wait()
    assert idle.is_stopped()
    assert time.monotonic() - begin < 5
