# SPDX-License-Identifier: Apache-2.0
"""The SQL job board on SQLite."""

import datetime
import threading
import time
import unittest

import pytest
import sqlalchemy as sa
from taskflow import exceptions as excp
from taskflow.jobs import backends
from taskflow.jobs.base import JobPriority

from poppy.common import sql
from poppy.distributed_task.board import sql as board_module
from poppy.distributed_task.board.sql import SQLJobBoard
from tests.unit.distributed_task.board import boards
from tests.unit.distributed_task.board.boards import eventually, open_board

LEASE = 0.9


class TestContract(boards.BoardContract, unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _use(self, connection):
        self.connection = connection


# Configuration


def test_taskflow_finds_the_board_by_name(connection):
    conf = {"board": "poppy_sql", "connection": connection, "lease": "3", "path": "a"}
    assert isinstance(backends.fetch("test", conf), SQLJobBoard)


def test_a_missing_connection_is_reported():
    with pytest.raises(ValueError, match="'test' has no 'connection'"):
        SQLJobBoard("test", {})


@pytest.mark.parametrize("key", ["lease", "poll_interval"])
@pytest.mark.parametrize("value", [0, -1, "nan"])
def test_an_invalid_number_of_seconds_is_reported(key, value):
    with pytest.raises(ValueError, match=key):
        SQLJobBoard("test", {"connection": "sqlite://", key: value})


def test_a_missing_directory_is_reported(tmp_path):
    board = SQLJobBoard("test", {"connection": f"sqlite:///{tmp_path}/none/board.db"})
    with pytest.raises(ValueError, match=f"{tmp_path}/none of the SQLite database"):
        board.connect()
    assert not board.connected


def test_threads_can_share_a_board_in_memory():
    with open_board("sqlite://", lease=0.05) as board:
        threads = [
            threading.Thread(target=lambda: [board.post("job") for _ in range(20)])
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for job in board.iterjobs():
            board.claim(job, "worker")
        assert board.job_count == 60


def test_a_board_can_be_connected_twice_and_reconnected(board):
    board.connect()
    board.post("job")
    board.close()
    board.close()
    assert not board.connected
    board.connect()
    assert board.job_count == 1


def test_a_board_connected_before_a_fork_refuses_work_in_the_child(board, monkeypatch):
    monkeypatch.setattr(board_module.os, "getpid", lambda: -1)
    with pytest.raises(excp.JobFailure, match="before this process forked"):
        board.post("job")


# Posting and listing


def test_a_posted_job_is_listed_with_unicode_details_and_dates(board):
    details = {"domain": "münchen.example", "emoji": "🌷", "list": [1, None, {"x": True}]}
    posted = board.post("Ärger", details=details, priority="high")
    (listed,) = board.iterjobs()
    assert (listed.name, listed.details) == ("Ärger", details)
    assert (listed.uuid, listed.sequence) == (posted.uuid, posted.sequence)
    assert listed.priority is posted.priority is JobPriority.HIGH
    assert listed.created_on == posted.created_on == listed.last_modified
    assert abs(datetime.datetime.now(datetime.UTC) - listed.created_on).total_seconds() < 10
    board.claim(listed, "worker")
    assert posted.last_modified > listed.created_on


def test_a_post_is_one_statement(board):
    assert _statements(board, lambda: board.post("job")) == ["INSERT"]


def test_an_unknown_priority_is_refused(board):
    with pytest.raises(ValueError, match="URGENT"):
        board.post("job", priority="URGENT")


def test_details_that_are_not_json_are_refused_as_a_job_failure(board):
    with pytest.raises(excp.JobFailure, match="could not post"):
        board.post("job", details={"x": object()})
    assert board.job_count == 0


def test_jobs_are_listed_by_priority_then_age(board, monkeypatch):
    monkeypatch.setattr(board_module, "_FIRST_PAGE", 3)
    monkeypatch.setattr(board_module, "_PAGE", 2)
    for name, priority in [
        ("4", "NORMAL"), ("5", "NORMAL"), ("7", "VERY_LOW"), ("1", "VERY_HIGH"), ("6", "LOW"),
        ("2", "HIGH"), ("3", "HIGH"),
    ]:  # fmt: skip
        board.post(name, priority=JobPriority.convert(priority))
    assert "".join(job.name for job in board.iterjobs()) == "1234567"
    for job in list(board.iterjobs())[::3]:
        board.claim(job, "worker")
    assert "".join(job.name for job in board.iterjobs(only_unclaimed=True)) == "2356"


@pytest.mark.parametrize("only_unclaimed", [False, True])
def test_a_listing_is_one_query_for_any_number_of_jobs(board, only_unclaimed):
    for number in range(30):
        board.post(str(number))
    found = []
    listing = board.iterjobs(only_unclaimed)
    assert _statements(board, lambda: found.extend(listing)) == ["SELECT"]
    assert len(found) == 30


def test_paths_in_one_database_are_isolated(connection, board):
    with open_board(connection, path="other") as other:
        job = board.post("job")
        assert (board.job_count, other.job_count) == (1, 0)
        assert list(other.iterjobs()) == []
        with pytest.raises(excp.NotFound):
            other.claim(job, "worker")
        board.claim(job, "worker")
        with pytest.raises(excp.NotFound):
            other.consume(job, "worker")
        assert board.find_owner(job) == "worker"


def test_a_post_wakes_a_waiter_in_the_same_process_at_once(connection):
    with open_board(connection, poll_interval=30) as waiter, open_board(connection) as poster:
        threading.Timer(0.3, poster.post, args=("job",)).start()
        begin = time.monotonic()
        assert [job.name for job in waiter.wait(timeout=20)] == ["job"]
        assert 0.2 < time.monotonic() - begin < 5


# Failures


_USES = {
    "post": lambda board, job: board.post("job", details={"password": "hunter2"}),
    "list": lambda board, job: list(board.iterjobs()),
    "list unclaimed": lambda board, job: list(board.iterjobs(only_unclaimed=True)),
    "wait": lambda board, job: board.wait(timeout=1),
    "count": lambda board, job: board.job_count,
    "claim": lambda board, job: board.claim(job, "worker"),
    "consume": lambda board, job: board.consume(job, "worker"),
    "owner": lambda board, job: board.find_owner(job),
    "state": lambda board, job: job.state,
}


@pytest.mark.parametrize("use", _USES)
def test_a_database_error_is_a_job_failure_with_its_cause(board, use):
    job = board.post("job")
    with sql.write(board._database.engine) as conn:
        conn.exec_driver_sql("DROP TABLE poppy_jobs")
    with pytest.raises(excp.JobFailure, match="could not") as caught:
        _USES[use](board, job)
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)
    assert caught.value.cause is caught.value.__cause__
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("use", _USES)
def test_a_closed_board_raises_job_failure(board, use):
    job = board.post("job")
    board.close()
    with pytest.raises(excp.JobFailure, match="not connected"):
        _USES[use](board, job)


def test_connecting_to_an_invalid_database_file_is_a_job_failure(tmp_path):
    (tmp_path / "board.db").write_text("This is not a database. " * 100)
    board = SQLJobBoard("test", {"connection": f"sqlite:///{tmp_path}/board.db"})
    with pytest.raises(excp.JobFailure, match="could not connect"):
        board.connect()
    assert not board.connected


def test_a_failed_consume_stops_renewals_and_can_be_retried(connection, monkeypatch):
    monkeypatch.setattr(sql, "BUSY_TIMEOUT", 0.1)
    with open_board(connection, lease=LEASE) as board:
        job = board.post("job")
        board.claim(job, "worker")
        with sql.write(board._database.engine), pytest.raises(excp.JobFailure, match="locked"):
            board.consume(job, "worker")
        eventually(lambda: job.state == "UNCLAIMED")
        board.consume(job, "worker")
        assert job.state == "COMPLETE"


def test_the_heartbeat_survives_a_database_outage(connection, monkeypatch, caplog):
    monkeypatch.setattr(sql, "BUSY_TIMEOUT", 0.05)
    with open_board(connection, lease=LEASE) as board:
        job = board.post("job")
        board.claim(job, "worker")
        with sql.write(board._database.engine):
            eventually(lambda: "could not renew its claims" in caplog.text)
        eventually(lambda: job.state == "CLAIMED")
        time.sleep(LEASE * 1.5)
        assert job.state == "CLAIMED"


def test_a_write_is_repeated_after_a_deadlock(board):
    deadlocks = [sa.exc.OperationalError("INSERT", {}, Exception(1213, "Deadlock found"))]

    def fail_once(_conn, _cursor, statement, *_rest):
        if statement.startswith("INSERT") and deadlocks:
            raise deadlocks.pop()

    sa.event.listen(board._database.engine, "before_cursor_execute", fail_once)
    board.post("job")
    assert (board.job_count, deadlocks) == (1, [])


def test_connecting_to_an_unreachable_server_is_a_job_failure():
    board = SQLJobBoard("test", {"connection": "postgresql+psycopg2://nobody@127.0.0.1:9/none"})
    with pytest.raises(excp.JobFailure, match="could not connect"):
        board.connect()


def _statements(board, action):
    """Return the first word of each statement of an action, except BEGIN."""
    seen = []
    board._heartbeat.stop()
    sa.event.listen(
        board._database.engine,
        "before_cursor_execute",
        lambda conn, cursor, statement, *rest: seen.append(statement.split()[0]),
    )
    action()
    return [word for word in seen if word != "BEGIN"]
