# SPDX-License-Identifier: Apache-2.0
"""The tables of the SQL job board, and the clock for its leases."""

import time
from typing import Any

import sqlalchemy as sa
import tenacity
from sqlalchemy import exc as sa_exc
from taskflow.jobs import base

from poppy.common import sql

PRIORITIES = (
    base.JobPriority.VERY_HIGH,
    base.JobPriority.HIGH,
    base.JobPriority.NORMAL,
    base.JobPriority.LOW,
    base.JobPriority.VERY_LOW,
)
"""The ``priority`` column stores the index in this tuple; jobs are listed in ascending order."""

_METADATA = sa.MetaData()
# SQLite assigns sequence numbers only to a column of exactly this type.
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _posting_columns() -> list[sa.Column[Any]]:
    # Times are seconds since the epoch, UTC.
    return [
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False, unique=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("book", sa.JSON(none_as_null=True)),
        sa.Column("created_on", sa.Double, nullable=False),
        sa.Column("last_modified", sa.Double, nullable=False),
    ]


JOBS = sa.Table(
    "poppy_jobs",
    _METADATA,
    sa.Column("sequence", _SEQUENCE, primary_key=True),
    *_posting_columns(),
    sa.Column("owner", sa.String(255)),
    sa.Column("claim_token", sa.String(36)),
    sa.Column("lease_expires_at", sa.Double),
    sa.Index("ix_poppy_jobs_order", "path", "priority", "sequence"),
    sqlite_autoincrement=True,
)
TRASH = sa.Table(
    "poppy_jobs_trash",
    _METADATA,
    sa.Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    *_posting_columns(),
    sa.Column("trashed_by", sa.String(255), nullable=False),
    sa.Column("trashed_on", sa.Double, nullable=False),
)


def create_tables(database: sql.Database) -> None:
    """Create missing tables. Safe to run in several processes at once.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: They could not be created.
    """
    # On SQLite the second process waits for the first one's write lock and finds the tables. A
    # server lets both begin, and one of them fails and retries. Where DDL is not transactional,
    # it may lose that race once per table.
    tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(sa_exc.DBAPIError),
        stop=tenacity.stop_after_attempt(1 + len(_METADATA.tables)),
        wait=tenacity.wait_fixed(0.05),
        reraise=True,
    )(database.write, _METADATA.create_all)


def now(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Return the time of the one clock that all users of this database share.

    That is the database server's clock. For SQLite, with all users on one host, it is the host's.

    Returns:
        An expression for use in a statement: seconds since the epoch.

    Raises:
        ValueError: This kind of database is not supported.
    """
    if engine.dialect.name == "sqlite":
        return sa.literal(time.time(), sa.Double)
    if engine.dialect.name == "postgresql":
        # Unlike now(), this advances while a transaction waits for a lock.
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
    if engine.dialect.name in ("mysql", "mariadb"):
        # UNIX_TIMESTAMP(NOW()) would repeat an hour when the session's time zone leaves DST.
        return sa.literal_column(
            "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6", sa.Double
        )
    raise ValueError(f"A job board cannot be kept in {engine.dialect.name}.")
