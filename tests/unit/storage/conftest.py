# SPDX-License-Identifier: Apache-2.0
"""SQLite stores for the tests of the SQL driver."""

import shutil
import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from poppy.common import config
from poppy.storage.sqlalchemy.driver import SQLAlchemyStorage


def make_storage(url, sqlite_synchronous=None):
    conf = config.new()
    conf([], project="poppy", default_config_files=[])
    group = "drivers:storage:sqlalchemy"
    conf.register_opts(SQLAlchemyStorage.OPTS, group=group)
    conf.set_override("connection", url, group=group)
    if sqlite_synchronous is not None:
        conf.set_override("sqlite_synchronous", sqlite_synchronous, group=group)
    return SQLAlchemyStorage(conf, "sqlalchemy")


@pytest.fixture(scope="session")
def synced_file(tmp_path_factory):
    """A file with the schema, created once because a copy is faster than a migration."""
    path = tmp_path_factory.mktemp("storage") / "template.sqlite3"
    storage = make_storage(f"sqlite:///{path}")
    storage.sync()
    storage.close()
    return path


@pytest.fixture
def path(tmp_path, synced_file):
    return shutil.copy(synced_file, tmp_path / "poppy.sqlite3")


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
