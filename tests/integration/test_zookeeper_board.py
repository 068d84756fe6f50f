# SPDX-License-Identifier: Apache-2.0
"""A whole Poppy on a ZooKeeper job board."""
# ruff: noqa: F811

import time

import pytest

from poppy.common import errors
from poppy.distributed_task.board.zookeeper import ZooKeeperPoster
from poppy.model.services import Status
from tests.functional.harness import PROJECT, Harness
from tests.real.fixtures import chroot, zookeeper  # noqa: F401
from tests.real.zookeeper import ZooKeeper

pytestmark = pytest.mark.real


def harness(directory, hosts, **options):
    host, _, port = hosts.partition(":")
    return Harness(
        directory,
        jobboard_backend_type="zookeeper",
        jobboard_backend_host=host,
        jobboard_backend_port=port,
        **options,
    )


@pytest.fixture
def poppy(tmp_path, zookeeper, chroot):
    made = harness(tmp_path, zookeeper.hosts, jobboard_path=chroot.strip("/"))
    yield made
    made.close()


@pytest.fixture
def own(tmp_path):
    """A ZooKeeper to be stopped, and a Poppy on it."""
    with ZooKeeper() as server:
        made = harness(tmp_path, server.hosts, redelivery=2)
        yield server, made
        made.close()


def test_a_service_is_created_changed_purged_and_deleted(poppy):
    with poppy.working():
        service_id = poppy.create(flavor_id="both")
        assert poppy.settle(service_id).status is Status.DEPLOYED
        patch = [{"op": "replace", "path": "/name", "value": "another"}]
        poppy.services.update(PROJECT, service_id, patch, None)
        assert poppy.settle(service_id).spec.name == "another"
        poppy.services.delete(PROJECT, service_id, None)
        assert poppy.settle(service_id) is None
    board = poppy.boot.distributed_task._poster()
    assert board.job_count == 0


def test_posting_keeps_no_watch(poppy):
    poppy.create()
    client = poppy.boot.distributed_task._poster()._client
    assert client._child_watchers == {}
    assert client._data_watchers == {}
    assert poppy.boot.distributed_task.is_alive()


def test_without_zookeeper_requests_are_accepted_at_once_and_done_when_it_is_back(own):
    server, poppy = own
    with poppy.working():
        poppy.settle(poppy.create(domain="before.example.com"))
        server.stop()
        begin = time.monotonic()
        ids = [poppy.create(domain=f"n{number}.example.com") for number in range(5)]
        assert time.monotonic() - begin < 5
        assert not poppy.boot.manager.health.ping()
        assert {poppy.get(service_id).status for service_id in ids} == {Status.CREATE_IN_PROGRESS}
        server.start()
        for service_id in ids:
            assert poppy.settle(service_id).status is Status.DEPLOYED
    assert poppy.cdn_a.calls == ["ensure"] * 6


def test_a_poster_without_zookeeper_waits_once_and_recovers():
    with ZooKeeper() as server:
        server.stop()
        poster = ZooKeeperPoster(server.hosts, "/taskflow/jobs/test", timeout=0.5)
        poster.connect()
        try:
            begin = time.monotonic()
            for _ in range(20):
                with pytest.raises(Exception, match="does not answer"):
                    poster.post("x", {})
            assert time.monotonic() - begin < 2
            server.start()
            deadline = time.monotonic() + 20
            while not poster.connected and time.monotonic() < deadline:
                time.sleep(0.05)
            poster.post("x", {"who": "ü"})
            assert poster.job_count == 1
        finally:
            poster.close()


def test_what_was_on_a_board_that_was_wiped_is_found_in_storage(tmp_path):
    with ZooKeeper() as server:
        before = harness(tmp_path, server.hosts, redelivery=1)
        service_id = before.create()
        before.close()
        server.stop()
        server.wipe()
        server.start()
        after = Harness.__new__(Harness)
        after.__dict__.update(before.__dict__)
        with after.working():
            assert after.settle(service_id).status is Status.DEPLOYED
        after.close()


def test_the_error_of_a_board_that_is_away_is_unavailable(own):
    server, poppy = own
    assert poppy.boot.distributed_task.has_room()
    key = poppy.operations(poppy.create())[0].key
    server.stop()
    with pytest.raises(errors.Unavailable):
        poppy.boot.distributed_task.post(key)
    assert not poppy.boot.distributed_task.is_alive()
