# SPDX-License-Identifier: Apache-2.0
"""Claims, leases and the heartbeat of the SQL job board on SQLite."""

import time
import types

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, oracle, postgresql
from taskflow import exceptions as excp

from poppy.common import sql
from poppy.distributed_task.board.schema import JOBS, TRASH, now
from tests.unit.distributed_task.board.boards import eventually, lapse, open_board

LEASE = 0.9


@pytest.mark.parametrize(
    ("dialect", "clock"),
    [(postgresql.dialect(), "clock_timestamp()"), (mysql.dialect(), "UTC_TIMESTAMP(6)")],
)
def test_leases_use_the_clock_of_the_server(dialect, clock):
    engine = types.SimpleNamespace(dialect=dialect)
    assert clock in str(now(engine).compile(dialect=dialect))


def test_leases_on_sqlite_use_the_clock_of_the_host(board):
    with board._database.engine.connect() as conn:
        assert abs(conn.execute(sa.select(now(board._database.engine))).scalar() - time.time()) < 5


def test_a_database_without_a_known_clock_is_refused():
    with pytest.raises(ValueError, match="oracle"):
        now(types.SimpleNamespace(dialect=oracle.dialect()))


def test_a_claimed_job_cannot_be_claimed_again(board):
    job = board.post("job")
    board.claim(job, "worker")
    for who in ("worker", "other"):
        with pytest.raises(excp.UnclaimableJob, match="claimed by worker"):
            board.claim(job, who)
    assert (board.find_owner(job), job.state) == ("worker", "CLAIMED")


@pytest.mark.parametrize("action", ["claim", "consume", "abandon", "trash"])
def test_actions_require_a_worker_name(board, action):
    job = board.post("job")
    with pytest.raises(ValueError, match="name"):
        getattr(board, action)(job, "")
    with pytest.raises(TypeError, match="name"):
        getattr(board, action)(job, None)


@pytest.mark.parametrize("action", ["consume", "abandon", "trash"])
def test_only_the_holder_can_end_a_claim(connection, board, action):
    job = board.post("job")
    with pytest.raises(excp.NotFound, match="no owner"):
        getattr(board, action)(job, "worker")
    board.claim(job, "worker")
    with pytest.raises(excp.JobFailure, match="that of worker"):
        getattr(board, action)(job, "other")
    with open_board(connection) as other_board:
        (job_elsewhere,) = other_board.iterjobs()
        with pytest.raises(excp.JobFailure, match="made elsewhere"):
            getattr(other_board, action)(job_elsewhere, "worker")
    assert board.find_owner(job) == "worker"
    getattr(board, action)(job, "worker")
    with pytest.raises(excp.NotFound):
        getattr(board, action)(job, "worker")


def test_a_claim_can_be_ended_with_another_object_of_the_job(board):
    posted = board.post("job")
    (listed,) = board.iterjobs()
    board.claim(listed, "worker")
    board.consume(posted, "worker")
    assert listed.state == "COMPLETE"


def test_a_refused_consume_does_not_stop_renewals(connection):
    with open_board(connection, lease=LEASE) as board:
        job = board.post("job")
        board.claim(job, "worker")
        with pytest.raises(excp.JobFailure):
            board.consume(job, "other")
        time.sleep(LEASE * 1.5)
        assert board.find_owner(job) == "worker"


def test_a_trashed_job_leaves_the_board_and_is_kept_for_review(board):
    job = board.post("job", details={"broken": "ü"})
    board.claim(job, "worker")
    board.trash(job, "worker")
    assert (board.job_count, job.state) == (0, "COMPLETE")
    with board._database.engine.connect() as conn:
        row = conn.execute(sa.select(TRASH)).mappings().one()
    assert (row["uuid"], row["details"], row["trashed_by"]) == (
        job.uuid,
        {"broken": "ü"},
        "worker",
    )


def test_the_heartbeat_renews_the_lease(connection, board):
    with open_board(connection, lease=LEASE) as holder:
        job = holder.post("job")
        holder.claim(job, "worker")
        time.sleep(LEASE * 3)
        with pytest.raises(excp.UnclaimableJob):
            board.claim(job, "other")
        holder.consume(job, "worker")


def test_a_job_with_an_expired_lease_is_unclaimed(connection, board):
    job = board.post("job")
    board.claim(job, "worker")
    lapse(board)
    with open_board(connection) as other:
        (seen,) = other.iterjobs(only_unclaimed=True)
        assert (seen.state, other.find_owner(seen)) == ("UNCLAIMED", None)


@pytest.mark.parametrize("action", ["consume", "abandon", "trash"])
@pytest.mark.parametrize("taker", ["worker", "other"])
def test_the_previous_holder_cannot_end_a_claim_after_a_takeover(connection, board, action, taker):
    job = board.post("job")
    board.claim(job, "worker")
    lapse(board)
    with open_board(connection) as second:
        (seen,) = second.iterjobs()
        second.claim(seen, taker)
        with pytest.raises(excp.JobFailure, match=f"that of {taker}"):
            getattr(board, action)(job, "worker")
        assert second.find_owner(seen) == taker
        second.consume(seen, taker)


def test_the_heartbeat_drops_a_lost_claim_with_a_warning(connection, board, caplog):
    with open_board(connection, lease=LEASE) as first:
        lost, kept = first.post("lost"), first.post("kept")
        first.claim(lost, "worker")
        first.claim(kept, "worker")
        with sql.write(first._database.engine) as conn:
            conn.execute(
                sa.update(JOBS).where(JOBS.c.uuid == lost.uuid).values(lease_expires_at=1.0)
            )
            # Like `board.claim`, but in this transaction, so that no heartbeat interferes.
            conn.execute(
                sa.update(JOBS)
                .where(JOBS.c.uuid == lost.uuid)
                .values(owner="other", claim_token="x", lease_expires_at=time.time() + 60)
            )
        eventually(lambda: f"lost its claim of job {lost.uuid}" in caplog.text)
        time.sleep(LEASE)
        assert (board.find_owner(lost), board.find_owner(kept)) == ("other", "worker")
    assert caplog.text.count("has lost its claim") == 1


def test_an_expired_claim_can_be_renewed_or_ended_by_its_holder(connection, board):
    with open_board(connection, lease=LEASE) as holder:
        job = holder.post("job")
        holder.claim(job, "worker")
        lapse(holder)
        eventually(lambda: board.find_owner(job) == "worker")
    second = board.post("second")
    board.claim(second, "worker")
    lapse(board)
    with pytest.raises(excp.UnclaimableJob, match="still being worked on by this board"):
        board.claim(second, "worker")
    board.consume(second, "worker")
    assert second.state == "COMPLETE"


def test_a_claim_made_again_during_a_renewal_is_not_lost(board, caplog):
    """The renewal finds the job free, and by the time it ends the board has claimed it again."""
    job = board.post("job")
    board.claim(job, "worker")
    renew = board._heartbeat._renew

    def interrupted(jobs):
        board.abandon(job, "worker")
        held = renew(jobs)
        board.claim(job, "worker")
        return held

    board._heartbeat._renew = interrupted
    board._heartbeat._beat()
    assert board._heartbeat.holds(job.uuid)
    assert "has lost its claim" not in caplog.text
