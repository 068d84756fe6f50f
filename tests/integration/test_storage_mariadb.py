# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver on a real MariaDB."""

import pytest
import sqlalchemy as sa

from poppy.storage.sqlalchemy import schema
from poppy.testing.storage import StorageContract
from tests.integration.sql_storage import ServerTests, with_query
from tests.real.mariadb import MariaDB
from tests.unit.storage.conftest import make_storage

pytestmark = [pytest.mark.real, pytest.mark.nightly]


@pytest.fixture(scope="module")
def server():
    with MariaDB() as server:
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
        # Much faster than TRUNCATE, which creates the files anew.
        for table in reversed(schema.METADATA.sorted_tables):
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
    return server.url.replace("/poppy?", "/poppy_new?")


@pytest.fixture
def nowhere():
    return "mysql+pymysql://root@127.0.0.1:1/poppy"


class TestContract(StorageContract):
    @pytest.fixture
    def storage(self, url):
        driver = make_storage(url)
        yield driver
        driver.close()

    @pytest.fixture
    def connect_again(self, url):
        return lambda: make_storage(url)


class TestMariaDB(ServerTests):
    def disconnect_all(self, conn):
        others = "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
        for number in conn.exec_driver_sql(others).scalars().all():
            conn.exec_driver_sql(f"KILL {number}")

    def with_isolation(self, url, level):
        return with_query(url, init_command=f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
