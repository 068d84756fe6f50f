# SPDX-License-Identifier: Apache-2.0
"""The database connection: one engine per process, translation of errors, and retries."""

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
    # Among other cases: the server became a read-only standby during a failover.
    sa_exc.InternalError,
    # No pooled connection became free in time.
    sa_exc.TimeoutError,
)
# The SQLSTATEs of a serialization failure and a deadlock; MySQL's numbers of a deadlock and a lock
# timeout.
_CONFLICT_STATES = frozenset({"40001", "40P01"})
_CONFLICT_NUMBERS = frozenset({1213, 1205})


class _Engines(NamedTuple):
    base: sa.Engine
    reads: sa.Engine
    writes: sa.Engine


class Database:
    """A database, connected on first use.

    Args:
        connection: its SQLAlchemy URL.
        option: the name of the URL's option, for messages.
        synchronous: SQLite's PRAGMA; see :func:`.sql.make_engine`.
    """

    def __init__(self, connection: str, option: str, *, synchronous: str = sql.DURABLE) -> None:
        self._connection = connection
        self._synchronous = synchronous
        self._option = option
        # By process: a child must not use or close a connection that it inherited. The entries
        # of ancestors stay, so that they are not garbage-collected and thereby closed.
        # There is no lock, because another thread might hold it during the fork.
        self._engines: dict[int, _Engines] = {}

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Return a connection for one SELECT.

        Raises:
            Unavailable: the database does not answer.
            ConfigError: the URL can't work.
        """
        with _answering(), self._connected().reads.connect() as conn:
            yield conn

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in one transaction. Any exception rolls it back.

        After a deadlock the transaction is repeated from the start, so ``work`` must have no
        effects besides its writes.

        Raises:
            Unavailable: the database does not answer. If that happened during the commit, the
                transaction may have been committed nevertheless.
            ConfigError: the URL can't work.
        """
        with _answering():
            result: T = _RETRY(self._write_once, work)
            return result

    def close(self) -> None:
        """Close this process's connections. The next use opens new ones."""
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
        # READ COMMITTED, whatever the server's default: every transaction first takes the locks
        # that protect its decision (see rows.py). What it reads next must include what the lock's
        # previous holder committed, not an older snapshot.
        writes = engine.execution_options(isolation_level="READ COMMITTED")
        reads = engine
        if engine.dialect.name == "postgresql":
            # A single SELECT needs no transaction; this saves a round trip. (The MySQL drivers
            # would need more round trips instead.)
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
    # DatabaseError itself, not a subclass: a file that is not a database, or a connection that
    # broke in the middle of a reply.
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
