# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of job boards with a backend that the tests can stop."""

import abc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import taskflow.exceptions

from poppy.distributed_task.job_source import Board
from poppy.testing.board import BoardContract, Factory, eventually, names


class OutageContract(BoardContract, abc.ABC):
    """The tests of every board, and those of outages.

    While the backend is down, posting must fail within ``PROMPT`` seconds.
    """

    PROMPT = 3.0

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop the backend."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start the backend with its data."""

    @abc.abstractmethod
    def wipe(self) -> None:
        """Start the backend without data; it may be running."""

    def test_posting_during_an_outage_fails_soon_and_leaks_nothing(self, board: Board) -> None:
        board.post("before", details={})
        threads = threading.active_count()
        self.stop()
        try:
            begin = time.monotonic()
            for _ in range(50):
                with pytest.raises(taskflow.exceptions.JobFailure):
                    board.post("during-outage", details={})
            assert time.monotonic() - begin < self.PROMPT
            assert threading.active_count() <= threads
        finally:
            self.start()

        eventually(lambda: board.post("after", details={}) or True)

        assert names(board)[-1] == "after"

    def test_connecting_during_an_outage_fails_soon_and_works_later(
        self, factory: Factory, path: str
    ) -> None:
        self.stop()
        board = factory("early", path)
        try:
            for _ in range(3):
                begin = time.monotonic()
                with pytest.raises(taskflow.exceptions.JobFailure):
                    board.connect()
                assert time.monotonic() - begin < self.PROMPT
        finally:
            self.start()
        eventually(lambda: _connect(board))
        board.post("job", details={})
        assert names(board) == ["job"]
        board.close()

    def test_connected_boards_run_the_jobs_after_a_restart(self, board: Any) -> None:
        board.post("job", details={})
        self.stop()
        self.start()

        eventually(lambda: names(board) == ["job"])

        eventually(lambda: _run(board) == "job")

    def test_connected_boards_use_a_backend_that_has_lost_its_data(
        self, board: Any, boards: Callable[..., Board]
    ) -> None:
        other: Any = boards("other")
        for number in range(3):
            board.post(f"old {number}", details={})
        eventually(lambda: len(names(other)) == 3)
        self.wipe()

        eventually(lambda: board.post("new", details={}) or True)

        eventually(lambda: names(other) == ["new"])
        eventually(lambda: _run(other) == "new")


def _connect(board: Board) -> bool:
    board.connect()
    return board.connected


def _run(board: Any) -> str | None:
    for job in board.iterjobs(only_unclaimed=True):
        board.claim(job, "worker")
        board.consume(job, "worker")
        return str(job.name)
    return None
