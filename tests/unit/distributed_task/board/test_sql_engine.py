# SPDX-License-Identifier: Apache-2.0
"""Database engines of the SQL job board and the SQL storage."""

import os

import pytest
import sqlalchemy as sa

from poppy.common import sql
from poppy.distributed_task.board.schema import JOBS, TRASH

NORMAL, FULL = 1, 2


def test_sqlite_engines_use_wal_and_wait_for_locks(connection):
    engine = sql.make_engine(connection)
    with engine.connect() as conn:
        pragmas = ("journal_mode", "synchronous", "busy_timeout")
        values = [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    engine.dispose()
    assert values == ["wal", FULL, 5000]


def test_the_board_does_not_wait_for_the_disk(board):
    # Storage is authoritative, and lost jobs are redelivered from it.
    with board._database.engine.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == NORMAL


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_and_its_journals_are_not_world_readable(tmp_path, umask):
    path = tmp_path / "new.sqlite3"
    before = os.umask(umask)
    try:
        engine = sql.make_engine(f"sqlite:///{path}")
        with sql.write(engine) as conn:
            conn.exec_driver_sql("CREATE TABLE t (c)")
        made = {it.name: it.stat().st_mode & 0o777 for it in tmp_path.iterdir()}
        engine.dispose()
    finally:
        os.umask(before)
    mode = 0o640 & ~umask
    assert made == {
        "new.sqlite3": mode,
        "new.sqlite3-wal": mode,
        "new.sqlite3-shm": mode,
    }


def test_an_existing_file_keeps_its_mode(tmp_path):
    path = tmp_path / "old.sqlite3"
    path.touch(0o600)
    engine = sql.make_engine(f"sqlite:///{path}")
    with engine.connect():
        pass
    engine.dispose()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_takes_the_lock_first_and_a_read_does_not(connection, monkeypatch, board):
    monkeypatch.setattr(sql, "BUSY_TIMEOUT", 0.05)
    engine = sql.make_engine(connection)
    with sql.write(board._database.engine):
        with engine.connect() as conn:
            assert conn.execute(sa.select(JOBS)).all() == []
        with pytest.raises(sa.exc.OperationalError, match="locked"), sql.write(engine):
            pass
    engine.dispose()


def test_an_exception_rolls_back_a_write(board):
    with pytest.raises(ZeroDivisionError), sql.write(board._database.engine) as conn:
        conn.execute(sa.insert(TRASH).values(_trash_row()))
        raise ZeroDivisionError
    with board._database.engine.connect() as conn:
        assert conn.execute(sa.select(TRASH)).all() == []


def _trash_row():
    return {
        "sequence": 1, "path": "p", "uuid": "u", "name": "n", "priority": 2, "details": {},
        "created_on": 1.0, "last_modified": 1.0, "trashed_by": "w", "trashed_on": 1.0,
    }  # fmt: skip
