# SPDX-License-Identifier: Apache-2.0
"""What a conductor is shown of a board."""

import logging
import threading

import pytest
import taskflow.exceptions

from poppy.distributed_task import worker


class Board:
    """A board that may be away."""

    def __init__(self):
        self.away = False
        self.asked = []

    def iterjobs(self, **options):
        self.asked.append(options)
        if self.away:
            raise taskflow.exceptions.JobFailure("no answer")
        return iter(["job"])

    def claim(self, job, who):
        if self.away:
            raise taskflow.exceptions.JobFailure("no answer")

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
    return worker.PatientBoard(board, stopped)


def test_only_free_jobs_are_shown(patient, board):
    assert list(patient.iterjobs(ensure_fresh=True)) == ["job"]
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
    assert list(patient.iterjobs()) == ["job"]
    board.away = True
    list(patient.iterjobs())
    assert stopped.pauses[-1] == 1


def test_a_claim_that_fails_for_an_outage_is_no_claim(patient, board):
    patient.claim("job", "me")
    board.away = True
    with pytest.raises(taskflow.exceptions.UnclaimableJob):
        patient.claim("job", "me")
