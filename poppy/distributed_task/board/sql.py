# SPDX-License-Identifier: Apache-2.0
"""A TaskFlow job board over SQLite, PostgreSQL or MariaDB.

A claim is a lease. It lives for ``lease`` seconds after its last renewal. While a board is
connected, its heartbeat thread renews the claims made through it; when the process dies, they
lapse. A lapsed claim counts as no claim: anyone may claim the job.

A claim holds the random token of the connection that made it. So neither a former holder that was
replaced nor a restarted process with the same name can finish a job that another is running. A
holder with a lapsed claim that was not taken over may renew the claim or finish the job, because
no other worker has begun it.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import sqlalchemy as sa
from oslo_log import log as logging
from oslo_utils import timeutils, uuidutils
from sqlalchemy import exc as sa_exc
from taskflow import exceptions as excp
from taskflow.jobs import base

from poppy.common import sql
from poppy.distributed_task.board import schema
from poppy.distributed_task.board.heartbeat import Heartbeat
from poppy.distributed_task.board.job import JobIterator, SQLJob
from poppy.distributed_task.board.local_notifier import POSTS
from poppy.distributed_task.board.schema import JOBS, PRIORITIES, TRASH

LOG = logging.getLogger(__name__)

# Workers take one of the first jobs; listing all of them is rarer.
_FIRST_PAGE, _PAGE = 128, 500
_POST = sa.insert(JOBS)


class SQLJobBoard(base.JobBoard):  # type: ignore[misc]
    """A job board in two tables of a SQL database.

    Every method that uses the database raises ``taskflow.exceptions.JobFailure``, with the
    database's error as its cause, if the database is away or busy for too long, or if the board
    is not connected. Several threads may use one board. It opens connections and a thread, which
    do not survive a fork: connect it in the process that uses it.
    """

    def __init__(
        self, name: str, conf: Mapping[str, Any], client: Any = None, persistence: Any = None
    ) -> None:
        """Create a board that is not yet connected.

        Args:
            name: The name of the board, for display.
            conf: ``connection``, a SQLAlchemy URL; ``lease``, seconds (15); ``path``, the
                namespace within the database ("poppy"); ``poll_interval``, seconds between polls
                in :meth:`wait` (0.2).
            client: Not used; TaskFlow's factories may pass it.
            persistence: The TaskFlow persistence backend to load the jobs' logbooks from.

        Raises:
            ValueError: ``connection`` is missing, or a number of seconds is not above zero.
        """
        super().__init__(name, conf)
        self._connection = str(conf.get("connection") or "")
        if not self._connection:
            raise ValueError(f"The configuration of job board '{name}' has no 'connection'.")
        self._lease = _seconds(conf, "lease", 15.0)
        self._poll_interval = _seconds(conf, "poll_interval", 0.2)
        self._path = str(conf.get("path") or "poppy")
        self._persistence = persistence
        self._open_close_lock = threading.Lock()
        self._database: sql.Database | None = None
        self._pid = 0
        self._token = ""
        self._heartbeat = Heartbeat(name, self._lease, self._renew)
        self._wake: Callable[[], None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the board is connected."""
        return self._database is not None

    def connect(self) -> None:
        """Open the database, create missing tables and start the heartbeat.

        Does nothing on a connected board. Several processes may connect at once.

        Raises:
            JobFailure: The database cannot be reached or the tables cannot be created.
            ValueError: The directory of a SQLite file does not exist, or the kind of database is
                not supported.
        """
        with self._open_close_lock:
            if self._database is not None:
                return
            # The board may lose jobs in a power cut: the dispatcher posts them again.
            database = sql.Database(self._connection, synchronous="NORMAL")
            schema.now(database.engine)
            try:
                with self._failing_to("connect"):
                    schema.create_tables(database)
            except excp.JobFailure:
                database.close()
                raise
            self._pid, self._token = os.getpid(), uuidutils.generate_uuid()
            self._database = database
            self._heartbeat.start()

    def close(self) -> None:
        """Stop the heartbeat and close all connections.

        Claims are not released, because their work may still be running somewhere. They lapse.
        """
        with self._open_close_lock:
            if self._database is None:
                return
            self._heartbeat.stop()
            self._database.close()
            self._database = None
            if self._wake is not None:
                POSTS.leave(self._wake)

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when a job is posted in this process. Other processes do not notify."""
        self._wake = wake
        POSTS.listen(wake)

    def register_entity(self, entity: Any) -> None:
        """Do nothing: a claim names its owner, so no list of conductors is needed."""

    def post(
        self,
        name: str,
        book: Any = None,
        details: Mapping[str, Any] | None = None,
        priority: Any = base.JobPriority.NORMAL,
    ) -> SQLJob:
        """Post a job with one INSERT, and wake the waiters of this process.

        Raises:
            JobFailure: The job could not be posted, or the details cannot be written as JSON.
            ValueError: There is no such priority.
        """
        created_on = time.time()
        posting: dict[str, Any] = {
            "path": self._path,
            "uuid": uuidutils.generate_uuid(),
            "name": name,
            "priority": PRIORITIES.index(base.JobPriority.convert(priority)),
            "details": dict(details or {}),
            "book": None if book is None else {"name": book.name, "uuid": book.uuid},
            "created_on": created_on,
            "last_modified": created_on,
        }
        key: Any = self._write("post a job", _POST.values(posting)).inserted_primary_key
        POSTS.note()
        return SQLJob(self, {**posting, "sequence": key[0]}, self._persistence, book)

    def iterjobs(self, only_unclaimed: bool = False, ensure_fresh: bool = False) -> JobIterator:
        """Iterate over the jobs by priority, then oldest first.

        The iteration reads the database page by page as it goes, so it is always fresh.
        """
        return JobIterator(self, only_unclaimed, ensure_fresh)

    def list_jobs(self, only_unclaimed: bool) -> Iterator[SQLJob]:
        """Yield the jobs page by page, without holding a connection between pages."""
        rank, sequence = JOBS.c.priority, JOBS.c.sequence
        listing = sa.select(JOBS).where(JOBS.c.path == self._path).order_by(rank, sequence)
        if only_unclaimed:
            listing = listing.where(self._claimable())
        size = _FIRST_PAGE
        page = listing.limit(size)
        while True:
            rows = self._read("list the jobs", page)
            for row in rows:
                yield SQLJob(self, row, self._persistence)
            if len(rows) < size:
                return
            last, size = rows[-1], _PAGE
            page = listing.limit(size).where(
                sa.or_(
                    rank > last["priority"],
                    sa.and_(rank == last["priority"], sequence > last["sequence"]),
                )
            )

    def wait(self, timeout: float | None = None) -> JobIterator:
        """Wait for a job, claimed or not; the iterator starts with it. Raises NotFound."""
        watch = timeutils.StopWatch(duration=timeout)
        watch.start()
        while True:
            posts = POSTS.count
            jobs = self.list_jobs(only_unclaimed=False)
            first = next(jobs, None)
            if first is not None:
                return JobIterator(self, jobs=itertools.chain([first], jobs))
            if watch.expired():
                raise excp.NotFound(f"No job has arrived in {watch.elapsed():.1f} seconds")
            left = watch.leftover(return_none=True)
            pause = self._poll_interval if left is None else min(self._poll_interval, left)
            POSTS.wait_beyond(posts, pause)

    @property
    def job_count(self) -> int:
        """The number of jobs on the board, claimed or not."""
        return self._count(sa.select(JOBS.c.sequence).where(JOBS.c.path == self._path))

    def waiting(self, limit: int) -> int:
        """Count the unclaimed jobs up to ``limit``, which bounds the cost."""
        free = sa.select(JOBS.c.sequence).where(JOBS.c.path == self._path, self._claimable())
        return self._count(free.limit(limit))

    def find_owner(self, job: SQLJob) -> str | None:
        """Return the job's owner; None if the job is gone, unclaimed or its claim has lapsed."""
        row = self.look(job)
        return None if row is None else row["live_owner"]

    def look(self, job: SQLJob) -> Mapping[Any, Any] | None:
        """Return a job's live_owner, claim_token and last_modified; None if it is gone."""
        owner = sa.case((self._claimable(), None), else_=JOBS.c.owner).label("live_owner")
        query = sa.select(owner, JOBS.c.claim_token, JOBS.c.last_modified).where(*self._is(job))
        return next(iter(self._read("read a job", query)), None)

    def claim(self, job: SQLJob, who: str) -> None:
        """Claim a job. One conditional UPDATE decides, so only one of many claimers succeeds.

        Raises:
            UnclaimableJob: The job is claimed already, possibly by the same claimer.
            NotFound: The job is not on the board.
        """
        _check_who(who)
        if self._heartbeat.holds(job.uuid):
            self._check_unclaimed(job)
        claim = {"owner": who, "claim_token": self._token, "last_modified": time.time()}
        change = sa.update(JOBS).where(*self._is(job), self._claimable())
        change = change.values(lease_expires_at=self._now() + self._lease, **claim)
        if self._write("claim a job", change).rowcount != 1:
            self._check_unclaimed(job)
            raise excp.UnclaimableJob(f"Job {job.uuid} was just claimed by another")
        self._heartbeat.hold(job.uuid)

    def consume(self, job: SQLJob, who: str) -> None:
        """Remove a finished job, atomically. Errors are those of :meth:`_finish`."""
        self._finish(job, who, "consume", sa.delete(JOBS))

    def abandon(self, job: SQLJob, who: str) -> None:
        """Release a claim, atomically. Errors are those of :meth:`_finish`."""
        free = {"owner": None, "claim_token": None, "lease_expires_at": None}
        change = sa.update(JOBS).values(last_modified=time.time(), **free)
        self._finish(job, who, "abandon", change)

    def trash(self, job: SQLJob, who: str) -> None:
        """Move a broken job to ``poppy_jobs_trash``, atomically; errors as in :meth:`_finish`."""
        columns = [column for column in JOBS.c if column.name in TRASH.c]
        copy = sa.select(*columns, JOBS.c.owner, sa.literal(time.time()))
        self._finish(job, who, "trash", sa.delete(JOBS), copy)

    def _finish(
        self,
        job: SQLJob,
        who: str,
        verb: str,
        change: sa.Delete | sa.Update,
        copy: sa.Select[Any] | None = None,
    ) -> None:
        """End a claim in one transaction, or change nothing; insert ``copy`` into the trash.

        After a database error the claim is no longer renewed; otherwise the job would stay
        claimed forever if the caller gives up. The call may be repeated until another claims it.

        Raises:
            NotFound: The job is not on the board, or is not claimed.
            JobFailure: The claim is another's or was not made through this board.
        """
        _check_who(who)
        renewed = self._heartbeat.release(job.uuid)
        mine = (*self._is(job), JOBS.c.owner == who, JOBS.c.claim_token == self._token)
        statements: list[sa.Executable] = [change.where(*mine)]
        if copy is not None:
            statements.insert(0, sa.insert(TRASH).from_select(list(TRASH.c), copy.where(*mine)))
        if self._write(f"{verb} a job", *statements).rowcount != 1:
            row = self.look(job)
            if renewed and row is not None and row["claim_token"] == self._token:
                self._heartbeat.hold(job.uuid)
            self._refuse(job, row, verb, who)

    def _refuse(self, job: SQLJob, row: Mapping[Any, Any] | None, verb: str, who: str) -> NoReturn:
        if row is None:
            raise excp.NotFound(f"Cannot {verb} job {job.uuid}: it is not on the board")
        if row["live_owner"] is None:
            raise excp.NotFound(f"Cannot {verb} job {job.uuid}: it has no owner")
        raise excp.JobFailure(
            f"Cannot {verb} job {job.uuid} for {who}: the current claim is that of"
            f" {row['live_owner']}, made elsewhere or later"
        )

    def _check_unclaimed(self, job: SQLJob) -> None:
        row = self.look(job)
        if row is None:
            raise excp.NotFound(f"Job {job.uuid} is not on the board")
        if row["live_owner"] is not None:
            raise excp.UnclaimableJob(f"Job {job.uuid} is claimed by {row['live_owner']}")
        # The lease has lapsed (the process was stopped for a while), but the work continues here.
        # The next heartbeat will either renew the claim or find it lost.
        if self._heartbeat.holds(job.uuid):
            raise excp.UnclaimableJob(f"Job {job.uuid} is still being worked on by this board")

    def _renew(self, jobs: Collection[str]) -> set[str]:
        mine = (JOBS.c.uuid.in_(jobs), JOBS.c.claim_token == self._token)
        renewal = sa.update(JOBS).where(*mine).values(lease_expires_at=self._now() + self._lease)
        self._write("renew claims", renewal)
        held = self._read("renew claims", sa.select(JOBS.c.uuid).where(*mine))
        return {row["uuid"] for row in held}

    def _is(self, job: SQLJob) -> tuple[sa.ColumnElement[bool], ...]:
        return (JOBS.c.path == self._path, JOBS.c.uuid == job.uuid)

    def _claimable(self) -> sa.ColumnElement[bool]:
        return sa.or_(JOBS.c.owner.is_(None), JOBS.c.lease_expires_at < self._now())

    def _now(self) -> sa.ColumnElement[float]:
        return schema.now(self._connected().engine)

    def _connected(self) -> sql.Database:
        database = self._database
        if database is None:
            raise excp.JobFailure(f"Board {self.name} is not connected")
        if self._pid != os.getpid():
            raise excp.JobFailure(f"Board {self.name} was connected before this process forked")
        return database

    def _read(self, purpose: str, query: sa.Select[Any]) -> Sequence[Mapping[Any, Any]]:
        with self._failing_to(purpose), self._connected().read() as conn:
            return conn.execute(query).mappings().all()

    def _count(self, jobs: sa.Select[Any]) -> int:
        query = sa.select(sa.func.count().label("jobs")).select_from(jobs.subquery())
        return int(self._read("count the jobs", query)[0]["jobs"])

    def _write(self, purpose: str, *statements: sa.Executable) -> sa.CursorResult[Any]:
        """Run statements in one transaction; return the result of the last."""
        with self._failing_to(purpose):
            return self._connected().write(lambda conn: [*map(conn.execute, statements)][-1])

    @contextlib.contextmanager
    def _failing_to(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except sa_exc.SQLAlchemyError as error:
            raise excp.JobFailure(
                f"Board {self.name} could not {purpose}: {error}", error
            ) from error


def _check_who(who: str) -> None:
    if not isinstance(who, str):
        raise TypeError("The name of a claimer must be a string")
    if not who:
        raise ValueError("The name of a claimer must not be empty")


def _seconds(conf: Mapping[str, Any], key: str, default: float) -> float:
    seconds = float(conf.get(key, default))
    if not seconds > 0:
        raise ValueError(f"The job board's '{key}' must be above zero, not {seconds}.")
    return seconds
