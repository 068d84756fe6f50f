# SPDX-License-Identifier: Apache-2.0
"""Several processes on the SQL job board of one SQLite file, and the board contract."""

import functools
import multiprocessing
import os
import signal
import threading
import time

import pytest
from taskflow import exceptions as excp

from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.testing.board import BoardContract, in_processes
from tests.unit.distributed_task.board import boards
from tests.unit.distributed_task.board.boards import eventually, open_board
from tests.unit.distributed_task.board.conftest import board, connection  # noqa: F401

# ruff: noqa: F811

LEASE = 0.9


def make(connection, lease, name, path):
    conf = {"connection": connection, "lease": lease, "path": path, "poll_interval": 0.05}
    return SQLJobBoard(name, conf)


class TestContract(BoardContract):
    LEASE = 1.0

    @pytest.fixture
    def factory(self, connection):
        return functools.partial(make, connection, self.LEASE)


def test_processes_can_connect_to_an_empty_database_concurrently(connection):
    in_processes(4, boards.connect_and_post, connection)
    with open_board(connection) as board:
        assert board.job_count == 4


def test_a_waiter_finds_a_post_of_another_process_at_its_next_poll(connection):
    with open_board(connection, poll_interval=0.05) as board:
        call = threading.Thread(target=in_processes, args=(1, boards.connect_and_post, connection))
        call.start()
        assert [job.name for job in board.wait(timeout=120)] == ["job"]
        call.join()


def test_concurrent_processes_claim_each_job_once(connection):
    boards.race(connection, processes=3, jobs=200)


def _claim_and_hang(connection, pipe):
    with open_board(connection, lease=LEASE) as board:
        (job,) = board.iterjobs()
        board.claim(job, "doomed")
        pipe.send("claimed")
        pipe.recv()
        time.sleep(LEASE)
        try:
            board.consume(job, "doomed")
        except excp.JobFailure as error:
            pipe.send(str(error))
        else:
            pipe.send("consumed")


@pytest.fixture
def claimer(connection, board):
    board.post("job")
    context = multiprocessing.get_context("spawn")
    pipe, its_end = context.Pipe()
    process = context.Process(target=_claim_and_hang, args=(connection, its_end))
    process.start()
    its_end.close()
    assert pipe.poll(120) and pipe.recv() == "claimed"
    yield process, pipe
    process.kill()
    process.join()
    process.close()
    pipe.close()


def test_the_job_of_a_killed_process_is_free_after_the_lease(board, claimer):
    process, _ = claimer
    (job,) = board.iterjobs()
    time.sleep(LEASE * 1.5)
    assert board.find_owner(job) == "doomed"
    process.kill()
    killed = time.monotonic()
    eventually(lambda: job.state == "UNCLAIMED")
    assert time.monotonic() - killed < LEASE + 3
    board.claim(job, "heir")
    board.consume(job, "heir")


def test_a_process_suspended_past_its_lease_cannot_end_its_claim(board, claimer):
    process, pipe = claimer
    (job,) = board.iterjobs()
    os.kill(process.pid, signal.SIGSTOP)
    eventually(lambda: job.state == "UNCLAIMED")
    board.claim(job, "heir")
    os.kill(process.pid, signal.SIGCONT)
    pipe.send("go on")
    assert pipe.poll(120)
    assert "the current claim is that of heir" in pipe.recv()
    assert board.find_owner(job) == "heir"
