# SPDX-License-Identifier: Apache-2.0
"""Where a worker gets its jobs: what it needs of a job board, and in which order it takes them."""

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
from taskflow.jobs.base import JobPriority
from taskflow.types import timing

from poppy.common import errors
from poppy.model import fairness
from poppy.model.operations import Operation, Priority

LOG = log.getLogger(__name__)

#: Seconds: the first and the longest pause between looks at a board that does not answer.
PAUSE, MAX_PAUSE = 1.0, 15.0
#: At least so many free jobs are looked at.
WINDOW = 64
#: Seconds for which a list of free jobs is worked off before there is another look.
FRESH = 0.05
#: ... and times as long as a look takes, so that looks take little of a worker's time.
RARELY = 20

#: How TaskFlow calls the priorities of operations; boards list jobs in this order.
PRIORITIES = {
    Priority.PURGE: JobPriority.HIGH,
    Priority.TENANT: JobPriority.NORMAL,
    Priority.BULK: JobPriority.LOW,
}
_PRIORITY_OF = {name: priority for priority, name in PRIORITIES.items()}


class Posting(Protocol):
    """Something that takes jobs: a worker's board, or a server's access to it."""

    def post(
        self,
        name: str,
        *,
        details: Mapping[str, str],
        priority: JobPriority = JobPriority.NORMAL,
    ) -> object:
        """Add a job. Raises JobFailure."""


class Board(Posting, Protocol):
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

    def iterjobs(
        self, only_unclaimed: bool = False, ensure_fresh: bool = False
    ) -> Iterator[taskflow.jobs.base.Job]:
        """The jobs, by priority and then the oldest first. Raises JobFailure."""

    def claim(self, job: taskflow.jobs.base.Job, who: str) -> None:
        """Claim a job. Raises JobFailure, UnclaimableJob, NotFound."""

    def waiting(self, limit: int) -> int:
        """How many jobs wait to be claimed, counted up to ``limit``. Raises JobFailure."""

    def on_change(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called, in any thread, when a job may have come; not all boards know."""


def post(board: Posting, operation: Operation) -> None:
    """Put a job on the board that names an operation, and says how urgent it is.

    Raises:
        Unavailable: the board does not answer.
    """
    try:
        board.post(
            operation.operation_id,
            details=operation.key._asdict(),
            priority=PRIORITIES[operation.priority],
        )
    except taskflow.exceptions.TaskFlowException as exc:
        raise errors.Unavailable(f"The job board does not answer: {exc}") from exc


def place_of(job: taskflow.jobs.base.Job) -> fairness.Place:
    """Whose job it is, and how urgent; a job that names no project is of a project of its own."""
    details = job.details if isinstance(job.details, Mapping) else {}
    project_id = str(details.get("project_id", f"job {job.uuid}"))
    return fairness.Place(project_id, _PRIORITY_OF.get(job.priority, Priority.TENANT))


class JobSource:
    """A board as the conductor sees it: free jobs in fair order, and calm in an outage.

    The order is that of :mod:`poppy.model.fairness`: projects take turns, and what a project has
    running here counts as turns that it has had. So a project can take all slots of this worker
    only while no other project has anything waiting.

    TaskFlow's conductor tries to claim whatever it is shown, and logs a traceback at each of its
    looks at a board that does not answer, several times a second. It claims in the one thread that
    looks, which has all others wait for each answer of the board; so here :meth:`claim` only
    notes that a job is about to be taken, and the thread that is to run it does so by
    :meth:`take`.

    Workers that list the same jobs in the same order meet at each of them. So a worker that has
    met another shuffles the head of the list for a while, before projects take turns; alone, it
    takes the oldest of each project first.

    Args:
        stopped: ends a pause.
        free: how many more jobs the worker can take now; without a place, it does not look.
        depth: about how many jobs may wait on the board.
    """

    def __init__(
        self,
        board: Board,
        stopped: threading.Event,
        free: Callable[[], int] = lambda: 1,
        depth: int = 0,
    ) -> None:
        self._board = board
        self._stopped = stopped
        self._free = free
        # Some more than the dispatchers put there: servers post as well.
        self._window = max(WINDOW, depth + depth // 4)
        self._pause = 0.0
        self._claim_pause = 0.0
        self._jobs: collections.deque[taskflow.jobs.base.Job] = collections.deque()
        # The projects of the jobs that were given to this worker's threads.
        self._given: dict[str, str] = {}
        self._ahead = fairness.SHARE - 1
        self._stale_at = 0.0
        self._spread = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)

    def iterjobs(self, ensure_fresh: bool = False) -> Iterator[taskflow.jobs.base.Job]:
        """The free jobs; none, after a pause that grows, when the board does not answer."""
        if self._free() > 0 and (
            ensure_fresh or not self._jobs or time.monotonic() >= self._stale_at
        ):
            self._look(ensure_fresh)
        while self._jobs and self._free() > 0:
            yield self._jobs.popleft()

    def _look(self, ensure_fresh: bool) -> None:
        """List the free jobs, in the order in which they are to be taken."""
        begun = time.monotonic()
        self._jobs.clear()
        try:
            listing = self._board.iterjobs(only_unclaimed=True, ensure_fresh=ensure_fresh)
            free = (job for job in listing if job.uuid not in self._given)
            jobs = list(itertools.islice(free, self._window))
        except taskflow.exceptions.JobFailure as exc:
            self._pause = _longer(self._pause)
            LOG.warning(
                "The job board does not answer; looking again in %.0f s: %s", self._pause, exc
            )
            self._stopped.wait(self._pause)
            return
        self._pause = 0.0
        head = jobs[: self._spread]
        random.shuffle(head)
        jobs[: self._spread] = head
        self._spread = max(0, self._spread - 1)
        running = collections.Counter(self._given.values())
        self._jobs.extend(fairness.ordered(jobs, place_of, running, self._ahead))
        now = time.monotonic()
        self._stale_at = now + max(FRESH, RARELY * (now - begun))

    def claim(self, job: taskflow.jobs.base.Job, who: str) -> None:
        """Show a job no more until :meth:`let_go`."""
        place = place_of(job)
        self._given[job.uuid] = place.project_id
        is_bulk = place.priority is Priority.BULK
        self._ahead = fairness.SHARE - 1 if is_bulk else max(0, self._ahead - 1)

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
        self._given.pop(job.uuid, None)


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
