# SPDX-License-Identifier: Apache-2.0
"""The SQL storage driver on SQLite: the conformance suite and its own tests."""

import datetime
import logging
import os
import sqlite3
import sys

import alembic.autogenerate
import alembic.migration
import alembic.script
import pytest
import sqlalchemy as sa

from poppy.common import errors, sql
from poppy.model.edge import KEPT
from poppy.storage.sqlalchemy import schema
from poppy.storage.sqlalchemy.database import Database
from poppy.storage.sqlalchemy.driver import SQLAlchemyStorage
from poppy.testing.builders import NOW, make_flavor
from poppy.testing.storage import EdgeContract, StorageContract
from tests.databases import make_storage

HOUR = datetime.timedelta(hours=1)


class TestContract(StorageContract, EdgeContract):
    @pytest.fixture
    def storage(self, path):
        driver = make_storage(f"sqlite:///{path}")
        yield driver
        driver.close()

    @pytest.fixture
    def connect_again(self, path):
        return lambda: make_storage(f"sqlite:///{path}")


class TestEvents:
    def test_events_are_deleted_after_a_week(self, path):
        log = make_storage(f"sqlite:///{path}").edge
        for key, at in (("a", NOW), ("a", NOW + HOUR), ("b", NOW + HOUR + KEPT)):
            log.add_event(key, at)
        assert log.events("a", NOW - HOUR) == [NOW + HOUR]


class TestSchema:
    def test_empty_database_gets_its_tables_and_passes_the_check(self, empty):
        empty.sync()
        empty.sync()
        empty.check()
        empty.flavors.create(make_flavor())

    def test_sync_leaves_logging_as_it_was(self, empty):
        before = (logging.getLogger().handlers[:], logging.getLogger("sqlalchemy").disabled)
        empty.sync()
        assert (logging.getLogger().handlers, logging.getLogger("sqlalchemy").disabled) == before

    def test_check_of_a_database_without_tables_says_what_to_run(self, empty):
        with pytest.raises(errors.ConfigError, match="no tables.*poppy-manage db sync"):
            empty.check()

    def test_check_of_an_older_schema_says_what_to_run(self, storage, monkeypatch):
        monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
        monkeypatch.setattr(schema, "HEAD", "9999")
        with pytest.raises(errors.ConfigError, match="older.*poppy-manage db sync"):
            storage.check()

    def test_newer_schema_that_only_adds_is_accepted_and_left_alone(self, storage, peek, caplog):
        peek("UPDATE alembic_version SET version_num = '9999'")
        storage.check()
        assert "newer schema (9999)" in caplog.text
        storage.sync()
        assert peek("SELECT version_num FROM alembic_version") == [("9999",)]
        assert storage.version() == ("9999", schema.HEAD)

    def test_sync_never_lowers_the_oldest_version(self, storage, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(schema, "OLDEST", "9999")
            storage.sync()
        storage.sync()
        assert storage.documents.get("schema").content == {"oldest": "9999"}

    @pytest.mark.parametrize("oldest", ["9998", None])
    def test_newer_schema_is_refused_and_left_alone(self, storage, peek, oldest):
        content = {"oldest": oldest} if oldest else None
        storage.documents.change("schema", lambda _: content)
        peek("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(errors.ConfigError, match="newer schema .9999."):
            storage.check()
        with pytest.raises(errors.ConfigError, match="newer schema .9999."):
            storage.sync()
        assert peek("SELECT version_num FROM alembic_version") == [("9999",)]

    def test_interrupted_sync_leaves_no_tables(self, empty, monkeypatch):
        monkeypatch.setattr(schema, "METADATA", None)
        with monkeypatch.context() as patched:
            patched.setattr(alembic.script.ScriptDirectory, "run_env", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                empty.sync()
        with pytest.raises(errors.ConfigError, match="no tables"):
            empty.check()

    def test_revisions_are_those_of_the_migrations(self):
        scripts = alembic.script.ScriptDirectory(
            os.path.join(os.path.dirname(schema.__file__), "migrations")
        )
        found = [script.revision for script in scripts.walk_revisions()]
        assert tuple(reversed(found)) == schema.REVISIONS
        assert scripts.get_current_head() == schema.HEAD

    def test_migrations_create_the_tables_of_the_code(self, path):
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.connect() as conn:
            context = alembic.migration.MigrationContext.configure(
                conn, opts={"compare_type": True}
            )
            assert alembic.autogenerate.compare_metadata(context, schema.METADATA) == []
        engine.dispose()


class TestDurability:
    NORMAL, FULL = 1, 2

    @pytest.mark.parametrize("option, wanted", [(None, FULL), ("full", FULL), ("normal", NORMAL)])
    def test_every_connection_uses_the_synchronous_option(self, path, option, wanted):
        driver = make_storage(f"sqlite:///{path}", option)
        database = driver._database
        seen = []

        def look(conn):
            seen.append(conn.exec_driver_sql("PRAGMA synchronous").scalar())

        # Two at the same time, so that the pool opens another connection.
        with database.read() as conn, database.read() as other:
            look(conn)
            look(other)
        database.write(look)
        driver.close()
        assert seen == [wanted] * 3


class TestOutages:
    def test_invalid_database_file_is_unavailable(self, tmp_path):
        (tmp_path / "bad.sqlite3").write_bytes(b"not a database" * 1000)
        assert_unavailable(make_storage(f"sqlite:///{tmp_path}/bad.sqlite3"))

    def test_file_that_cannot_be_opened_is_unavailable(self, tmp_path):
        (tmp_path / "directory.sqlite3").mkdir()
        assert_unavailable(make_storage(f"sqlite:///{tmp_path}/directory.sqlite3"))

    def test_locked_database_is_unavailable_only_for_writing(self, path, monkeypatch):
        monkeypatch.setattr(sql, "BUSY_TIMEOUT", 0.1)
        storage = make_storage(f"sqlite:///{path}")
        blocker = sqlite3.connect(path)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.Unavailable) as caught:
            storage.flavors.create(make_flavor())
        assert isinstance(caught.value.__cause__, sa.exc.OperationalError)
        assert storage.flavors.list() == []
        assert storage.is_alive()
        blocker.close()
        storage.flavors.create(make_flavor())
        storage.close()

    def test_message_for_clients_does_not_show_the_statement(self, tmp_path):
        (tmp_path / "directory.sqlite3").mkdir()
        storage = make_storage(f"sqlite:///{tmp_path}/directory.sqlite3")
        with pytest.raises(errors.Unavailable) as caught:
            storage.flavors.list()
        assert str(caught.value) == "The database does not answer"

    @pytest.mark.parametrize(
        "url",
        ["sqlite:////no/such/directory/poppy.sqlite3", "no url at all", "nosuchdb://host/poppy"],
    )
    def test_invalid_url_is_a_configuration_error(self, url):
        storage = make_storage(url)
        with pytest.raises(errors.ConfigError, match="drivers:storage:sqlalchemy. connection"):
            storage.check()
        assert storage.is_alive() is False

    def test_missing_database_driver_is_a_configuration_error(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg2", None)
        storage = make_storage("postgresql+psycopg2://poppy@/poppy")
        with pytest.raises(errors.ConfigError, match="psycopg2"):
            storage.check()

    def test_connection_is_kept_out_of_logs(self):
        (option,) = [opt for opt in SQLAlchemyStorage.OPTS if opt.name == "connection"]
        assert option.secret


class TestTransactions:
    @pytest.fixture
    def database(self, path):
        database = Database(f"sqlite:///{path}", "connection")
        yield database
        database.close()

    @pytest.mark.parametrize(
        "cause",
        [
            type("Deadlock", (Exception,), {"pgcode": "40P01"})(),
            type("SerializationFailure", (Exception,), {"sqlstate": "40001"})(),
            Exception(1213, "Deadlock found when trying to get lock"),
        ],
        ids=["deadlock", "serialization", "mysql"],
    )
    def test_transaction_is_repeated_after_a_conflict(self, database, storage, cause):
        turns = []

        def work(conn):
            turns.append(conn)
            name = f"flavor-{len(turns)}"
            conn.execute(
                sa.insert(schema.FLAVORS),
                {"flavor_id": name, "document": make_flavor(name).to_dict()},
            )
            if len(turns) < 3:
                raise sa.exc.OperationalError("INSERT", {}, cause)
            return "done"

        assert database.write(work) == "done"
        assert storage.flavors.list() == [make_flavor("flavor-3")]

    def test_lasting_conflict_is_an_outage(self, database):
        def work(_conn):
            cause = type("Deadlock", (Exception,), {"pgcode": "40P01"})()
            raise sa.exc.OperationalError("INSERT", {}, cause)

        with pytest.raises(errors.Unavailable):
            database.write(work)

    def test_invalid_statement_is_not_an_outage(self, database):
        with pytest.raises(sa.exc.StatementError, match="TypeError"), database.read() as conn:
            conn.execute(sa.select(schema.OPERATIONS.c.updated_at == NOW.replace(tzinfo=None)))


def assert_unavailable(storage):
    for use in (
        storage.flavors.list,
        storage.check,
        storage.sync,
        lambda: storage.flavors.create(make_flavor()),
    ):
        with pytest.raises(errors.Unavailable):
            use()
    assert storage.is_alive() is False
    storage.close()
