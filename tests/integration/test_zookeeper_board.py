# SPDX-License-Identifier: Apache-2.0
"""The ZooKeeper board, alone and with a whole Poppy."""
# ruff: noqa: F811

import functools
import gc
import threading
import time

import pytest
import taskflow.exceptions
from kazoo import exceptions as kazoo_exceptions
from kazoo.client import KazooClient
from taskflow.jobs.backends import impl_zookeeper

from poppy.common import errors
from poppy.distributed_task.board.zookeeper import ZooKeeperPoster
from poppy.distributed_task.board.zookeeper_client import Settings
from poppy.distributed_task.board.zookeeper_worker import ZooKeeperJobBoard
from poppy.model.services import Status
from poppy.testing.board import BoardContract, eventually, names
from poppy.testing.board_outages import OutageContract
from tests.functional.harness import PROJECT, Harness
from tests.real.fixtures import chroot, zookeeper  # noqa: F401
from tests.real.poppy import Installation, kill, wait
from tests.real.zookeeper import ZooKeeper

pytestmark = pytest.mark.real

SESSION = 2.0


def make(settings, name, path):
    return ZooKeeperJobBoard(name, f"/taskflow/jobs/{path}", settings)


@pytest.fixture(scope="module")
def own_server():
    """A server for this module alone, so that tests can stop and wipe it."""
    with ZooKeeper() as server:
        yield server


class TestContract(BoardContract):
    LEASE = SESSION

    @pytest.fixture
    def factory(self, zookeeper):
        return functools.partial(make, Settings(zookeeper.hosts, session_timeout=self.LEASE))


class TestOutages(OutageContract):
    LEASE = SESSION

    @pytest.fixture(autouse=True)
    def _use(self, own_server):
        self.server = own_server

    @pytest.fixture
    def factory(self, own_server):
        return functools.partial(make, Settings(own_server.hosts, session_timeout=self.LEASE))

    def stop(self):
        self.server.stop()

    def start(self):
        self.server.start()

    def wipe(self):
        self.server.wipe()

    def test_board_recovers_from_a_hang_beyond_the_session(self, board):
        board.post("job", details={})
        (job,) = board.iterjobs(only_unclaimed=True)
        board.claim(job, "worker")
        self.server.pause()
        try:
            for _ in range(2):
                begin = time.monotonic()
                with pytest.raises(taskflow.exceptions.JobFailure):
                    board.abandon(job, "worker")
                assert time.monotonic() - begin < 3
            time.sleep(self.LEASE)
        finally:
            self.server.resume()
        eventually(lambda: names(board) == ["job"])
        eventually(lambda: board.claim(next(board.iterjobs(only_unclaimed=True)), "w") is None)

    def test_claim_with_a_lost_answer_is_released(self, board):
        board.post("job", details={})
        (job,) = board.iterjobs(only_unclaimed=True)
        self.server.pause()
        try:
            with pytest.raises(taskflow.exceptions.JobFailure):
                board.claim(job, "worker")
        finally:
            self.server.resume()
        eventually(lambda: names(board) == ["job"])
        board.claim(job, "worker")

    def test_refused_consume_leaves_the_job_unclaimed(self, boards, factory):
        patient = boards("worker")
        patient.post("job", details={})
        (job,) = patient.iterjobs(only_unclaimed=True)
        patient.claim(job, "worker")
        with pytest.raises(taskflow.exceptions.JobFailure):
            patient.consume(job, "somebody else")
        assert names(patient) == ["job"], "it does not keep what it could not end"

    def test_consume_is_refused_after_the_session_was_lost(self, boards, factory):
        first, second = boards("first"), boards("second")
        first.post("job", details={})
        (job,) = first.iterjobs(only_unclaimed=True)
        first.claim(job, "first")
        session = first._client.session
        twin = KazooClient(self.server.hosts, client_id=first._client.client_id)
        twin.start()
        twin.stop()
        twin.close()
        eventually(lambda: first._client.session not in (None, session))
        eventually(lambda: names(second) == ["job"])
        (same,) = second.iterjobs(only_unclaimed=True)
        second.claim(same, "second")
        with pytest.raises(taskflow.exceptions.JobFailure, match="not owned"):
            first.consume(job, "first")
        assert second.find_owner(same) == "second"

    def test_removed_path_of_a_board_is_created_again(self, board):
        board.post("old", details={})
        board._client.delete(board.path, recursive=True)
        board.post("new", details={})
        eventually(lambda: names(board) == ["new"])


def test_jobs_are_compatible_with_taskflows_own_board(zookeeper, chroot):
    path = f"/taskflow/jobs{chroot}"
    theirs = impl_zookeeper.ZookeeperJobBoard("theirs", {"hosts": zookeeper.hosts, "path": path})
    theirs.connect()
    ours = ZooKeeperJobBoard("ours", path, Settings(zookeeper.hosts))
    ours.connect()
    poster = ZooKeeperPoster(path, Settings(zookeeper.hosts))
    try:
        poster.post("job", details={"who": "ü"})
        (job,) = theirs.wait(5)
        assert (job.name, job.details, job.state) == ("job", {"who": "ü"}, "UNCLAIMED")
        theirs.claim(job, "them")
        eventually(lambda: ours.job_count == 1 and not names(ours))
        assert ours.find_owner(next(ours.iterjobs())) == "them"
        theirs.post("back", details={"a": 1})
        eventually(lambda: names(ours) == ["back"])
    finally:
        for board in (poster, ours, theirs):
            board.close()


def test_node_that_is_no_job_is_ignored(zookeeper, chroot):
    board = ZooKeeperJobBoard("ours", f"/taskflow/jobs{chroot}", Settings(zookeeper.hosts))
    board.connect()
    try:
        board._client.create(f"{board.path}/job", b"junk", sequence=True)
        board.post("job", details={})
        eventually(lambda: names(board) == ["job"])
    finally:
        board.close()


def test_board_requires_the_password(zookeeper, chroot):
    path = f"{chroot}/board"
    ours = ZooKeeperJobBoard("ours", path, Settings(zookeeper.hosts, auth="poppy:s3cret:x"))
    ours.connect()
    ours.post("job", details={})
    other = KazooClient(zookeeper.hosts)
    other.start()
    try:
        (name,) = ours._client.get_children(path)
        for call in (
            lambda: other.get_children(path),
            lambda: other.get(f"{path}/{name}"),
            lambda: other.create(f"{path}/job", b"", sequence=True),
            lambda: other.delete(f"{path}/{name}"),
        ):
            with pytest.raises(kazoo_exceptions.NoAuthError):
                call()
        (job,) = ours.iterjobs(only_unclaimed=True)
        ours.claim(job, "worker")
        with pytest.raises(kazoo_exceptions.NoAuthError):
            other.get(job.lock_path)
        stranger = ZooKeeperJobBoard("x", path, Settings(zookeeper.hosts, auth="poppy:wrong"))
        with pytest.raises(taskflow.exceptions.JobFailure, match="NoAuth"):
            stranger.connect()
        stranger.close()
        ours.consume(job, "worker")
    finally:
        other.stop()
        other.close()
        ours.close()


# Kazoo leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_tls_verifies_the_certificate():
    with ZooKeeper(tls=True) as server:
        good = Settings(server.hosts, use_ssl=True, ca_file=str(server.ca_file))
        board = ZooKeeperJobBoard("tls", "/board", good)
        board.connect()
        board.post("job", details={"who": "ü"})
        assert names(board) == ["job"]
        board.close()
        unknown = ZooKeeperPoster("/board", Settings(server.hosts, use_ssl=True, timeout=1))
        unknown.connect()
        with pytest.raises(taskflow.exceptions.JobFailure):
            unknown.post("job", details={})
        unknown.close()
        gc.collect()


def harness(directory, hosts, **options):
    return Harness(
        directory,
        **{
            "jobboard_backend_type": "zookeeper",
            "jobboard_backend_host": hosts,
            "jobboard_session_timeout": SESSION,
            **options,
        },
    )


@pytest.fixture
def poppy(tmp_path, zookeeper, chroot):
    made = harness(tmp_path, zookeeper.hosts, jobboard_path=chroot)
    yield made
    made.close()


@pytest.fixture
def own(tmp_path, own_server, chroot):
    """A ZooKeeper that tests can stop, and a Poppy on it."""
    made = harness(tmp_path, own_server.hosts, redelivery=2, jobboard_path=chroot)
    yield own_server, made
    made.close()


def test_service_is_created_updated_and_deleted(poppy):
    with poppy.working():
        service_id = poppy.create(flavor_id="both")
        assert poppy.settle(service_id).status is Status.DEPLOYED
        patch = [{"op": "replace", "path": "/name", "value": "another"}]
        poppy.services.update(PROJECT, service_id, patch, None)
        assert poppy.settle(service_id).spec.name == "another"
        poppy.services.delete(PROJECT, service_id, None)
        assert poppy.settle(service_id) is None
        board = poppy.boot.distributed_task._poster()
        poppy.wait(lambda: board.job_count == 0)


def test_posting_leaves_no_watches(own, own_server):
    _, poppy = own
    poppy.create()
    client = poppy.boot.distributed_task._poster()._client
    assert client._child_watchers == client._data_watchers == {}
    (line,) = client.command(b"wchs").splitlines()[-1:]
    assert line == "Total watches:0"
    assert poppy.boot.distributed_task.is_alive()


def test_operations_beyond_the_board_depth_wait_in_storage(tmp_path, poppy):
    poppy.boot.manager.services._default_limit = 100
    poppy.conf.set_override("board_depth", 4, "drivers:distributed_task:taskflow")
    ids = [poppy.create(domain=f"n{number}.example.com") for number in range(20)]
    # One project fills at most half of the board.
    assert poppy.boot.distributed_task._poster().job_count == 2
    with poppy.working():
        for service_id in ids:
            assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["ensure"] * 20


@pytest.mark.parametrize("outage", ["restart", "wipe", "hang"])
def test_server_and_worker_continue_after_an_outage(own, outage):
    server, poppy = own
    with poppy.working():
        poppy.settle(poppy.create(domain="before.example.com"))
        threads = threading.active_count()
        server.pause() if outage == "hang" else server.stop()
        begin = time.monotonic()
        ids = [poppy.create(domain=f"n{number}.example.com") for number in range(5)]
        assert time.monotonic() - begin < 5
        assert not poppy.boot.manager.health.ping()
        assert {poppy.get(service_id).status for service_id in ids} == {Status.CREATE_IN_PROGRESS}
        time.sleep(SESSION * 1.5)
        {"restart": server.start, "wipe": server.wipe, "hang": server.resume}[outage]()
        for service_id in ids:
            assert poppy.settle(service_id).status is Status.DEPLOYED
        assert threading.active_count() <= threads + 10
        poppy.settle(poppy.create(domain="after.example.com"))
    assert poppy.cdn_a.calls == ["ensure"] * 7


def test_session_lost_during_a_run_leaves_no_job_behind(own):
    server, poppy = own
    poppy.cdn_a.script = [lambda: (server.pause(), time.sleep(SESSION * 2), server.resume())]
    with poppy.working():
        service_id = poppy.create()
        assert poppy.settle(service_id).status is Status.DEPLOYED
        poster = poppy.boot.distributed_task._poster()
        eventually(lambda: poster.job_count == 0)
    assert poppy.cdn_a.calls == ["ensure"]


def test_worker_can_be_stopped_while_zookeeper_is_down(own):
    server, poppy = own
    worker = poppy.boot.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    poppy.settle(poppy.create())
    server.stop()
    worker.stop()
    thread.join(timeout=10)
    server.start()
    assert not thread.is_alive()


def test_unreachable_board_raises_unavailable(own):
    server, poppy = own
    assert poppy.boot.distributed_task.has_room(0)
    operation = poppy.operations(poppy.create())[0]
    server.stop()
    with pytest.raises(errors.Unavailable):
        poppy.boot.distributed_task.post(operation)
    assert not poppy.boot.distributed_task.is_alive()
    server.start()


def test_killed_worker_is_replaced_within_the_session_timeout(tmp_path, zookeeper, chroot):
    board = {
        "jobboard_backend_type": "zookeeper",
        "jobboard_backend_host": zookeeper.hosts,
        "jobboard_path": chroot,
        "jobboard_session_timeout": SESSION,
    }
    options = {
        "DEFAULT": {"debug": True},
        "drivers:distributed_task:taskflow": board,
        "drivers:provider:mock": {"latency": 2},
    }
    installation = Installation(tmp_path, options)
    installation.sync()
    with installation.session, installation.daemon("poppy-server"):
        installation.wait_until_up()
        installation.create_flavor()
        with installation.daemon("poppy-worker") as first, installation.daemon("poppy-worker"):
            url = installation.create_service()
            log = installation.directory / "poppy.log"
            wait(lambda: "begins" in log.read_text(), 20)
            kill(first)
            begin = time.monotonic()
            # Either of the two workers may have run it.
            installation.wait_for(url, "deployed")
            assert time.monotonic() - begin < SESSION + 2 + 5
    assert len(list(installation.objects.glob("*.json"))) == 1
