# SPDX-License-Identifier: Apache-2.0
"""Upgrade the schema to this version, and check its version."""

import sqlalchemy as sa

from poppy.common import errors
from poppy.storage import compatibility
from poppy.storage.base import SchemaVersion
from poppy.storage.queries import DocumentStore
from poppy.storage.sqlalchemy import schema
from poppy.storage.sqlalchemy.database import Database

_COMMAND = "poppy-manage db sync"
# An arbitrary number that nothing else in the same database uses.
_LOCK_NUMBER = 0x706F707079
_LOCK_NAME = "poppy db sync"
_LOCK_SECONDS = 60


def upgrade(database: Database, documents: DocumentStore) -> None:
    """Apply the missing migrations. A newer schema is left alone if this code may use it.

    They run in one transaction, under a lock that one process holds at a time; others wait and
    then find nothing to do. (MySQL commits after each statement that changes the schema: there,
    an interrupted migration needs manual repair.)

    Raises:
        ConfigError: the schema is newer, and this code can't use it.
        Unavailable: the database does not answer.
    """
    newer = database.write(_upgrade)
    if newer is not None:
        compatibility.accept_newer(documents, newer, schema.HEAD)
    else:
        compatibility.declare(documents, schema.OLDEST)


def check(database: Database, documents: DocumentStore) -> None:
    """Compare the schema's revision with this version's, by one or two cheap queries.

    Raises:
        ConfigError: the schema is missing or older, or newer and this code can't use it.
        Unavailable: the database does not answer.
    """
    with database.read() as conn:
        revision = _revision(conn)
    if revision is None:
        raise errors.ConfigError(f"The database has no tables of Poppy: run '{_COMMAND}'")
    if revision not in schema.REVISIONS:
        compatibility.accept_newer(documents, revision, schema.HEAD)
    elif revision != schema.HEAD:
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


def _upgrade(conn: sa.Connection) -> str | None:
    """Apply the missing migrations; return the schema's revision if it is newer."""
    _lock(conn)
    try:
        revision = _revision(conn)
        if revision is not None and revision not in schema.REVISIONS:
            return revision
        if revision != schema.HEAD:
            _migrate(conn)
        return None
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
