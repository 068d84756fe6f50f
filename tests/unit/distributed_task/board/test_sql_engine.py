# SPDX-License-Identifier: Apache-2.0
"""The engines that the SQL job board and others work with."""

import pytest
import sqlalchemy as sa

from poppy.common import sql
from poppy.distributed_task.board.schema import JOBS, TRASH


def test_sqlite_engines_use_wal_and_wait_for_locks(connection):
    engine = sql.make_engine(connection)
    with engine.connect() as conn:
        pragmas = ("journal_mode", "synchronous", "busy_timeout")
        values = [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    engine.dispose()
    assert values == ["wal", 1, 5000]


def test_a_write_begins_by_taking_the_lock_and_a_read_does_not(connection, monkeypatch, board):
    monkeypatch.setattr(sql, "BUSY_TIMEOUT", 0.05)
    engine = sql.make_engine(connection)
    with sql.write(board._engine):
        with engine.connect() as conn:
            assert conn.execute(sa.select(JOBS)).all() == []
        with pytest.raises(sa.exc.OperationalError, match="locked"), sql.write(engine):
            pass
    engine.dispose()


def test_an_exception_rolls_a_write_back(board):
    with pytest.raises(ZeroDivisionError), sql.write(board._engine) as conn:
        conn.execute(sa.insert(TRASH).values(_trash_row()))
        raise ZeroDivisionError
    with board._engine.connect() as conn:
        assert conn.execute(sa.select(TRASH)).all() == []


def _trash_row():
    return {
        "sequence": 1, "path": "p", "uuid": "u", "name": "n", "priority": 2, "details": {},
        "created_on": 1.0, "last_modified": 1.0, "trashed_by": "w", "trashed_on": 1.0,
    }  # fmt: skip
