# SPDX-License-Identifier: Apache-2.0
"""The storage driver for SQL databases: SQLite, PostgreSQL and MariaDB."""

import functools
from collections.abc import Sequence
from typing import ClassVar

import sqlalchemy as sa
from oslo_config import cfg

from poppy.common import errors
from poppy.common.domains import Policy
from poppy.storage import base
from poppy.storage.sqlalchemy import upgrade
from poppy.storage.sqlalchemy.database import Database
from poppy.storage.sqlalchemy.domains import DomainStore
from poppy.storage.sqlalchemy.edge import EdgeStore
from poppy.storage.sqlalchemy.flavors import FlavorStore
from poppy.storage.sqlalchemy.membership import MembershipStore
from poppy.storage.sqlalchemy.operations import OperationStore
from poppy.storage.sqlalchemy.queries import DocumentStore, ProjectStore, QueryStore
from poppy.storage.sqlalchemy.services import ServiceStore

_PING = sa.select(sa.literal(1))


class SQLAlchemyStorage(base.Storage):
    """Stores everything in one SQL database.

    SQLite serves a single machine; several machines need a database server. Example::

        [drivers:storage:sqlalchemy]
        connection = postgresql+psycopg2://poppy:secret@db.example.com/poppy

    ``poppy-manage db sync`` creates the tables, and changes them when Poppy is upgraded.
    """

    OPTS: ClassVar = (
        cfg.StrOpt(
            "connection",
            default="sqlite:///$state_path/poppy.sqlite3",
            secret=True,
            help="SQLAlchemy URL of the database. The default, a SQLite file, is for a single "
            "machine: several machines can't share it. PostgreSQL and MariaDB need an extra: pip "
            "install poppy-cdn[postgresql] or poppy-cdn[mysql].",
        ),
        cfg.StrOpt(
            "sqlite_synchronous",
            default="full",
            choices=[
                ("full", "a request is accepted only once it is on the disk"),
                ("normal", "a power cut may lose the latest accepted requests"),
            ],
            help="When SQLite syncs its file to the disk. 'normal' saves one sync per write, but "
            "breaks the promise that an accepted request is never lost. Other databases have "
            "settings of their own for this.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        option = f"[drivers:{self.KIND}:{name}] connection"
        self._database = Database(
            self.options.connection, option, synchronous=self.options.sqlite_synchronous.upper()
        )
        self.flavors = FlavorStore(self._database)
        policy = functools.partial(Policy.of, conf)
        self.services = ServiceStore(self._database, policy)
        self.operations = OperationStore(self._database, policy)
        self.domains = DomainStore(self._database)
        self.membership = MembershipStore(self._database)
        self.projects = ProjectStore(self._database)
        self.queries = QueryStore(self._database)
        self.documents = DocumentStore(self._database)
        self.edge = EdgeStore(self._database)

    def sync(self) -> None:
        """Create or migrate the tables; see :func:`upgrade.upgrade`."""
        upgrade.upgrade(self._database, self.documents)

    def check(self) -> None:
        """Refuse a schema that this version can't use; see :func:`upgrade.check`."""
        upgrade.check(self._database, self.documents)

    def version(self) -> base.SchemaVersion:
        """Return the revision of the last migration; see :func:`upgrade.version`."""
        return upgrade.version(self._database)

    def durability(self) -> Sequence[str]:
        """Report SQLite's option. Database servers have checks of their own."""
        is_sqlite = sa.make_url(self.options.connection).get_backend_name() == "sqlite"
        if not is_sqlite or self.options.sqlite_synchronous == "full":
            return ()
        return (
            f"[drivers:storage:{self.name}] sqlite_synchronous is "
            f"{self.options.sqlite_synchronous}: a power cut may lose the latest accepted "
            "requests",
        )

    def is_alive(self) -> bool:
        """Whether the database answers a query."""
        try:
            with self._database.read() as conn:
                conn.execute(_PING)
        except errors.PoppyError:
            return False
        return True

    def close(self) -> None:
        """Close this process's connections. A later use opens new ones."""
        self._database.close()
