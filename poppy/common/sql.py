# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy engines, set up the same way for every part of Poppy that keeps data in SQL.

Read with ``engine.connect()`` and write with :func:`write`::

    engine = make_engine("sqlite:////var/lib/poppy/poppy.db")
    with engine.connect() as conn:
        rows = conn.execute(select(table)).all()
    with write(engine) as conn:
        conn.execute(insert(table).values(...))

An engine holds open connections, which do not survive a ``fork``: make it in the process that
uses it, after the fork.
"""

import contextlib
import functools
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, pool

BUSY_TIMEOUT = 5.0
"""Seconds that a SQLite connection waits for another one's lock before it gives up."""

DURABLE = "FULL"
"""The ``PRAGMA synchronous`` by which SQLite syncs the file at each commit."""

FILE_MODE = 0o640
"""Permissions of a new SQLite file: not for everybody, since it holds tenants' documents."""

_POOL_SIZE = 10
_POOL_OVERFLOW = 5
_POOL_TIMEOUT = 10.0
_POOL_RECYCLE = 1800
_CONNECT_TIMEOUT = 5
_DRIVERS_WITH_CONNECT_TIMEOUT = frozenset({"psycopg2", "psycopg", "pymysql", "mysqldb"})
_WRITES = "poppy_writes"

# By file: the threads of a process queue for SQLite's only writer. It would have them sleep and
# try again, longer each time, while the writer is long done.
_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
os.register_at_fork(after_in_child=_turns.clear)
_creating = threading.Lock()
os.register_at_fork(
    before=_creating.acquire,
    after_in_parent=_creating.release,
    after_in_child=_creating.release,
)


def make_engine(connection: str, *, synchronous: str = DURABLE) -> sa.Engine:
    """Make an engine for a database URL; no connection is opened yet.

    SQLite files are used in WAL mode, so readers and the one writer do not block each other. A
    commit returns when it is on the disk. A new file can be read by its owner and group only
    (:data:`FILE_MODE`), whatever the umask; its journals have the same mode (SQLite, "Write-Ahead
    Logging", and ``findCreateFileMode`` in ``os_unix.c``).

    ``sqlite://`` (in memory) has exactly one connection, which the threads of the process use
    in turns: a thread that asks for a second one while it holds the first waits in vain.

    Args:
        connection: A SQLAlchemy database URL.
        synchronous: SQLite's PRAGMA of that name. With ``NORMAL``, the last commits before a
            power cut may be lost; the file stays consistent ("PRAGMA synchronous").

    Returns:
        The engine; the caller disposes of it. Its errors name the statement but not the values,
        which may be private and would end up in logs.

    Raises:
        ValueError: The directory that should hold the SQLite file does not exist.
        sqlalchemy.exc.ArgumentError: The URL cannot be understood.
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
    """Run one transaction that writes: committed at the end, rolled back on any exception.

    On SQLite the transaction takes the write lock when it begins (``BEGIN IMMEDIATE``). One that
    begins as a reader and wants to write later can fail at once with "database is locked",
    whatever the busy timeout; this one waits its turn instead, up to ``BUSY_TIMEOUT`` seconds.

    Args:
        engine: An engine from :func:`make_engine`.

    Yields:
        The connection, with its transaction begun.

    Raises:
        sqlalchemy.exc.OperationalError: The server is away, or the lock was not to be had in time.
    """
    with engine.connect() as conn, _turn(engine):
        conn.execution_options(**{_WRITES: True})
        with conn.begin():
            yield conn


@contextmanager
def _turn(engine: sa.Engine) -> Iterator[None]:
    if engine.dialect.name != "sqlite":
        yield
        return
    turn = _turns[str(engine.url.database)]
    # Whoever waits in vain asks SQLite all the same, which knows what to say.
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
        # An in-memory database lives in its connection: keep one, and let threads queue for it,
        # for transactions of several threads cannot share a connection.
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
    """Create the file, if it is not there, before SQLite would by the umask alone.

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
    # The driver's own idea of when to begin a transaction is switched off; _begin_sqlite does it.
    connection.isolation_level = None
    _use_wal(connection)
    connection.execute(f"PRAGMA synchronous={synchronous}")


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT
    # The mode is kept in the file. The change to it does not always heed the busy timeout when
    # two processes open a new file at once, hence the loop.
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
