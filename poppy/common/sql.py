# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy engines for every part of Poppy that stores data in SQL.

::

    database = Database("sqlite:////var/lib/poppy/poppy.db")
    with database.read() as conn:
        rows = conn.execute(select(table)).all()
    database.write(lambda conn: conn.execute(insert(table).values(...)))

A database holds open connections, which do not survive a ``fork``. Create it after the fork, in
the process that uses it.
"""

import contextlib
import functools
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy import event, pool
from sqlalchemy import exc as sa_exc

T = TypeVar("T")

BUSY_TIMEOUT = 5.0
"""Seconds that a SQLite connection waits for a lock before it fails."""

DURABLE = "FULL"
"""The ``PRAGMA synchronous`` that makes SQLite sync the file at each commit."""

FILE_MODE = 0o640
"""Permissions of a new SQLite file. It holds tenants' documents, so others can't read it."""

_POOL_SIZE = 10
_POOL_OVERFLOW = 5
_POOL_TIMEOUT = 10.0
_POOL_RECYCLE = 1800
_CONNECT_TIMEOUT = 5
_DRIVERS_WITH_CONNECT_TIMEOUT = frozenset({"psycopg2", "psycopg", "pymysql", "mysqldb"})
_WRITES = "poppy_writes"
# The SQLSTATEs of a serialization failure and a deadlock; MariaDB's numbers of a deadlock and a
# lock timeout.
_CONFLICT_STATES = frozenset({"40001", "40P01"})
_CONFLICT_NUMBERS = frozenset({1213, 1205})

# A lock per file: the threads of a process queue for SQLite's single write lock. SQLite itself
# sleeps and polls at growing intervals, even after the writer is done.
_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
os.register_at_fork(after_in_child=_turns.clear)
_creating = threading.Lock()
os.register_at_fork(
    before=_creating.acquire,
    after_in_parent=_creating.release,
    after_in_child=_creating.release,
)


class Database:
    """A database, for reads by one SELECT and for write transactions.

    Args:
        connection: A SQLAlchemy database URL.
        synchronous: SQLite's PRAGMA; see :func:`make_engine`, also for the errors.

    Attributes:
        engine: Its engine.
    """

    def __init__(self, connection: str, *, synchronous: str = DURABLE) -> None:
        self.engine = self._reads = self._writes = make_engine(connection, synchronous=synchronous)
        if self.engine.dialect.name == "sqlite":
            return
        # READ COMMITTED, whatever the server's default: every transaction first takes the locks
        # that protect its decision. What it reads next must include what the lock's previous
        # holder committed, not an older snapshot.
        self._writes = self.engine.execution_options(isolation_level="READ COMMITTED")
        if self.engine.dialect.name == "postgresql":
            # A single SELECT needs no transaction; this saves a round trip. (MariaDB's drivers
            # would need more round trips instead.)
            self._reads = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def read(self) -> sa.Connection:
        """Return a connection for one SELECT, as a context manager."""
        return self._reads.connect()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in one transaction. Any exception rolls it back.

        After a deadlock the transaction is repeated from the start, so ``work`` must have no
        effects besides its writes.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The server is unreachable, a lock timed out, or a
                statement failed.
        """
        result: T = _RETRY(self._write_once, work)
        return result

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _write_once(self, work: Callable[[sa.Connection], T]) -> T:
        with write(self._writes) as conn:
            return work(conn)


def make_engine(connection: str, *, synchronous: str = DURABLE) -> sa.Engine:
    """Create an engine for a database URL. No connection is opened yet.

    SQLite files use WAL mode, so readers and the single writer do not block each other. A commit
    returns when it is on disk. Only the owner and group can read a new file (:data:`FILE_MODE`),
    independent of the umask. Its journals get the same mode (SQLite, "Write-Ahead Logging", and
    ``findCreateFileMode`` in ``os_unix.c``).

    ``sqlite://`` (in memory) has exactly one connection, which the threads of the process share.
    A thread that requests a second connection while it holds the first blocks until the timeout.

    Args:
        connection: A SQLAlchemy database URL.
        synchronous: SQLite's PRAGMA of that name. With ``NORMAL``, a power cut may lose the last
            commits; the file stays consistent ("PRAGMA synchronous").

    Returns:
        The engine. The caller disposes of it. Its errors name the statement but not the values,
        which may be private and would appear in logs.

    Raises:
        ValueError: The directory of the SQLite file does not exist.
        sqlalchemy.exc.ArgumentError: The URL is invalid.
    """
    url = sa.make_url(connection)
    if url.get_backend_name() == "sqlite":
        return _make_sqlite_engine(url, synchronous)
    connect_args: dict[str, Any] = {}
    if (
        url.get_driver_name() in _DRIVERS_WITH_CONNECT_TIMEOUT
        and "connect_timeout" not in url.query
    ):
        connect_args["connect_timeout"] = _CONNECT_TIMEOUT
    return sa.create_engine(
        url,
        connect_args=connect_args,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT,
        pool_recycle=_POOL_RECYCLE,
        pool_pre_ping=True,
        hide_parameters=True,
    )


@contextmanager
def write(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Run a write transaction: commit at the end, roll back on any exception.

    On SQLite the transaction takes the write lock when it begins (``BEGIN IMMEDIATE``) and waits
    for it up to ``BUSY_TIMEOUT`` seconds. A transaction that begins as a reader and writes later
    can fail at once with "database is locked", regardless of the busy timeout.

    Args:
        engine: An engine from :func:`make_engine`.

    Yields:
        The connection, inside the transaction.

    Raises:
        sqlalchemy.exc.OperationalError: The server is unreachable, or the lock timed out.
    """
    with engine.connect() as conn, _turn(engine):
        conn.execution_options(**{_WRITES: True})
        with conn.begin():
            yield conn


def _is_conflict(exc: BaseException) -> bool:
    if not isinstance(exc, sa_exc.DBAPIError):
        return False
    cause: Any = exc.orig
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    arguments = getattr(cause, "args", ())
    return state in _CONFLICT_STATES or bool(arguments and arguments[0] in _CONFLICT_NUMBERS)


_RETRY = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_is_conflict),
    stop=tenacity.stop_after_attempt(5),
    wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.5),
    reraise=True,
)


@contextmanager
def _turn(engine: sa.Engine) -> Iterator[None]:
    if engine.dialect.name != "sqlite":
        yield
        return
    turn = _turns[str(engine.url.database)]
    # After a timeout, continue without the lock: SQLite raises the right error.
    held = turn.acquire(timeout=BUSY_TIMEOUT)
    try:
        yield
    finally:
        if held:
            turn.release()


def _make_sqlite_engine(url: sa.URL, synchronous: str) -> sa.Engine:
    in_memory = url.database in (None, "", ":memory:")
    if not in_memory:
        _check_directory(url)
    engine = sa.create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False},
        # An in-memory database lives in its connection. Keep one and let threads queue for it,
        # because their transactions cannot share a connection.
        poolclass=pool.QueuePool,
        pool_size=1 if in_memory else _POOL_SIZE,
        max_overflow=0 if in_memory else _POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT,
        hide_parameters=True,
    )
    if not in_memory:
        event.listen(engine, "do_connect", lambda *_: _create_file(url))
    event.listen(engine, "connect", functools.partial(_set_up_sqlite, synchronous))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _check_directory(url: sa.URL) -> None:
    database = url.database or ""
    if database.startswith("file:"):
        return
    parent = Path(database).absolute().parent
    if not parent.is_dir():
        raise ValueError(
            f"The directory {parent} of the SQLite database {database} does not exist; "
            "create it, writable by the user that Poppy runs as."
        )


def _create_file(url: sa.URL) -> None:
    """Create a missing file with the right mode; SQLite would use the umask alone.

    An empty file is a database without tables to SQLite. A URI (``file:...``) is left to SQLite:
    it may name no file at all.

    A file that exists must not be opened here: to close it again would release all locks that
    this process has on it, and SQLite would lose data ("How To Corrupt An SQLite Database File",
    section 2.2). So it is made by ``O_EXCL``, and no thread connects before it is closed.
    """
    database = str(url.database)
    if database.startswith("file:"):
        return
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
    # What is wrong with the path, SQLite says when it opens the file.
    with _creating, contextlib.suppress(OSError):
        os.close(os.open(database, flags, FILE_MODE))


def _set_up_sqlite(synchronous: str, connection: sqlite3.Connection, _record: Any) -> None:
    # Disable the driver's implicit transactions; _begin_sqlite begins them.
    connection.isolation_level = None
    _use_wal(connection)
    connection.execute(f"PRAGMA synchronous={synchronous}")


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT
    # The file stores the mode. Changing it may ignore the busy timeout when two processes open a
    # new file at once, hence the loop.
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(conn: sa.Connection) -> None:
    writes = conn.get_execution_options().get(_WRITES, False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
