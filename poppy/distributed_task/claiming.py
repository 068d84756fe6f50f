# SPDX-License-Identifier: Apache-2.0
"""What a worker needs of a job board, and how it looks for work there."""

import collections
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import taskflow.exceptions
import taskflow.jobs.base
from oslo_log import log
from taskflow.types import timing

LOG = log.getLogger(__name__)

#: Seconds: the first and the longest pause between looks at a board that does not answer.
PAUSE, MAX_PAUSE = 1.0, 15.0
#: So many of the oldest jobs are looked at.
WINDOW = 64
#: Seconds for which a list of free jobs is worked off before there is another look.
FRESH = 0.05


class Board(Protocol):
    """A TaskFlow job board with two abilities more."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def connected(self) -> bool:
        """Whether it can be asked now."""

    def connect(self) -> None:
        """Connect; may be repeated. Raises JobFailure."""

    def close(self) -> None:
        """Disconnect."""

    def post(self, name: str, *, details: Mapping[str, str]) -> object:
        """Add a job. Raises JobFailure."""

    def iterjobs(
        self, only_unclaimed: bool = False, ensure_fresh: bool = False
    ) -> Iterator[taskflow.jobs.base.Job]:
        """The jobs, the oldest first. Raises JobFailure."""

    def claim(self, job: taskflow.jobs.base.Job, who: str) -> None:
        """Claim a job. Raises JobFailure, UnclaimableJob, NotFound."""

    def waiting(self, limit: int) -> int:
        """How many jobs wait to be claimed, counted up to ``limit``. Raises JobFailure."""

    def on_change(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called, in any thread, when a job may have come; not all boards know."""


class PatientBoard:
    """A board as the conductor sees it: only jobs that are free, and calm in an outage.

    TaskFlow's conductor tries to claim whatever it is shown, and logs a traceback at each of its
    looks at a board that does not answer, several times a second. It claims in the one thread that
    looks, which has all others wait for each answer of the board; so here :meth:`claim` only
    notes that a job is about to be taken, and the thread that is to run it does so by
    :meth:`take`.

    Workers that list the same jobs in the same order meet at each of them, so whoever has met
    another shuffles the head of the list for a while; alone, it takes the oldest first.

    Args:
        stopped: ends a pause.
        free: how many more jobs the worker can take now; without a place, it does not look.
    """

    def __init__(
        self, board: Board, stopped: threading.Event, free: Callable[[], int] = lambda: 1
    ) -> None:
        self._board = board
        self._stopped = stopped
        self._free = free
        self._pause = 0.0
        self._claim_pause = 0.0
        self._jobs: collections.deque[taskflow.jobs.base.Job] = collections.deque()
        self._given: set[str] = set()
        self._stale_at = 0.0
        self._spread = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)

    def iterjobs(self, ensure_fresh: bool = False) -> Iterator[taskflow.jobs.base.Job]:
        """The free jobs; none, after a pause that grows, when the board does not answer."""
        if self._free() > 0 and (
            ensure_fresh or not self._jobs or time.monotonic() >= self._stale_at
        ):
            self._jobs = collections.deque(self._look(ensure_fresh))
            self._stale_at = time.monotonic() + FRESH
        while self._jobs and self._free() > 0:
            yield self._jobs.popleft()

    def _look(self, ensure_fresh: bool) -> list[taskflow.jobs.base.Job]:
        try:
            listing = self._board.iterjobs(only_unclaimed=True, ensure_fresh=ensure_fresh)
            free = (job for job in listing if job.uuid not in self._given)
            jobs = list(itertools.islice(free, WINDOW))
        except taskflow.exceptions.JobFailure as exc:
            self._pause = _longer(self._pause)
            LOG.warning(
                "The job board does not answer; looking again in %.0f s: %s", self._pause, exc
            )
            self._stopped.wait(self._pause)
            return []
        self._pause = 0.0
        head = jobs[: self._spread]
        random.shuffle(head)
        jobs[: self._spread] = head
        self._spread = max(0, self._spread - 1)
        return jobs

    def claim(self, job: taskflow.jobs.base.Job, who: str) -> None:
        """Show a job no more until :meth:`let_go`."""
        self._given.add(job.uuid)

    def take(self, job: taskflow.jobs.base.Job, who: str) -> bool:
        """Claim a job; not if another was quicker, or the board does not answer."""
        try:
            self._board.claim(job, who)
        except taskflow.exceptions.UnclaimableJob:
            self._spread = min(WINDOW, max(8, 2 * self._spread))
        except taskflow.exceptions.NotFound:
            pass
        except Exception as exc:  # noqa: BLE001 - a board's bug must not trash a job
            self._rest(job, exc)
        else:
            self._claim_pause = 0.0
            return True
        return False

    def _rest(self, job: taskflow.jobs.base.Job, reason: Exception) -> None:
        """Keep this thread's place for a while: to try at once would be a busy loop."""
        known = isinstance(reason, taskflow.exceptions.JobFailure)
        self._claim_pause = pause = _longer(self._claim_pause)
        LOG.warning(
            "Job %s could not be claimed; going on in %.0f s: %s",
            job.uuid,
            pause,
            reason,
            exc_info=None if known else reason,
        )
        self._stale_at = 0.0
        self._stopped.wait(pause)

    def let_go(self, job: taskflow.jobs.base.Job) -> None:
        """Show a job again, if it is free."""
        self._given.discard(job.uuid)


def _longer(pause: float) -> float:
    """The pause after one that did not help; the first after none."""
    return min(MAX_PAUSE, max(PAUSE, 2 * pause))


class Idle(timing.Timeout):  # type: ignore[misc]
    """A conductor's pause while it has nothing to do; over early when there may be something.

    Args:
        seconds: the longest pause.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._woken = threading.Event()

    def wake(self) -> None:
        """End the pause, or the next one."""
        self._woken.set()

    def interrupt(self) -> None:
        """Stop for good."""
        super().interrupt()
        self._woken.set()

    def wait(self) -> None:
        """Pause."""
        self._woken.wait(self.value)
        self._woken.clear()
