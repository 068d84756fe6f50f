# SPDX-License-Identifier: Apache-2.0
"""How a worker gets its jobs: the job board's interface, and the order of jobs."""

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

#: Seconds: the first and the longest pause between polls of a board that does not answer.
PAUSE, MAX_PAUSE = 1.0, 15.0
#: The factor by which the next pause of an idle worker is longer, and that of the longest pause.
_GROWTH, GROWN = 1.25, 5.0
#: The minimum number of free jobs to list.
WINDOW = 64
#: Minimum seconds for which a list of free jobs stays valid.
FRESH = 0.05
#: A list also stays valid this many times as long as listing took, so listing stays cheap.
RARELY = 20

#: TaskFlow's names for the priorities of operations; boards list jobs in this order.
PRIORITIES = {
    Priority.PURGE: JobPriority.HIGH,
    Priority.TENANT: JobPriority.NORMAL,
    Priority.BULK: JobPriority.LOW,
}
_PRIORITY_OF = {name: priority for priority, name in PRIORITIES.items()}


class Posting(Protocol):
    """Accepts jobs: a worker's board, or a server's connection to it."""

    def post(
        self,
        name: str,
        *,
        details: Mapping[str, str],
        priority: JobPriority = JobPriority.NORMAL,
    ) -> object:
        """Add a job. Raises JobFailure."""


class Board(Posting, Protocol):
    """A TaskFlow job board that can also count waiting jobs and report changes."""

    @property
    def name(self) -> str:
        """The name to show."""

    @property
    def connected(self) -> bool:
        """Whether the board can be used now."""

    def connect(self) -> None:
        """Connect. May be repeated. Raises JobFailure."""

    def close(self) -> None:
        """Disconnect."""

    def iterjobs(
        self, only_unclaimed: bool = False, ensure_fresh: bool = False
    ) -> Iterator[taskflow.jobs.base.Job]:
        """Iterate over the jobs, by priority and then oldest first. Raises JobFailure."""

    def claim(self, job: taskflow.jobs.base.Job, who: str) -> None:
        """Claim a job. Raises JobFailure, UnclaimableJob, NotFound."""

    def waiting(self, limit: int) -> int:
        """Count the unclaimed jobs, up to ``limit``. Raises JobFailure."""

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call ``wake``, in any thread, when a job may have arrived, if the board can tell."""


def post(board: Posting, operation: Operation) -> None:
    """Post a job with an operation's key and priority.

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
    """Return the project and priority of a job; without a project, it counts as its own one."""
    details = job.details if isinstance(job.details, Mapping) else {}
    project_id = str(details.get("project_id", f"job {job.uuid}"))
    return fairness.Place(project_id, _PRIORITY_OF.get(job.priority, Priority.TENANT))


class JobSource:
    """A board as the conductor sees it: free jobs in fair order, with back-off in an outage.

    The order is that of :mod:`poppy.model.fairness`: projects take turns, and jobs of a project
    that run here count as turns it has had. So a project can fill all slots of this worker only
    while no other project has jobs waiting.

    TaskFlow's conductor tries to claim every job it sees. When the board does not answer, it logs
    a traceback at each poll, several times a second. It also claims in the polling thread, so
    that all jobs wait for each reply of the board. Here, :meth:`claim` only records that a job is
    about to be taken; the thread that will run it claims it with :meth:`take`.

    Workers that list the same jobs in the same order compete for each of them. So after a
    conflict a worker shuffles the head of the list for a while, before projects take turns.
    Without conflicts it takes the oldest job of each project first.

    Args:
        stopped: ends a pause.
        free: returns how many more jobs the worker can take now. If none, it does not poll.
        depth: roughly how many jobs may wait on the board.
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
        # Allow for more than the dispatchers' limit: servers post as well.
        self._window = max(WINDOW, depth + depth // 4)
        self._pause = 0.0
        self._claim_pause = 0.0
        self._jobs: collections.deque[taskflow.jobs.base.Job] = collections.deque()
        # Job uuid to project, for the jobs given to this worker's threads.
        self._given: dict[str, str] = {}
        self._ahead = fairness.SHARE - 1
        self._stale_at = 0.0
        self._spread = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)

    def iterjobs(self, ensure_fresh: bool = False) -> Iterator[taskflow.jobs.base.Job]:
        """Iterate over free jobs. If the board does not answer, pause and return none."""
        if self._free() > 0 and (
            ensure_fresh or not self._jobs or time.monotonic() >= self._stale_at
        ):
            self._look(ensure_fresh)
        while self._jobs and self._free() > 0:
            yield self._jobs.popleft()

    def _look(self, ensure_fresh: bool) -> None:
        """List the free jobs in the order in which to take them."""
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
        """Hide a job until :meth:`let_go`."""
        place = place_of(job)
        self._given[job.uuid] = place.project_id
        is_bulk = place.priority is Priority.BULK
        self._ahead = fairness.SHARE - 1 if is_bulk else max(0, self._ahead - 1)

    def take(self, job: taskflow.jobs.base.Job, who: str) -> bool:
        """Claim a job; return False if another worker was faster or the board fails."""
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
        """Hold this thread's slot for a while, to avoid a busy loop."""
        known = isinstance(reason, taskflow.exceptions.JobFailure)
        self._claim_pause = pause = _longer(self._claim_pause)
        LOG.warning(
            "Could not claim job %s; pausing for %.0f s: %s",
            job.uuid,
            pause,
            reason,
            exc_info=None if known else reason,
        )
        self._stale_at = 0.0
        self._stopped.wait(pause)

    def let_go(self, job: taskflow.jobs.base.Job) -> None:
        """Show a job again, if it is still free."""
        self._given.pop(job.uuid, None)


def _longer(pause: float) -> float:
    """Return the next, longer pause of a back-off."""
    return min(MAX_PAUSE, max(PAUSE, 2 * pause))


class Idle(timing.Timeout):  # type: ignore[misc]
    """An idle conductor's pause, which ends early when there may be work.

    Pauses grow while there is none, to :data:`GROWN` times the first, so that an idle worker sends
    few queries. They are short again once it is woken, as after each job.

    Args:
        seconds: the first pause.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._woken = threading.Event()
        self._pause = seconds

    def wake(self) -> None:
        """End this pause, or the next one."""
        self._woken.set()

    def interrupt(self) -> None:
        """End all pauses for good."""
        super().interrupt()
        self._woken.set()

    def wait(self) -> None:
        """Pause until woken or until the time has passed."""
        if self._woken.wait(self._pause):
            self._pause = self.value
        else:
            self._pause = min(self._pause * _GROWTH, self.value * GROWN)
        self._woken.clear()
