# SPDX-License-Identifier: Apache-2.0
"""Upgrade the schema to this version, and check its version."""

import sqlalchemy as sa

from poppy.common import errors
from poppy.storage.base import SchemaVersion
from poppy.storage.sqlalchemy import schema
from poppy.storage.sqlalchemy.database import Database

_COMMAND = "poppy-manage db sync"
# An arbitrary number that nothing else in the same database uses.
_LOCK_NUMBER = 0x706F707079
_LOCK_NAME = "poppy db sync"
_LOCK_SECONDS = 60


def upgrade(database: Database) -> None:
    """Apply the missing migrations.

    They run in one transaction, under a lock that one process holds at a time; others wait and
    then find nothing to do. (MySQL commits after each statement that changes the schema: there,
    an interrupted migration needs manual repair.)

    Raises:
        ConfigError: the schema is newer.
        Unavailable: the database does not answer.
    """
    database.write(_upgrade)


def check(database: Database) -> None:
    """Compare the schema's revision with this version's, by one or two cheap queries.

    Raises:
        ConfigError: the schema is missing, older or newer.
        Unavailable: the database does not answer.
    """
    with database.read() as conn:
        revision = _revision(conn)
    if revision is None:
        raise errors.ConfigError(f"The database has no tables of Poppy: run '{_COMMAND}'")
    _refuse_newer(revision)
    if revision != schema.HEAD:
        raise errors.ConfigError(
            f"The database has an older schema ({revision}, this Poppy needs {schema.HEAD}): "
            f"run '{_COMMAND}'"
        )


def version(database: Database) -> SchemaVersion:
    """Return the revision found and this version's.

    Raises:
        Unavailable: the database does not answer.
    """
    with database.read() as conn:
        return SchemaVersion(_revision(conn), schema.HEAD)


def _upgrade(conn: sa.Connection) -> None:
    _lock(conn)
    try:
        revision = _revision(conn)
        if revision is not None:
            _refuse_newer(revision)
        if revision != schema.HEAD:
            _migrate(conn)
    finally:
        _unlock(conn)


def _migrate(conn: sa.Connection) -> None:
    # Imported here because it takes longer than the rest of a daemon's start.
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    config.attributes["connection"] = conn
    alembic.command.upgrade(config, "head")


def _lock(conn: sa.Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_NUMBER)))
    elif conn.dialect.name in ("mysql", "mariadb"):
        held = conn.execute(sa.select(sa.func.get_lock(_LOCK_NAME, _LOCK_SECONDS))).scalar()
        if held != 1:
            raise errors.Unavailable(f"Another '{_COMMAND}' is still running")
    # SQLite: the transaction has held the only write lock since it began.


def _unlock(conn: sa.Connection) -> None:
    # The other locks end with the transaction.
    if conn.dialect.name in ("mysql", "mariadb"):
        conn.execute(sa.select(sa.func.release_lock(_LOCK_NAME)))


def _revision(conn: sa.Connection) -> str | None:
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    found: str | None = conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _refuse_newer(revision: str) -> None:
    if revision not in schema.REVISIONS:
        raise errors.ConfigError(
            f"The database has a newer schema ({revision}) than this Poppy knows "
            f"({schema.HEAD}): install the newer Poppy here as well; '{_COMMAND}' can't go back"
        )
