# SPDX-License-Identifier: Apache-2.0
"""SQLite stores for the tests of the SQL driver."""

import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests import databases
from tests.databases import make_storage


@pytest.fixture
def path(tmp_path):
    return databases.create(tmp_path / "poppy.sqlite3")


@pytest.fixture
def storage(path):
    driver = make_storage(f"sqlite:///{path}")
    yield driver
    driver.close()


@pytest.fixture
def empty(tmp_path):
    """A driver whose database file does not exist yet."""
    driver = make_storage(f"sqlite:///{tmp_path}/new.sqlite3")
    yield driver
    driver.close()


@pytest.fixture
def peek(path):
    """A function that runs SQL outside the driver."""

    def run(statement, *parameters):
        connection = sqlite3.connect(path)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    return run


@pytest.fixture
def statements():
    """The statements of all engines in this process, except BEGIN and PRAGMA."""
    seen = []

    def remember(conn, cursor, statement, parameters, context, executemany):
        if not statement.startswith(("BEGIN", "PRAGMA")):
            seen.append((statement, parameters))

    event.listen(sa.Engine, "before_cursor_execute", remember)
    yield seen
    event.remove(sa.Engine, "before_cursor_execute", remember)
