# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver on a real PostgreSQL."""

import multiprocessing

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa

from poppy.common import errors
from poppy.storage.sqlalchemy import schema
from poppy.testing.builders import make_flavor, make_operation, make_service
from poppy.testing.storage import StorageContract
from poppy.testing.storage.case import add, create, each, failures, race
from tests.real.postgresql import PostgreSQL
from tests.unit.storage.conftest import make_storage

pytestmark = [pytest.mark.real, pytest.mark.nightly]

TABLES = ", ".join(schema.METADATA.tables)
FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as server:
        admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        server.admin = admin
        storage = make_storage(server.url)
        storage.sync()
        storage.close()
        yield server
        admin.dispose()


@pytest.fixture
def url(server):
    """The URL of the database, which is emptied first."""
    with server.admin.connect() as conn:
        conn.exec_driver_sql(f"TRUNCATE {TABLES}")
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
    return server.url.replace("/postgres?", "/poppy_new?")


class TestContract(StorageContract):
    @pytest.fixture
    def storage(self, url):
        driver = make_storage(url)
        yield driver
        driver.close()

    @pytest.fixture
    def connect_again(self, url):
        return lambda: make_storage(url)


class TestPostgreSQL:
    def test_concurrent_syncs_of_an_empty_database(self, new_database):
        start = FORK.Barrier(4)

        def sync():
            storage = make_storage(new_database)
            storage.is_alive()
            start.wait(timeout=10)
            storage.sync()
            storage.check()
            storage.close()

        processes = [FORK.Process(target=sync) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=30)
        assert [process.exitcode for process in processes] == [0] * 4

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
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        assert storage.flavors.list() == [make_flavor()]

    def test_unreachable_server_is_unavailable(self, tmp_path):
        storage = make_storage(f"postgresql+psycopg2://poppy@/postgres?host={tmp_path}")
        with pytest.raises(errors.Unavailable):
            storage.flavors.list()
        with pytest.raises(errors.Unavailable):
            storage.flavors.create(make_flavor())
        assert storage.is_alive() is False
        storage.close()

    def test_parent_and_forked_child_can_read_at_once(self, storage):
        storage.flavors.create(make_flavor())
        storage.flavors.list()

        def read():
            for _ in range(50):
                assert storage.flavors.list() == [make_flavor()]

        child = FORK.Process(target=read)
        child.start()
        read()
        child.join(timeout=30)
        assert child.exitcode == 0
        read()

    @pytest.mark.parametrize("level", ["repeatable read", "serializable"])
    def test_limit_holds_under_any_default_isolation_level(self, url, level):
        connect = each_with_isolation(url, level)
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


def each_with_isolation(url, level):
    options = level.replace(" ", "\\ ")
    parsed = sa.make_url(url).update_query_dict(
        {"options": f"-c default_transaction_isolation={options}"}
    )
    return lambda: make_storage(parsed.render_as_string(hide_password=False))
