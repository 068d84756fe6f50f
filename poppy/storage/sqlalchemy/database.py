# SPDX-License-Identifier: Apache-2.0
"""The database connection: one per process, and translation of errors."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
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
        self._databases: dict[int, sql.Database] = {}

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Return a connection for one SELECT.

        Raises:
            Unavailable: the database does not answer.
            ConfigError: the URL can't work.
        """
        with _answering(), self._connected().read() as conn:
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
            return self._connected().write(work)

    def close(self) -> None:
        """Close this process's connections. The next use opens new ones."""
        database = self._databases.pop(os.getpid(), None)
        if database is not None:
            database.close()

    def _connected(self) -> sql.Database:
        pid = os.getpid()
        return self._databases.get(pid) or self._databases.setdefault(pid, self._make())

    def _make(self) -> sql.Database:
        try:
            made = sql.Database(self._connection, synchronous=self._synchronous)
        except (ValueError, ImportError, sa_exc.ArgumentError) as exc:
            raise errors.ConfigError(f"{self._option} can't be used: {exc}") from exc
        if made.engine.dialect.name == "sqlite":
            event.listen(made.engine, "connect", _enforce_foreign_keys)
        return made


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


def _enforce_foreign_keys(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
