# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by the tests of the SQL job board on every database."""

import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from oslo_utils import uuidutils
from taskflow import exceptions as excp

from poppy.common import sql
from poppy.distributed_task.board.schema import JOBS
from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.testing.board import in_processes


def _import_taskflows_board_tests() -> Any:
    # TaskFlow's test helpers import the client libraries of etcd and Redis, but its board tests
    # need only one number from them.
    name = "taskflow.tests.utils"
    helpers = types.ModuleType(name)
    helpers.WAIT_TIMEOUT = 300
    missing = name not in sys.modules
    sys.modules.setdefault(name, helpers)
    try:
        from taskflow.tests.unit.jobs import base
    finally:
        if missing:
            del sys.modules[name]
    return base.BoardTestMixin


class BoardContract(_import_taskflows_board_tests()):
    """TaskFlow's own job board tests for a SQL board; to be mixed into a TestCase."""

    client = None
    connection: str

    def setUp(self):
        super().setUp()
        self.client, self.board = self.create_board()

    def create_board(self, persistence=None):
        conf = {"connection": self.connection, "path": uuidutils.generate_uuid()}
        return None, SQLJobBoard("test", conf, persistence=persistence)

    def makeTmpDir(self):
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return directory

    def assertRaisesAttrAccess(self, exc_class, obj, attr_name):
        self.assertRaises(exc_class, getattr, obj, attr_name)


@contextmanager
def open_board(connection: str, **conf: Any) -> Iterator[SQLJobBoard]:
    """Yield a connected board, closed at the end."""
    board = SQLJobBoard("test", {"connection": connection, **conf})
    board.connect()
    try:
        yield board
    finally:
        board.close()


def eventually(check: Callable[[], Any], timeout: float = 60.0) -> None:
    """Wait until ``check`` returns a true value; fail after the timeout."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen in {timeout} seconds")
        time.sleep(0.02)


def claim_all(connection: str) -> list[str]:
    """Try to claim every job in the path "race"; return the ids of the claimed ones."""
    claimed = []
    with open_board(connection, path="race") as board:
        for job in board.iterjobs():
            try:
                board.claim(job, f"process-{os.getpid()}")
            except excp.UnclaimableJob:
                continue
            claimed.append(job.uuid)
            # Simulate some work, because SQLite's lock is not fair to waiting processes.
            time.sleep(0.02)
    return claimed


def connect_and_post(connection: str) -> None:
    """Connect, which creates missing tables, and post a job."""
    with open_board(connection) as board:
        board.post("job")


def race(connection: str, processes: int, jobs: int) -> None:
    """Check that each job is claimed by exactly one of several processes."""
    with open_board(connection, path="race") as board:
        posted = [board.post(f"job {number}").uuid for number in range(jobs)]
    claimed = in_processes(processes, claim_all, connection)
    assert sorted(sum(claimed, [])) == sorted(posted)
    assert sum(1 for share in claimed if share) > 1, "only one process had a chance"


def lapse(board: SQLJobBoard) -> None:
    """Expire all leases, as if the heartbeats of their boards had stopped long ago."""
    with sql.write(board._database.engine) as conn:
        conn.execute(sa.update(JOBS).values(lease_expires_at=1.0))
