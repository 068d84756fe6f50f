# SPDX-License-Identifier: Apache-2.0
"""Expected faults in the log."""

import errno
import io
import logging
import sqlite3

import kazoo.exceptions
import pytest
import sqlalchemy as sa
import sqlalchemy.exc
import taskflow.exceptions

from poppy.common import errors, faults

EXPECTED = [
    errors.Unavailable("the database does not answer"),
    errors.Fenced("it is another run's"),
    errors.Superseded("a delete overtook it"),
    errors.RetryableError("busy"),
    taskflow.exceptions.JobFailure("the claim is lost"),
    taskflow.exceptions.NotFound("it has no owner"),
    taskflow.exceptions.UnclaimableJob("another was quicker"),
    kazoo.exceptions.NoNodeError(),
    kazoo.exceptions.SessionExpiredError(),
    kazoo.exceptions.ConnectionLoss(),
    sqlite3.OperationalError("database or disk is full"),
    sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error")),
    OSError(errno.ENOSPC, "No space left on device"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    TimeoutError("timed out"),
]
MISTAKES = [
    ValueError("a mistake"),
    KeyError("name"),
    AttributeError("None has no name"),
    sa.exc.ProgrammingError("SELECT", {}, sqlite3.ProgrammingError("a mistake")),
    sa.exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError("a mistake")),
    FileNotFoundError(errno.ENOENT, "No such file"),
    errors.ConfigError("no such driver"),
]


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def logger(stream):
    made = logging.getLogger("tests.faults")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    faults.keep_short(handler)
    faults.keep_short(handler)
    made.addHandler(handler)
    made.propagate = False
    yield made
    made.removeHandler(handler)


def fail(logger, error):
    try:
        raise error
    except type(error):
        logger.exception("Job %s broke", "j-1")


@pytest.mark.parametrize("error", EXPECTED, ids=lambda it: type(it).__name__)
def test_an_expected_fault_is_logged_in_one_line_at_warning(logger, stream, error):
    fail(logger, error)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith(f"WARNING Job j-1 broke: {type(error).__name__}: ")


@pytest.mark.parametrize("error", MISTAKES, ids=lambda it: type(it).__name__)
def test_an_unexpected_error_keeps_its_traceback(logger, stream, error):
    fail(logger, error)
    assert stream.getvalue().startswith("ERROR Job j-1 broke\n")
    assert "Traceback" in stream.getvalue()


def test_a_multi_line_fault_is_logged_in_one_line(logger, stream):
    fail(logger, errors.Unavailable("no\nroom\n  left"))
    assert stream.getvalue() == "WARNING Job j-1 broke: Unavailable: no room left\n"


def test_a_lower_level_is_kept(logger, stream):
    logger.setLevel(logging.INFO)
    logger.info("it went", exc_info=errors.Unavailable("away"))
    assert stream.getvalue() == "INFO it went: Unavailable: away\n"


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_not_reported_for_each_record(capsys):
    handler = logging.StreamHandler(Full())
    faults.keep_short(handler)
    for _ in range(3):
        handler.handle(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().err == (
        "The log can't be written: [Errno 28] No space left on device\n"
    )


def test_a_wrong_log_call_is_still_reported(capsys):
    handler = logging.StreamHandler(io.StringIO())
    faults.keep_short(handler)
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert "TypeError" in capsys.readouterr().err
