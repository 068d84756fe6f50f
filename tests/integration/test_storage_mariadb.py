# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver on a real MariaDB."""

import pytest

from tests.integration.sql_storage import (  # noqa: F401  fixtures
    Contract,
    ServerTests,
    new_database,
    storage,
    synced,
    url,
    with_query,
)
from tests.real.mariadb import MariaDB

pytestmark = [pytest.mark.real, pytest.mark.nightly]


@pytest.fixture(scope="module")
def server():
    with synced(MariaDB()) as server:
        yield server


@pytest.fixture
def nowhere():
    return "mysql+pymysql://root@127.0.0.1:1/poppy"


class TestContract(Contract):
    pass


class TestMariaDB(ServerTests):
    def disconnect_all(self, conn):
        others = "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
        for number in conn.exec_driver_sql(others).scalars().all():
            conn.exec_driver_sql(f"KILL {number}")

    def with_isolation(self, url, level):  # noqa: F811
        return with_query(url, init_command=f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
