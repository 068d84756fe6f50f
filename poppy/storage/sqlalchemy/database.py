# SPDX-License-Identifier: Apache-2.0
"""The connection to the database: one engine per process, errors, and repeated transactions."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy import event
from sqlalchemy import exc as sa_exc

from poppy.common import errors, sql

T = TypeVar("T")

_OUTAGES = (
    sa_exc.OperationalError,
    sa_exc.InterfaceError,
    # Among others: the server became a read-only standby, so that a failover is under way.
    sa_exc.InternalError,
    # No connection of the pool became free in time.
    sa_exc.TimeoutError,
)
# SQLSTATE of a serialization failure and of a deadlock; MySQL's numbers of a deadlock and of a
# lock that was not to be had.
_CONFLICT_STATES = frozenset({"40001", "40P01"})
_CONFLICT_NUMBERS = frozenset({1213, 1205})


class _Engines(NamedTuple):
    base: sa.Engine
    reads: sa.Engine
    writes: sa.Engine


class Database:
    """A database, connected to when it is first used.

    Args:
        connection: its SQLAlchemy URL.
        option: what the URL's option is called, for messages.
        synchronous: SQLite's PRAGMA; see :func:`.sql.make_engine`.
    """

    def __init__(self, connection: str, option: str, *, synchronous: str = sql.DURABLE) -> None:
        self._connection = connection
        self._synchronous = synchronous
        self._option = option
        # By process: a connection must not be used, nor closed, by a child that inherited it.
        # The entries of ancestors stay, which keeps them from being collected and so closed.
        # A dict and no lock: a lock might be held by another thread at the fork.
        self._engines: dict[int, _Engines] = {}

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for one SELECT.

        Raises:
            Unavailable: the database does not answer.
            ConfigError: the URL can't work.
        """
        with _answering(), self._connected().reads.connect() as conn:
            yield conn

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction; any exception undoes it.

        It is done again, from the start, when the database had to break a deadlock, so it must
        have no effect but what it writes.

        Raises:
            Unavailable: the database does not answer. If that happened at the very end, the
                transaction may have been done nevertheless.
            ConfigError: the URL can't work.
        """
        with _answering():
            result: T = _RETRY(self._write_once, work)
            return result

    def close(self) -> None:
        """Close this process's connections; the next use opens new ones."""
        engines = self._engines.pop(os.getpid(), None)
        if engines is not None:
            engines.base.dispose()

    def _write_once(self, work: Callable[[sa.Connection], T]) -> T:
        with sql.write(self._connected().writes) as conn:
            return work(conn)

    def _connected(self) -> _Engines:
        pid = os.getpid()
        return self._engines.get(pid) or self._engines.setdefault(pid, self._make_engines())

    def _make_engines(self) -> _Engines:
        try:
            engine = sql.make_engine(self._connection, synchronous=self._synchronous)
        except (ValueError, ImportError, sa_exc.ArgumentError) as exc:
            raise errors.ConfigError(f"{self._option} can't be used: {exc}") from exc
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _enforce_foreign_keys)
            return _Engines(engine, engine, engine)
        # READ COMMITTED, whatever the server's default: every transaction takes the locks that
        # make its decision stand before it reads what it decides by (see rows.py), and must
        # then see what the previous holder of the lock committed, not an older snapshot.
        writes = engine.execution_options(isolation_level="READ COMMITTED")
        reads = engine
        if engine.dialect.name == "postgresql":
            # A single SELECT needs no transaction around it; that saves a round trip. (With the
            # drivers for MySQL it would cost some instead.)
            reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        return _Engines(engine, reads, writes)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except sa_exc.SQLAlchemyError as exc:
        if not _is_outage(exc):
            raise
        raise errors.Unavailable("The database does not answer") from exc


def _is_outage(exc: sa_exc.SQLAlchemyError) -> bool:
    if isinstance(exc, _OUTAGES):
        return True
    # DatabaseError itself, not one of its kinds: a file that is no database, or a connection
    # that broke in the middle of a reply.
    return type(exc) is sa_exc.DatabaseError or (
        isinstance(exc, sa_exc.DBAPIError) and exc.connection_invalidated
    )


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


def _enforce_foreign_keys(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
