# SPDX-License-Identifier: Apache-2.0
"""How long an operation waits when its worker was killed in a driver's call.

With the lease and the timeouts that operators get: within the session timeout and five seconds.
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
#: Seconds, the default of ``jobboard_session_timeout``.
SESSION_TIMEOUT = 10.0
#: Seconds from the end of a lease until another worker has begun.
MARGIN = 5.0
#: Seconds more, for tests on a busy machine.
BUSY = 10.0


class SQLBoard:
    """The board beside the store, in one SQLite file."""

    def __init__(self, directory):
        self._file = directory / "poppy.sqlite3"
        self.options = {"claim_lease": 15}

    def wipe(self):
        with contextlib.closing(sqlite3.connect(self._file, timeout=30)) as db, db:
            db.execute("DELETE FROM poppy_jobs")


class ZooKeeperBoard:
    """The board in a ZooKeeper of its own."""

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
    """Poppy with a service whose create is in the provider's call, at one of two workers."""

    def __init__(self, installation, storage, stack):
        self.installation = installation
        self._storage = storage
        self._worker = stack.enter_context(installation.daemon("poppy-worker"))
        self.url = installation.create_service()
        wait(lambda: self.operation(Kind.CREATE).state is State.RUNNING, 60)
        stack.enter_context(installation.daemon("poppy-worker"))
        long_ago = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
        wait(lambda: len(storage.membership.workers(long_ago)) == 2, 60)
        # Long enough to have given signs of life.
        first = self.operation(Kind.CREATE).next_attempt_at
        wait(lambda: self.operation(Kind.CREATE).next_attempt_at > first, 60)

    def operation(self, kind):
        """As it is stored."""
        listed = self._storage.operations.list(PROJECT, self.url.rpartition("/")[2])
        return next(it for it in listed if it.kind is kind)

    def kill(self):
        """Kill the worker that has the service; gives when, and until when its run is held."""
        kill(self._worker)
        killed_at = datetime.datetime.now(datetime.UTC)
        return killed_at, self.operation(Kind.CREATE).next_attempt_at

    def begun(self, kind, attempt):
        """Wait for an attempt; gives when it was begun, as it is stored."""
        wait(lambda: self.operation(kind).attempt >= attempt, 90)
        return self.operation(kind).updated_at


@pytest.fixture
def site(tmp_path, board):
    options = {
        "drivers:provider:mock": {"latency": 20},
        TASKFLOW: {**board.options, "shutdown_grace": 1},
    }
    installation = Installation(tmp_path, options)
    assert installation.manage("db", "sync").returncode == 0
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


def test_a_delete_does_not_wait_long_for_a_worker_that_is_gone(site):
    killed_at, lease = site.kill()
    assert site.installation.session.delete(site.url, timeout=10).status_code == 202
    begun = site.begun(Kind.DELETE, 1)
    assert begun >= lease, "its call might have had its effect until then"
    check_in_time(killed_at, lease, begun)


def test_a_delete_that_was_asked_for_before_its_worker_is_gone_is_as_quick(site):
    assert site.installation.session.delete(site.url, timeout=10).status_code == 202
    killed_at, lease = site.kill()
    check_in_time(killed_at, lease, site.begun(Kind.DELETE, 1))


def test_an_operation_whose_job_is_lost_with_the_board_is_as_quick(site, board):
    killed_at, lease = site.kill()
    board.wipe()
    check_in_time(killed_at, lease, site.begun(Kind.CREATE, 2))
    assert site.operation(Kind.CREATE).crashes == 1


def test_a_delete_whose_job_is_lost_with_the_board_is_as_quick(site, board):
    killed_at, lease = site.kill()
    assert site.installation.session.delete(site.url, timeout=10).status_code == 202
    board.wipe()
    check_in_time(killed_at, lease, site.begun(Kind.DELETE, 1))
