# SPDX-License-Identifier: Apache-2.0
"""Tests of the SQL job board that run on each kind of database server."""

import functools

import pytest
import sqlalchemy as sa

from poppy.distributed_task.board.sql import SQLJobBoard
from poppy.testing import board as contract
from tests.unit.distributed_task.board import boards


class ServerTests:
    """The modules provide the fixture ``connection``, the URL of a database."""

    def test_processes_can_connect_to_an_empty_database_at_once(self, connection):
        contract.in_processes(3, boards.connect_and_post, connection)
        with boards.open_board(connection) as board:
            assert board.job_count == 3

    def test_racing_processes_claim_each_job_once(self, connection):
        boards.race(connection, processes=3, jobs=200)

    def test_writes_do_not_depend_on_the_servers_default_isolation(self, connection):
        with boards.open_board(connection) as board:
            level = board._database.write(sa.Connection.get_isolation_level)
        assert level == "READ COMMITTED"

    def test_lapsed_claim_is_taken_over_and_not_renewed(self, connection):
        with (
            boards.open_board(connection, path="lapse") as first,
            boards.open_board(connection, path="lapse") as second,
        ):
            job = first.post("job", details={"domain": "münchen.example"})
            first.claim(job, "worker")
            boards.lapse(first)
            (seen,) = second.iterjobs(only_unclaimed=True)
            assert seen.details == {"domain": "münchen.example"}
            second.claim(seen, "other")
            first._heartbeat._beat()
            assert not first._heartbeat.holds(job.uuid)
            assert second.find_owner(job) == "other"
            second.trash(seen, "other")
            assert job.state == "COMPLETE"


class PoppyContract(contract.BoardContract):
    LEASE = 1.0

    @pytest.fixture
    def factory(self, connection):
        return functools.partial(make, connection, self.LEASE)


def make(connection, lease, name, path):
    conf = {"connection": connection, "lease": lease, "path": path, "poll_interval": 0.05}
    return SQLJobBoard(name, conf)
