# SPDX-License-Identifier: Apache-2.0
"""The agent's loop. It may be killed at any step, and continues from the files of the node."""

import datetime
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from oslo_log import log

from poppy.common.clock import now_utc
from poppy.common.errors import DriverError, Gone, Unavailable
from poppy.common.version import VERSION
from poppy.edge.agent.changes import Change, Page, Prewarm
from poppy.edge.agent.client import Client, Conflict, Unauthorized
from poppy.edge.agent.metrics import Figures
from poppy.edge.agent.schedule import Schedule
from poppy.edge.agent.traffic import Traffic
from poppy.edge.errors import Down, Refused
from poppy.edge.program import Program
from poppy.edge.state import State
from poppy.edge.traffic import Ledger, Sample
from poppy.model.edge import MAX_FAILURES, MAX_REASON, Failure, Prewarmed
from poppy.model.purges import Purge

LOG = log.getLogger(__name__)

#: Maximum seconds between two attempts to reach the API, and HAProxy and Varnish.
API_CEILING = 30.0
LOCAL_CEILING = 5.0
#: A message that is repeated is logged once in this many seconds.
_QUIET = 60.0


class DataPlane(Protocol):
    """What the agent needs of the data plane: see :class:`poppy.edge.plane.plane.Plane`."""

    def apply(self, program: Program) -> None:
        """Serve a program; raise Refused if it can't be, and serve the previous one."""

    def withdraw(self, service_id: str) -> None:
        """Stop serving a service."""

    def purge(self, service_id: str, purge: Purge) -> None:
        """Remove content of a service from the cache."""

    def prewarm(self, service_id: str, revision: int, paths: Sequence[str]) -> None:
        """Fetch paths of a service in the background."""

    def prewarmed(self) -> Mapping[str, Prewarmed]:
        """Return the state of the last prewarms by service."""

    def flush(self) -> None:
        """Empty the cache."""

    def load(self, programs: Iterable[Program]) -> Mapping[str, str]:
        """Serve just these programs; return the reasons of the refused ones by service."""

    def started(self) -> Mapping[str, datetime.datetime]:
        """Return the start time of each process that runs."""

    def traffic(self) -> Sample:
        """Return what HAProxy has counted."""

    def set_ready(self, ready: bool) -> None:
        """Set what the node's health page says."""


class Agent:
    """Keeps a data plane equal to what the API publishes.

    A revision is stored once all changes up to it are on disk and in service, or refused. So after
    a failure or a kill, changes are applied again, which has no further effect.

    Args:
        options: the group ``[agent]``.
        client: a client of the node's API.
        state: the state directory, for this agent alone.
        plane: the data plane.
        instance: identifies this agent among those with the node's name.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        options: Any,
        client: Client,
        state: State,
        plane: DataPlane,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._client = client
        self._state = state
        self._plane = plane
        self._instance = instance
        self._clock = clock
        self._began = now_utc()
        self._api = Schedule(clock, API_CEILING)
        self._local = Schedule(clock, LOCAL_CEILING)
        self._reporting = Schedule(clock, API_CEILING)
        self._quiet: dict[str, float] = {}

        self._revision = state.revision  #: As stored.
        self._failures = dict(state.failures)
        self._position = self._revision  #: The last applied revision, also within a snapshot.
        #: The services of the snapshot that is being taken, and the head of its first page.
        #: Without a revision, all changes are a snapshot.
        self._seen: set[str] | None = set() if self._revision == 0 else None
        self._snapshot = 0
        self._etag: str | None = None
        self._head = self._revision  #: The newest revision, as of the API's last answer.

        #: The start times of the processes that serve the state; None if that is unknown.
        self._loaded: Mapping[str, datetime.datetime] | None = None
        self._started: Mapping[str, datetime.datetime] = {}
        self._unloadable: dict[str, Failure] = {}
        self._verify_at = clock()

        self._answered = clock()
        self._caught_up = False
        self._conflict = False
        self._drained = False
        self._shown: bool | None = None
        self._reported: dict[str, Any] | None = None
        self._traffic = Traffic(
            options, client, Ledger(state.traffic), plane.traffic, self._complain, clock
        )

    def turn(self) -> float:
        """Do what is due, one page of changes at most; return the seconds until more is due."""
        # First, since a node's first sample is not counted: nothing is served before it.
        self._traffic.turn(send=not self._conflict)
        if self._reporting.due or (self._news() and not self._reporting.failing):
            self._report()
        if self._local.due:
            try:
                self._align()
                if self._api.due:
                    self._follow()
                self._show()
            except DriverError as exc:
                self._failed_here("The data plane can't be changed: %s", exc)
            except OSError as exc:
                self._failed_here("Can't write: %s", exc)
            else:
                wait = max(0.0, self._api.next - self._clock())
                self._local.succeeded(min(wait, self._options.poll_interval))
        if self._news() and not self._reporting.failing:
            return 0.0
        due = min(self._local.next, self._reporting.next, self._traffic.next)
        return max(0.0, due - self._clock())

    def figures(self) -> Figures:
        """Return the state for metrics."""
        return Figures(
            answered=time.time() - (self._clock() - self._answered),
            revision=self._revision,
            behind=max(0, self._head - self._revision),
            ready=bool(self._shown),
            drained=self._drained,
            conflict=self._conflict,
            failures=len({**self._unloadable, **self._failures}),
            up=frozenset(self._started),
            counts=self._traffic.counts,
            waiting=self._traffic.waiting,
            lost=self._traffic.lost,
        )

    def _failed_here(self, message: str, error: Exception) -> None:
        self._loaded = None
        self._local.failed()
        self._complain(message, error)

    def _align(self) -> None:
        """Load all programs if the data plane may serve others."""
        self._started = self._plane.started()
        if self._started == self._loaded and self._clock() < self._verify_at:
            return
        stored = list(self._state.programs())
        damaged = self._state.services() - {it.program.service_id for it in stored}
        if damaged:
            self._start_snapshot()
            for service in damaged:
                self._state.delete(service)
        # Two services may have one domain until both have changed: the newer one gets it.
        stored.sort(key=lambda it: it.revision)
        refused = self._plane.load([it.program for it in stored])
        revisions = {it.program.service_id: it.revision for it in stored}
        self._unloadable = {
            service: _failure(revisions[service], reason) for service, reason in refused.items()
        }
        self._loaded = self._started
        self._shown = None
        self._verify_at = self._clock() + self._options.verify_interval

    def _follow(self) -> None:
        """Fetch a page of changes and apply it."""
        if self._conflict:
            self._api.succeeded(self._options.poll_interval)
            return
        try:
            page = self._client.changes(self._position, etag=self._etag, snapshot=self._snapshot)
        except Gone as exc:
            LOG.warning("Taking a snapshot: %s", exc)
            self._answered = self._clock()
            if self._position:
                self._api.succeeded(0)
            else:  # The API does not keep to its rules.
                self._api.failed()
            self._start_snapshot()
            return
        except Unauthorized as exc:
            self._api.failed()
            self._complain("This node has to join again; it goes on serving: %s", exc)
            return
        except Unavailable as exc:
            self._api.failed(exc.retry_after)
            self._complain("The API is not available: %s", exc)
            return
        self._answered = self._clock()
        if page is not None:
            self._take(page)
        self._head = self._position if page is None else page.head
        self._caught_up = self._caught_up or page is None or page.revision == page.head
        more = page is not None and page.revision < page.head
        self._api.succeeded(0 if more else self._options.poll_interval)

    def _take(self, page: Page) -> None:
        """Apply a page, and store the revision unless it is an inner page of a snapshot."""
        failures = dict(self._failures)
        for change in page.changes:
            self._apply(change, failures)
        if self._seen is None or page.revision == page.head:
            self._finish_snapshot(failures)
            if failures != self._state.failures:
                self._state.failures = failures
            if page.revision != self._revision:
                self._state.revision = page.revision
                self._revision = page.revision
            self._seen = None
            self._snapshot = 0
        elif not self._position:
            self._snapshot = page.head
        self._failures = failures
        self._position = page.revision
        self._etag = page.etag

    def _apply(self, change: Change, failures: dict[str, Failure]) -> None:
        service = change.service_id
        if self._seen is not None and change.document.get("program") is not None:
            # Although it may be refused: then its previous program stays in service.
            self._seen.add(service)
        try:
            body = change.body()
            if isinstance(body, Purge | Prewarm):
                # A snapshot ends with an empty cache.
                if self._seen is None:
                    self._command(change, body)
                return
            if body is None:
                self._state.delete(service)
                self._plane.withdraw(service)
            else:
                with self._state.replacing(change.revision, body):
                    self._plane.apply(body)
        except (Refused, ValueError) as exc:
            self._refuse(change, str(exc), failures)
        except (Down, OSError):
            raise
        except Exception as exc:
            # Whatever is wrong with one service, the others need their changes.
            LOG.exception("Internal error")
            self._refuse(change, f"internal error: {type(exc).__name__}", failures)
            self._loaded = None
        else:
            failures.pop(service, None)
            self._unloadable.pop(service, None)

    def _command(self, change: Change, body: Purge | Prewarm) -> None:
        if isinstance(body, Purge):
            self._plane.purge(change.service_id, body)
        else:
            self._plane.prewarm(change.service_id, change.revision, body.paths)

    def _refuse(self, change: Change, reason: str, failures: dict[str, Failure]) -> None:
        LOG.error("Revision %s of %s is refused: %s", change.revision, change.service_id, reason)
        if State.is_service(change.service_id):
            failures[change.service_id] = _failure(change.revision, reason)

    def _start_snapshot(self) -> None:
        self._state.revision = 0
        self._revision = self._position = 0
        self._seen = set()
        self._snapshot = 0
        self._etag = None

    def _finish_snapshot(self, failures: dict[str, Failure]) -> None:
        """Drop the services that are not in the snapshot, and what is cached."""
        if self._seen is None:
            return
        for service in self._state.services() - self._seen:
            self._state.delete(service)
            self._plane.withdraw(service)
        for service in failures.keys() - self._seen:
            del failures[service]
        self._plane.flush()

    def _show(self) -> None:
        """Set what the health page says, if it has changed."""
        silent = self._clock() - self._answered
        if not self._caught_up and silent >= self._options.serve_stale_after:
            # A node without any program would answer 404 to everything.
            self._caught_up = bool(self._state.services())
            if self._caught_up:
                LOG.warning("No answer of the API for %.0f s: serving what is stored", silent)
        if self._shown != self._ready:
            self._plane.set_ready(self._ready)
            self._shown = self._ready

    @property
    def _ready(self) -> bool:
        # Reports can't say what else a node with more failures lacks.
        few = len(self._all_failures) <= MAX_FAILURES
        return self._caught_up and not self._drained and few

    @property
    def _all_failures(self) -> Mapping[str, Failure]:
        return {**self._unloadable, **self._failures}

    def _news(self) -> bool:
        return self._reported != self._state_report()

    def _report(self) -> None:
        report = self._state_report()
        try:
            self._drained = self._client.report(report)
            self._conflict = False
        except Conflict as exc:
            self._conflict = True
            self._complain("Not applying changes: another agent has this node's name: %s", exc)
        except Unauthorized as exc:
            self._complain("This node has to join again; it goes on serving: %s", exc)
        except Unavailable as exc:
            self._reporting.failed(exc.retry_after)
            self._complain("The API is not available: %s", exc)
            return
        self._reported = report
        self._reporting.succeeded(self._options.report_interval)

    def _state_report(self) -> dict[str, Any]:
        failures = self._all_failures
        newest = sorted(failures, key=lambda it: failures[it].revision)[-MAX_FAILURES:]
        started = {"agent": self._began, **self._started}
        prewarms = {name: it._asdict() for name, it in self._plane.prewarmed().items()}
        return {
            # Not always, because servers of the previous release don't know it.
            **({"prewarms": prewarms} if prewarms else {}),
            "instance": self._instance,
            "revision": self._revision,
            "ready": self._ready and self._loaded is not None,
            "version": VERSION,
            "started": {name: moment.isoformat() for name, moment in started.items()},
            "failures": {service: failures[service]._asdict() for service in newest},
        }

    def _complain(self, message: str, error: Exception) -> None:
        """Log an error that may be repeated soon, but not more often than each minute."""
        now = self._clock()
        if now >= self._quiet.get(message, now):
            self._quiet[message] = now + _QUIET
            LOG.error(message, error)


def _failure(revision: int, reason: str) -> Failure:
    printable = "".join(it if it.isprintable() else " " for it in reason)
    # In ASCII, so that the size of a report is bounded.
    text = " ".join(printable.split()).encode("ascii", "backslashreplace").decode()
    return Failure(revision, text[:MAX_REASON] or "no reason")
