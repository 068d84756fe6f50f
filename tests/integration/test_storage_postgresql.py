# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver on a real PostgreSQL."""

import pytest
import sqlalchemy as sa

from poppy.storage.sqlalchemy import schema
from poppy.testing.storage import StorageContract
from tests.integration.sql_storage import ServerTests, with_query
from tests.real.postgresql import PostgreSQL
from tests.unit.storage.conftest import make_storage

pytestmark = [pytest.mark.real, pytest.mark.nightly]

TABLES = ", ".join(schema.METADATA.tables)


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


@pytest.fixture
def nowhere(tmp_path):
    return f"postgresql+psycopg2://poppy@/postgres?host={tmp_path}"


class TestContract(StorageContract):
    @pytest.fixture
    def storage(self, url):
        driver = make_storage(url)
        yield driver
        driver.close()

    @pytest.fixture
    def connect_again(self, url):
        return lambda: make_storage(url)


class TestPostgreSQL(ServerTests):
    def disconnect_all(self, conn):
        conn.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def with_isolation(self, url, level):
        options = level.replace(" ", "\\ ")
        return with_query(url, options=f"-c default_transaction_isolation={options}")
