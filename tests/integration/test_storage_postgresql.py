# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver on a real PostgreSQL."""

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
from tests.real.postgresql import PostgreSQL

pytestmark = [pytest.mark.real, pytest.mark.nightly]


@pytest.fixture(scope="module")
def server():
    with synced(PostgreSQL()) as server:
        yield server


@pytest.fixture
def nowhere(tmp_path):
    return f"postgresql+psycopg2://poppy@/postgres?host={tmp_path}"


class TestContract(Contract):
    pass


class TestPostgreSQL(ServerTests):
    def disconnect_all(self, conn):
        conn.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def with_isolation(self, url, level):  # noqa: F811
        options = level.replace(" ", "\\ ")
        return with_query(url, options=f"-c default_transaction_isolation={options}")
