# SPDX-License-Identifier: Apache-2.0
"""Tests of the SQL storage driver that run on each kind of database server."""

import contextlib

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa

from poppy.common import errors
from poppy.storage.sqlalchemy import schema
from poppy.testing.builders import make_flavor, make_operation, make_service
from poppy.testing.storage import EdgeContract, StorageContract
from poppy.testing.storage.case import add, create, each, failures, race
from tests.databases import make_storage
from tests.forks import read_at_once, sync_at_once

TABLES = schema.METADATA.sorted_tables
#: The names of the tables with rows.
FILLED = sa.union_all(
    *(sa.select(sa.literal(it.name)).where(sa.exists(sa.select(it))) for it in TABLES)
)


@contextlib.contextmanager
def synced(server):
    """Start a server and create the tables; its attribute ``admin`` is an engine."""
    with server:
        server.admin = sa.create_engine(
            server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        storage = make_storage(server.url)
        storage.sync()
        storage.close()
        yield server
        server.admin.dispose()


@pytest.fixture
def url(server):
    """The URL of the database, which is emptied first."""
    # Most tables are empty, and TRUNCATE creates new files.
    with server.admin.connect() as conn:
        names = set(conn.scalars(FILLED))
        for table in reversed(TABLES):
            if table.name in names:
                conn.execute(table.delete())
    return server.url


@pytest.fixture
def storage(url):
    driver = make_storage(url)
    yield driver
    driver.close()


@pytest.fixture
def new_database(server):
    """The URL of a database without tables."""
    with server.admin.connect() as conn:
        conn.exec_driver_sql("DROP DATABASE IF EXISTS poppy_new")
        conn.exec_driver_sql("CREATE DATABASE poppy_new")
    return sa.make_url(server.url).set(database="poppy_new").render_as_string(hide_password=False)


class Contract(StorageContract, EdgeContract):
    """The storage suites on the database of the fixture ``url``."""

    @pytest.fixture
    def storage(self, url):
        driver = make_storage(url)
        yield driver
        driver.close()

    @pytest.fixture
    def connect_again(self, url):
        return lambda: make_storage(url)


class ServerTests:
    """Subclasses provide what differs.

    Fixtures: ``server`` has a database with the tables and ``admin``, an engine; ``url`` is that
    of the emptied database, ``new_database`` that of one without tables, ``nowhere`` that of a
    server that does not run; ``storage`` is a driver with ``url``.
    """

    def disconnect_all(self, conn):
        """Close all connections to the server but this one."""
        raise NotImplementedError

    def with_isolation(self, url, level):
        """Return the URL with another default isolation level."""
        raise NotImplementedError

    def test_concurrent_syncs_of_an_empty_database(self, new_database):
        sync_at_once(lambda: make_storage(new_database))

    def test_check_without_tables_names_the_command_to_run(self, new_database):
        storage = make_storage(new_database)
        with pytest.raises(errors.ConfigError, match="poppy-manage db sync"):
            storage.check()
        storage.close()

    def test_migrations_create_the_expected_tables(self, server):
        with server.admin.connect() as conn:
            context = alembic.migration.MigrationContext.configure(
                conn, opts={"compare_type": True}
            )
            assert alembic.autogenerate.compare_metadata(context, schema.METADATA) == []

    def test_lost_connections_are_replaced(self, server, storage):
        storage.flavors.create(make_flavor())
        with server.admin.connect() as conn:
            self.disconnect_all(conn)
        assert storage.flavors.list() == [make_flavor()]

    def test_unreachable_server_is_unavailable(self, nowhere):
        storage = make_storage(nowhere)
        with pytest.raises(errors.Unavailable):
            storage.flavors.list()
        with pytest.raises(errors.Unavailable):
            storage.flavors.create(make_flavor())
        assert storage.is_alive() is False
        storage.close()

    def test_parent_and_forked_child_can_read_at_once(self, storage):
        read_at_once(storage)

    @pytest.mark.parametrize("level", ["repeatable read", "serializable"])
    def test_limit_holds_under_any_default_isolation_level(self, url, level):
        def connect():
            return make_storage(self.with_isolation(url, level))

        storage = connect()
        storage.flavors.create(make_flavor())
        outcomes = race(connect, [lambda s: add(s, limit=3)] * 8)
        assert [type(error) for error in failures(outcomes)] == [errors.LimitReached] * 5
        storage.close()

    def test_many_writers_do_not_deadlock(self, url, storage):
        storage.flavors.create(make_flavor())
        names = [f"{n}.example.com" for n in range(10)]
        services = [make_service(project_id=f"p{n % 2}", domains=names[n:]) for n in range(6)]
        outcomes = race(lambda: make_storage(url), each(create, services))
        assert [type(error) for error in failures(outcomes)] == [errors.DomainTaken] * 5
        winner = services[outcomes.index(None)]
        stored = storage.services.get(winner.project_id, winner.service_id)
        storage.services.submit(stored, make_operation(stored))


def with_query(url, **query):
    """Return a URL with more parameters."""
    return sa.make_url(url).update_query_dict(query).render_as_string(hide_password=False)
