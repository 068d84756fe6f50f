# SPDX-License-Identifier: Apache-2.0
"""How long an operation waits after its worker was killed during a driver's call.

With default leases and timeouts, the limit is the session timeout plus five seconds.
"""

import contextlib
import datetime
import sqlite3

import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config
from poppy.model.operations import Kind, State
from tests.real.poppy import PROJECT, Installation, kill, wait
from tests.real.zookeeper import ZooKeeper

pytestmark = pytest.mark.real

TASKFLOW = "drivers:distributed_task:taskflow"
#: Seconds; the default of ``jobboard_session_timeout``.
SESSION_TIMEOUT = 10.0
#: Seconds from the end of a lease until another worker begins.
MARGIN = 5.0
#: Additional seconds for tests on a busy machine.
BUSY = 10.0


class SQLBoard:
    """The job board next to the store, in one SQLite file."""

    def __init__(self, directory):
        self._file = directory / "poppy.sqlite3"
        self.options = {"claim_lease": 15}

    def wipe(self):
        with contextlib.closing(sqlite3.connect(self._file, timeout=30)) as db, db:
            db.execute("DELETE FROM poppy_jobs")


class ZooKeeperBoard:
    """The job board on its own ZooKeeper."""

    def __init__(self, server):
        self._server = server
        self.options = {
            "jobboard_backend_type": "zookeeper",
            "jobboard_backend_host": server.host,
            "jobboard_backend_port": server.port,
            "jobboard_session_timeout": SESSION_TIMEOUT,
        }

    def wipe(self):
        self._server.wipe()


@pytest.fixture(params=["sql", "zookeeper"])
def board(request, tmp_path):
    if request.param == "sql":
        yield SQLBoard(tmp_path)
    else:
        with ZooKeeper() as server:
            yield ZooKeeperBoard(server)


class Site:
    """A Poppy with two workers, one of which is in the provider's call of a create."""

    def __init__(self, installation, storage, stack):
        self.installation = installation
        self._storage = storage
        self._worker = stack.enter_context(installation.daemon("poppy-worker"))
        self.url = installation.create_service()
        wait(lambda: self.operation(Kind.CREATE).state is State.RUNNING, 60)
        stack.enter_context(installation.daemon("poppy-worker"))
        long_ago = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
        wait(lambda: len(storage.membership.workers(long_ago)) == 2, 60)
        # Wait until the run has renewed its lease.
        first = self.operation(Kind.CREATE).next_attempt_at
        wait(lambda: self.operation(Kind.CREATE).next_attempt_at > first, 60)

    def operation(self, kind):
        """Return the stored operation of a kind."""
        listed = self._storage.operations.list(PROJECT, self.url.rpartition("/")[2])
        return next(it for it in listed if it.kind is kind)

    def kill(self):
        """Kill the worker that has the service; return the time and the end of the run's lease."""
        kill(self._worker)
        killed_at = datetime.datetime.now(datetime.UTC)
        return killed_at, self.operation(Kind.CREATE).next_attempt_at

    def begun(self, kind, attempt):
        """Wait for an attempt; return its stored begin."""
        wait(lambda: self.operation(kind).attempt >= attempt, 90)
        return self.operation(kind).updated_at


@pytest.fixture
def site(tmp_path, board):
    options = {
        "drivers:provider:mock": {"latency": 20},
        TASKFLOW: {**board.options, "shutdown_grace": 1},
    }
    installation = Installation(tmp_path, options)
    installation.sync()
    with contextlib.ExitStack() as stack:
        stack.enter_context(installation.session)
        boot = Bootstrap(config.load([], files=[str(installation.config)]))
        stack.callback(boot.close)
        stack.enter_context(installation.daemon("poppy-server"))
        installation.wait_until_up()
        installation.create_flavor()
        yield Site(installation, boot.storage, stack)


def check_in_time(killed_at, lease, begun):
    assert (lease - killed_at).total_seconds() <= SESSION_TIMEOUT
    assert (begun - lease).total_seconds() <= MARGIN + BUSY


def test_delete_requested_after_the_kill_begins_in_time(site):
    killed_at, lease = site.kill()
    assert site.installation.session.delete(site.url, timeout=10).status_code == 202
    begun = site.begun(Kind.DELETE, 1)
    assert begun >= lease, "its call might have had its effect until then"
    check_in_time(killed_at, lease, begun)


def test_delete_requested_before_the_kill_begins_in_time(site):
    assert site.installation.session.delete(site.url, timeout=10).status_code == 202
    killed_at, lease = site.kill()
    check_in_time(killed_at, lease, site.begun(Kind.DELETE, 1))


def test_operation_with_a_lost_job_begins_in_time(site, board):
    killed_at, lease = site.kill()
    board.wipe()
    check_in_time(killed_at, lease, site.begun(Kind.CREATE, 2))
    assert site.operation(Kind.CREATE).crashes == 1


def test_delete_with_a_lost_job_begins_in_time(site, board):
    killed_at, lease = site.kill()
    assert site.installation.session.delete(site.url, timeout=10).status_code == 202
    board.wipe()
    check_in_time(killed_at, lease, site.begun(Kind.DELETE, 1))
