# SPDX-License-Identifier: Apache-2.0
"""Conformance suite of job boards; see :mod:`poppy.testing.provider` for its use."""

import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
import taskflow.exceptions
from taskflow.jobs.base import JobPriority

from poppy.distributed_task.job_source import Board

#: Creates an unconnected board from its name and path; must be picklable.
Factory = Callable[[str, str], Board]

_DETAILS = {"project_id": "p", "service_id": "café", "operation_id": "日本語 \N{SNOWMAN}"}


def eventually(check: Callable[[], Any], timeout: float = 15.0) -> None:
    """Wait until ``check`` returns a true value; a board's errors count as false."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if check():
                return
        except taskflow.exceptions.TaskFlowException:
            pass
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)


class BoardContract:
    """Tests of every board. A subclass provides the fixture ``factory``, a :data:`Factory`."""

    LEASE = 2.0
    """Seconds until the jobs of a killed process are free; the factory must set the same."""

    @pytest.fixture
    def path(self) -> str:
        """A unique path of the board in the backend."""
        return uuid.uuid4().hex

    @pytest.fixture
    def boards(self, factory: Factory, path: str) -> Iterator[Callable[..., Board]]:
        """A function that creates connected boards; they are closed after the test."""
        made: list[Board] = []

        def make(name: str = "worker", at: str = path) -> Board:
            made.append(factory(name, at))
            made[-1].connect()
            return made[-1]

        yield make
        for board in made:
            board.close()

    @pytest.fixture
    def board(self, boards: Callable[..., Board]) -> Board:
        return boards()

    def test_other_boards_see_a_posted_job_with_its_details(
        self, board: Board, boards: Callable[..., Board]
    ) -> None:
        other = boards("other")
        board.post("näme", details=_DETAILS)

        eventually(lambda: names(other))

        (job,) = other.iterjobs(only_unclaimed=True)
        assert (job.name, job.details) == ("näme", _DETAILS)

    def test_oldest_job_comes_first(self, board: Board, boards: Callable[..., Board]) -> None:
        other = boards("other")
        posted = [f"job {number}" for number in range(12)]
        for name in posted:
            board.post(name, details={})

        eventually(lambda: len(names(other)) == len(posted))

        assert names(other) == names(board) == posted

    def test_most_urgent_job_comes_first(self, board: Board, boards: Callable[..., Board]) -> None:
        other = boards("other")
        for number, priority in enumerate(("LOW", "NORMAL", "HIGH", "NORMAL", "LOW", "HIGH")):
            board.post(f"{priority} {number}", details={}, priority=JobPriority(priority))

        eventually(lambda: len(names(other)) == 6)

        expected = ["HIGH 2", "HIGH 5", "NORMAL 1", "NORMAL 3", "LOW 0", "LOW 4"]
        assert names(other) == names(board) == expected
        assert [job.priority.value for job in other.iterjobs()] == [
            name.partition(" ")[0] for name in expected
        ]

    def test_a_claim_is_exclusive_and_hides_the_job(
        self, board: Board, boards: Callable[..., Board]
    ) -> None:
        other = boards("other")
        board.post("job", details={})
        eventually(lambda: names(other))
        (seen,) = other.iterjobs(only_unclaimed=True)
        (job,) = board.iterjobs(only_unclaimed=True)

        board.claim(job, "worker")

        with pytest.raises(taskflow.exceptions.UnclaimableJob):
            other.claim(seen, "other")
        with pytest.raises(taskflow.exceptions.UnclaimableJob):
            board.claim(job, "worker")
        assert names(board) == []
        eventually(lambda: not names(other))
        assert [job.name for job in other.iterjobs()] == ["job"]

    def test_threads_of_one_board_claim_concurrently(self, board: Any) -> None:
        for number in range(8):
            board.post(f"job {number}", details={})
        jobs = list(board.iterjobs(only_unclaimed=True, ensure_fresh=True))

        def work(job: Any) -> bool:
            try:
                board.claim(job, "worker")
            except (taskflow.exceptions.UnclaimableJob, taskflow.exceptions.NotFound):
                return False
            board.consume(job, "worker")
            return True

        with ThreadPoolExecutor(16) as pool:
            done = list(pool.map(work, [*jobs[1:], *[jobs[0]] * 8]))

        assert done[:7] == [True] * 7
        assert sum(done[7:]) == 1
        assert board.waiting(10) == 0

    def test_consumed_job_does_not_come_back(
        self, board: Any, boards: Callable[..., Board]
    ) -> None:
        other: Any = boards("other")
        board.post("job", details={})
        eventually(lambda: names(other))
        (seen,) = other.iterjobs()
        (job,) = board.iterjobs(only_unclaimed=True)
        board.claim(job, "worker")

        board.consume(job, "worker")

        eventually(lambda: not list(other.iterjobs()))
        assert list(board.iterjobs()) == []
        with pytest.raises(taskflow.exceptions.NotFound):
            other.claim(seen, "other")
        with pytest.raises(taskflow.exceptions.NotFound):
            board.consume(job, "worker")

    def test_an_abandoned_job_is_free(self, board: Any, boards: Callable[..., Board]) -> None:
        other: Any = boards("other")
        board.post("job", details={})
        (job,) = board.iterjobs(only_unclaimed=True)
        board.claim(job, "worker")

        board.abandon(job, "worker")

        eventually(lambda: names(other))
        (seen,) = other.iterjobs(only_unclaimed=True)
        other.claim(seen, "other")
        other.consume(seen, "other")

    def test_only_its_holder_can_end_a_claim(
        self, board: Any, boards: Callable[..., Board]
    ) -> None:
        other: Any = boards("other")
        board.post("job", details={})
        eventually(lambda: names(other))
        (seen,) = other.iterjobs()
        (job,) = board.iterjobs()
        board.claim(job, "worker")

        for end in (other.consume, other.abandon):
            with pytest.raises(taskflow.exceptions.JobFailure):
                end(seen, "other")

        assert names(board) == []
        board.consume(job, "worker")

    def test_boards_at_different_paths_are_separate(
        self, board: Board, boards: Callable[..., Board]
    ) -> None:
        elsewhere = boards("elsewhere", uuid.uuid4().hex)
        elsewhere.post("there", details={})
        board.post("here", details={})

        assert names(board) == ["here"]
        assert names(elsewhere) == ["there"]
        assert board.waiting(10) == 1

    def test_unclaimed_jobs_are_counted_up_to_a_limit(
        self, board: Board, boards: Callable[..., Board]
    ) -> None:
        other = boards("other")
        assert board.waiting(5) == 0
        for number in range(6):
            board.post(str(number), details={})
        assert (board.waiting(5), board.waiting(10)) == (5, 6)

        for job in list(board.iterjobs(only_unclaimed=True))[:4]:
            board.claim(job, "worker")

        assert board.waiting(5) == 2
        eventually(lambda: other.waiting(5) == 2)

    def test_post_wakes_waiting_threads(self, board: Board) -> None:
        woken = threading.Event()
        board.on_change(woken.set)
        board.post("job", details={})
        assert woken.wait(5)

    def test_racing_processes_never_claim_the_same_job(
        self, board: Board, factory: Factory, path: str
    ) -> None:
        posted = [f"{number:02}" for number in range(40)]
        for name in posted:
            board.post(name, details={})

        shares = in_processes(2, claim_all, factory, path)

        assert sorted(sum(shares, [])) == posted
        assert all(shares), "one process claimed all jobs, so there was no race"

    def test_the_job_of_a_killed_process_is_free_after_its_lease(
        self, board: Any, factory: Factory, path: str
    ) -> None:
        board.post("job", details={})
        context = multiprocessing.get_context("spawn")
        claimed = context.Event()
        claimer = context.Process(target=claim_and_hang, args=(factory, path, claimed))
        claimer.start()
        try:
            assert claimed.wait(30)
            eventually(lambda: not names(board))
        finally:
            claimer.kill()
            claimer.join()
        begin = time.monotonic()

        eventually(lambda: names(board))

        assert time.monotonic() - begin < self.LEASE + 3
        (job,) = board.iterjobs(only_unclaimed=True)
        board.claim(job, "worker")
        board.consume(job, "worker")

    def test_forked_process_needs_its_own_board(
        self, board: Any, factory: Factory, path: str
    ) -> None:
        board.post("first", details={})
        (job,) = board.iterjobs(only_unclaimed=True)
        board.claim(job, "worker")
        child = os.fork()
        if child == 0:
            os._exit(_after_fork(board, factory, path))

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        board.consume(job, "worker")
        eventually(lambda: names(board) == ["from the child"])


def names(board: Board) -> list[str]:
    """Return the names of the unclaimed jobs."""
    return [job.name for job in board.iterjobs(only_unclaimed=True)]


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a module's function in ``count`` new processes at the same time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_set_barrier, initargs=(context.Barrier(count),)
    ) as executor:
        calls = [executor.submit(_call_at_barrier, function, *arguments) for _ in range(count)]
        return [call.result(60) for call in calls]


_barriers: list[Any] = []


def _set_barrier(barrier: Any) -> None:
    _barriers.append(barrier)


def _call_at_barrier(function: Callable[..., Any], *arguments: Any) -> Any:
    _barriers[0].wait(60)
    return function(*arguments)


def claim_all(factory: Factory, path: str) -> list[str]:
    """Claim and consume all available jobs; return their names."""
    board: Any = factory("racer", path)
    board.connect()
    claimed = []
    for job in list(board.iterjobs(only_unclaimed=True)):
        try:
            board.claim(job, f"process {os.getpid()}")
        except (taskflow.exceptions.UnclaimableJob, taskflow.exceptions.NotFound):
            continue
        claimed.append(job.name)
        board.consume(job, f"process {os.getpid()}")
        # Simulate work, so that the other processes get jobs too.
        time.sleep(0.01)
    board.close()
    return claimed


def claim_and_hang(factory: Factory, path: str, claimed: Any) -> None:
    """Claim the only job, set ``claimed``, and wait to be killed."""
    board = factory("hanging", path)
    board.connect()
    eventually(lambda: names(board))
    (job,) = board.iterjobs(only_unclaimed=True)
    board.claim(job, "hanging")
    claimed.set()
    time.sleep(120)


def _after_fork(board: Board, factory: Factory, path: str) -> int:
    """Run the child's part of the test; return its exit status."""
    try:
        board.post("by mistake", details={})
    except taskflow.exceptions.JobFailure:
        pass
    else:
        return 1
    own = factory("child", path)
    own.connect()
    own.post("from the child", details={})
    own.close()
    return 0
