# SPDX-License-Identifier: Apache-2.0
"""Upgrade the schema to this version, and check its version.

Migrations are the numbered files of ``migrations``. Every statement can be repeated, and a file is
recorded as applied after its last statement. So a runner that dies half-way does no harm. A lock
row with a lease lets one runner work at a time. (Apache Cassandra documentation, "Data
Definition": avoid concurrent changes of the schema.)
"""

import importlib.resources
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from cassandra import ConsistencyLevel, InvalidRequest, OperationTimedOut, WriteTimeout
from cassandra.query import SimpleStatement
from oslo_log import log

from poppy.common import errors
from poppy.storage import compatibility
from poppy.storage.base import SchemaVersion
from poppy.storage.cassandra.driver_errors import COMMAND
from poppy.storage.cassandra.session import Database
from poppy.storage.queries import DocumentStore

LOG = log.getLogger(__name__)

LEASE = 120
"""Seconds after which a silent runner counts as dead; a statement takes less."""

OLDEST = 12
"""The oldest migration whose code works on this schema (:mod:`poppy.storage.compatibility`)."""

_PATIENCE = 600.0
_POLL = 0.2
_NAME = re.compile(r"(\d{4})_\w+\.cql")
_WORD = re.compile(r"\w+")
_BOOTSTRAP = {
    "schema_lock": "name text PRIMARY KEY, owner uuid",
    "schema_migrations": "shelf int, number int, PRIMARY KEY ((shelf), number)",
}
APPLIED = "SELECT number FROM schema_migrations WHERE shelf = 0"
_NOTE = "INSERT INTO schema_migrations (shelf, number) VALUES (0, %s)"
_LOCK = "INSERT INTO schema_lock (name, owner) VALUES ('sync', %s) IF NOT EXISTS USING TTL %s"
_EXTEND = "UPDATE schema_lock USING TTL %s SET owner = %s WHERE name = 'sync' IF owner = %s"
_UNLOCK = "DELETE FROM schema_lock WHERE name = 'sync' IF owner = %s"


class Migration(NamedTuple):
    """A migration file."""

    number: int
    statements: Sequence[str]


def migrations() -> Sequence[Migration]:
    """Return all migrations of this version, in order."""
    found = []
    for entry in importlib.resources.files(__package__).joinpath("migrations").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), statements(entry.read_text("utf-8"))))
    return sorted(found)


def statements(text: str) -> Sequence[str]:
    """Return the statements of a file. Comments are whole lines that begin with ``--``."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def sync(database: Database, documents: DocumentStore) -> None:
    """Create the keyspace and apply the missing migrations. Safe to repeat.

    A newer schema is left alone if this code may use it.

    Raises:
        ConfigError: the schema is newer and this code can't use it, or the keyspace can't be
            created.
        Unavailable: the cluster does not answer, or another runner takes very long.
    """
    make_keyspace(database)
    keyspace = database.options.keyspace
    cluster, session = database.admin(keyspace)
    try:
        with database.answering():
            for table, columns in _BOOTSTRAP.items():
                _change(cluster, session, _bootstrap(keyspace, table, columns))
            newer = _Runner(cluster, session, database).run()
    finally:
        cluster.shutdown()
    if newer is not None:
        compatibility.accept_newer(documents, _text(newer), _text(migrations()[-1].number))
    else:
        compatibility.declare(documents, _text(OLDEST))


def check(database: Database, documents: DocumentStore) -> None:
    """Compare the schema with this version's, by one query, or two if it is newer.

    Raises:
        ConfigError: the schema is missing or older, or newer and this code can't use it.
        Unavailable: the cluster does not answer.
    """
    applied = _noted(database)
    if applied is None:
        raise errors.ConfigError(
            f"Keyspace {database.options.keyspace} has no tables of Poppy: run '{COMMAND}'"
        )
    newer = _newer(applied)
    if newer is not None:
        compatibility.accept_newer(documents, _text(newer), _text(migrations()[-1].number))
    missing = [it.number for it in migrations() if it.number not in applied]
    if missing:
        raise errors.ConfigError(
            f"The schema lacks migration {missing[0]:04} of this version: run '{COMMAND}'"
        )


def version(database: Database) -> SchemaVersion:
    """Return the numbers of the last applied migration and of this version's last one.

    Raises:
        Unavailable: the cluster does not answer.
    """
    applied = _noted(database)
    return SchemaVersion(_text(max(applied)) if applied else None, _text(migrations()[-1].number))


def make_keyspace(database: Database) -> None:
    """Create the keyspace unless it exists."""
    keyspace = database.options.keyspace
    replication = database.options.replication_strategy
    if not all(_WORD.fullmatch(word) for word in (keyspace, *replication)):
        raise errors.ConfigError("keyspace and replication_strategy: only letters and digits")
    cluster, session = database.admin(None)
    try:
        with database.answering():
            found = session.execute(
                "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s",
                (keyspace,),
            )
            if list(found):
                return
            if replication.get("class") == "SimpleStrategy":
                LOG.warning(
                    "Keyspace %s is created with replication %s: not for production, see "
                    "replication_strategy",
                    keyspace,
                    replication,
                )
            quoted = ", ".join(f"'{name}': '{value}'" for name, value in replication.items())
            _change(
                cluster,
                session,
                f"CREATE KEYSPACE IF NOT EXISTS {keyspace} "
                f"WITH replication = {{{quoted.replace(';', '')}}}",
            )
    finally:
        cluster.shutdown()


class _Runner:
    def __init__(self, cluster: Any, session: Any, database: Database) -> None:
        self._cluster = cluster
        self._session = session
        self._levels = database.levels
        self._owner = uuid.uuid4()

    def run(self) -> int | None:
        """Apply the missing migrations; return the schema's last one if it is newer."""
        with self._locked():
            applied = self._applied()
            newer = _newer(applied)
            if newer is not None:
                return newer
            for migration in migrations():
                if migration.number not in applied:
                    self._apply(migration)
            return None

    def _apply(self, migration: Migration) -> None:
        for statement in migration.statements:
            if not self._cas(_EXTEND, LEASE, self._owner, self._owner):
                raise errors.Unavailable(f"Another '{COMMAND}' has taken over")
            _change(self._cluster, self._session, statement)
        note = SimpleStatement(_NOTE, consistency_level=self._levels.wide)
        self._session.execute(note, (migration.number,))
        LOG.info("Applied migration %04d", migration.number)

    def _applied(self) -> set[int]:
        statement = SimpleStatement(APPLIED, consistency_level=self._levels.wide)
        return {row[0] for row in self._session.execute(statement)}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        deadline = time.monotonic() + _PATIENCE
        while not self._cas(_LOCK, self._owner, LEASE):
            if time.monotonic() > deadline:
                raise errors.Unavailable(f"Another '{COMMAND}' is still running")
            time.sleep(_POLL)
        try:
            yield
        finally:
            self._cas(_UNLOCK, self._owner)

    def _cas(self, cql: str, *parameters: object) -> bool:
        """Return whether the lock is ours; repeat a statement that has timed out.

        With several runners, a slow cluster times out easily, and the statement may have been
        applied. Then its repetition is not applied, and finds our id.
        """
        statement = SimpleStatement(
            cql,
            consistency_level=self._levels.wide,
            serial_consistency_level=ConsistencyLevel.SERIAL,
        )
        deadline = time.monotonic() + LEASE
        while True:
            try:
                row = self._session.execute(statement, parameters).one()
            except (OperationTimedOut, WriteTimeout):
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
            else:
                return bool(row[0]) or self._owner in row


def _noted(database: Database) -> set[int] | None:
    """Return the applied migrations; None if there are no tables."""
    try:
        return {row[0] for row in database.read(APPLIED, {})}
    except errors.ConfigError as exc:
        if isinstance(exc.__cause__, InvalidRequest):
            return None
        raise


def _bootstrap(keyspace: str, table: str, columns: str) -> str:
    # With a fixed id, so that two nodes that create it concurrently, for two runners without a
    # lock, create the same table. No two tables of a cluster may share an id.
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{table}.{keyspace}.poppy")
    return f"CREATE TABLE IF NOT EXISTS {table} ({columns}) WITH ID = {identity}"


def _change(cluster: Any, session: Any, statement: str) -> None:
    session.execute(statement, timeout=60.0)
    if not cluster.control_connection.wait_for_schema_agreement(wait_time=30):
        raise errors.Unavailable("The nodes do not agree about the schema")


def _newer(applied: set[int]) -> int | None:
    """Return the last applied migration if this version does not have it."""
    last = max(applied, default=0)
    return last if last > migrations()[-1].number else None


def _text(number: int) -> str:
    return f"{number:04}"
