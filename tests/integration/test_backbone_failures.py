# SPDX-License-Identifier: Apache-2.0
"""What clients see, and what happens to their services, while part of the backbone is down."""

import pytest

pytest.importorskip("cassandra")

from tests.real.cassandra import Cassandra
from tests.real.poppy import Installation, kill, wait
from tests.real.zookeeper import ZooKeeper

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def cassandra():
    with Cassandra() as node:
        yield node


@pytest.fixture(scope="module")
def zookeeper():
    with ZooKeeper() as server:
        yield server


@pytest.fixture
def installation(tmp_path, cassandra, zookeeper):
    host, _, port = zookeeper.hosts.partition(":")
    options = {
        "drivers": {"storage": "cassandra"},
        "drivers:storage:cassandra": {
            "cluster": cassandra.host,
            "port": cassandra.port,
            "keyspace": f"k{abs(hash(str(tmp_path)))}",
            "request_timeout": 2,
        },
        "drivers:distributed_task:taskflow": {
            "jobboard_backend_type": "zookeeper",
            "jobboard_backend_host": host,
            "jobboard_backend_port": port,
            "jobboard_path": tmp_path.name,
            "redelivery": 2,
        },
        "drivers:provider:mock": {"latency": 1},
        "DEFAULT": {"debug": True},
    }
    made = Installation(tmp_path, options)
    made.sync()
    with made.session:
        yield made


def test_requests_get_503_while_the_store_is_down(installation, cassandra):
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker"):
        installation.wait_until_up()
        installation.create_flavor()
        url = installation.create_service("a.example.com")
        installation.wait_for(url, "deployed")
        cassandra.stop()
        try:
            for method, path in [("GET", url), ("DELETE", url), ("GET", url + "?again")]:
                answer = installation.session.request(method, path, timeout=30)
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
                assert answer.json()["message"]
            ping = installation.session.get(installation.base + "/v1.0/ping", timeout=30)
            assert ping.status_code == 503
        finally:
            cassandra.start()
        wait(
            lambda: installation.session.get(url, timeout=30).status_code == 200,
            timeout=60,
        )
        other = installation.create_service("b.example.com")
        installation.wait_for(other, "deployed", timeout=60)


def test_killed_worker_is_replaced(installation):
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker") as worker:
        installation.wait_until_up()
        installation.create_flavor()
        url = installation.create_service("c.example.com")
        wait(lambda: "begins" in (installation.directory / "poppy.log").read_text(), 20)
        kill(worker)
        with installation.daemon("poppy-worker"):
            installation.wait_for(url, "deployed", timeout=30)
    assert len(list(installation.objects.glob("*.json"))) == 1
