# SPDX-License-Identifier: Apache-2.0
"""The servers that ``tools/lab`` and other tests start."""

# Imported fixtures are also argument names.
# ruff: noqa: F811

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import make_digest_acl

from tests.real.cassandra import Cassandra, CassandraPair
from tests.real.fixtures import (  # noqa: F401
    SharedCassandra,
    SharedZooKeeper,
    cassandra,
    chroot,
    keyspace,
    zookeeper,
)
from tests.real.jars import jars, java
from tests.real.lab import Lab
from tests.real.zookeeper import ZooKeeper

pytestmark = pytest.mark.real

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory. A server that a test leaves running there is stopped."""
    java()
    jars()
    yield tmp_path / "lab"
    Lab(tmp_path / "lab").down("zookeeper")


@pytest.fixture
def lab(state: Path) -> Run:
    """A function that runs the command as ``tools/lab`` does."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.real", "--state", str(state), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    return run


def processes(state: Path) -> list[int]:
    return Lab(state).processes("zookeeper")


def answers(hosts: str) -> bool:
    host, _, port = hosts.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 2):
        return True
    return False


@contextlib.contextmanager
def client(server: ZooKeeper | SharedZooKeeper, **options: object) -> Iterator[KazooClient]:
    connected = KazooClient(server.hosts, timeout=1.0, **options)
    connected.start(timeout=10)
    try:
        yield connected
    finally:
        connected.stop()
        connected.close()


@contextlib.contextmanager
def session(node: Cassandra | SharedCassandra, **options: object) -> Iterator:
    driver = pytest.importorskip("cassandra.cluster")
    policies = pytest.importorskip("cassandra.policies")
    profile = driver.ExecutionProfile(
        policies.DCAwareRoundRobinPolicy(node.datacenter), request_timeout=30
    )
    cluster = driver.Cluster(
        [node.host],
        port=node.port,
        protocol_version=5,
        execution_profiles={driver.EXEC_PROFILE_DEFAULT: profile},
        **options,
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


def make_table(connected, keyspace: str, replication: str) -> None:
    connected.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    connected.execute(f"CREATE TABLE {keyspace}.t (k text PRIMARY KEY, v text)")


#: The driver's number of the consistency level; the driver may not be installed.
ALL = 5
ONE = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


class TestCommand:
    def test_up_status_and_down(self, lab: Run, state: Path) -> None:
        up = lab("up", "zookeeper")
        assert up.returncode == 0, up.stderr
        hosts = up.stdout.partition("hosts: ")[2].splitlines()[0]
        assert answers(hosts)
        assert f"jobboard_backend_host = {hosts.partition(':')[0]}" in up.stdout
        status = lab("status")
        assert "zookeeper    running" in status.stdout
        assert "cassandra    down" in status.stdout
        assert hosts in status.stdout
        down = lab("down")
        assert down.stdout.split() == ["zookeeper", "stopped"]
        assert not answers(hosts)
        assert not processes(state)
        assert "running" not in lab("status").stdout
        assert {path.suffix for path in state.iterdir()} == {".lock"}

    def test_second_up_finds_the_running_server(self, lab: Run) -> None:
        first, second = lab("up", "zookeeper"), lab("up", "zookeeper")
        assert first.stdout.partition("hosts:")[2] == second.stdout.partition("hosts:")[2]

    def test_concurrent_ups_start_one_server(self, state: Path) -> None:
        command = [sys.executable, "-m", "tests.real", "--state", str(state), "up", "zookeeper"]
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = {one.communicate(timeout=120)[0].partition("hosts:")[2] for one in both}
        assert len(said) == 1
        assert said != {""}

    def test_stale_state_does_not_affect_other_processes(self, lab: Run, state: Path) -> None:
        """After a reboot, a recorded process id may belong to another process."""
        with subprocess.Popen(["sleep", "60"]) as stranger:
            state.mkdir()
            record = {"values": {"hosts": "127.0.0.1:1"}, "conf": {}, "pid": stranger.pid}
            (state / "zookeeper.json").write_text(json.dumps(record))
            (state / "zookeeper.directory").write_text(str(state.parent))
            assert "zookeeper    stale" in lab("status").stdout
            assert "127.0.0.1:1" not in lab("status").stdout
            assert lab("up", "zookeeper").returncode == 0
            assert "zookeeper    running" in lab("status").stdout
            lab("down")
            assert stranger.poll() is None
            assert state.parent.is_dir()
            stranger.kill()

    @pytest.mark.parametrize("victim", ["keeper", "server"])
    def test_killed_keeper_or_server_is_cleared_and_restarted(
        self, lab: Run, state: Path, victim: str
    ) -> None:
        lab("up", "zookeeper")
        keeper, server = sorted(processes(state))
        os.kill(keeper if victim == "keeper" else server, signal.SIGKILL)
        assert "zookeeper    stale" in wait_for(lambda: lab("status").stdout, "stale")
        assert lab("up", "zookeeper").returncode == 0
        assert not {keeper, server} & set(processes(state))
        assert len(processes(state)) == 2

    def test_down_cleans_up_after_a_killed_keeper(self, lab: Run, state: Path) -> None:
        lab("up", "zookeeper")
        directory = Path((state / "zookeeper.directory").read_text())
        os.kill(min(processes(state)), signal.SIGKILL)
        assert "zookeeper    stopped" in lab("down", "zookeeper").stdout
        assert not processes(state)
        assert not directory.exists()

    def test_server_ends_with_the_watched_process(self, state: Path) -> None:
        with subprocess.Popen(["sleep", "60"]) as run:
            Lab(state, watch=run.pid).up("zookeeper")
            assert len(processes(state)) == 2
            run.kill()
        wait_for(lambda: processes(state), [])

    def test_unknown_name_is_refused_with_the_known_names(self, lab: Run, state: Path) -> None:
        answer = lab("up", "zookeeper", "oracle")
        assert answer.returncode == 2
        assert "there is no 'oracle'; there are bind, cassandra, cassandra2dc" in answer.stderr
        assert not state.exists()

    def test_down_without_servers_succeeds(self, lab: Run, state: Path) -> None:
        assert lab("down").returncode == 0
        assert not state.exists()


def wait_for(value: Callable[[], object], expected: object) -> object:
    """Wait until the value equals or contains what is expected, and return it."""
    deadline = time.monotonic() + 20
    while True:
        seen = value()
        if seen == expected or (isinstance(seen, str) and str(expected) in seen):
            return seen
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


class TestZooKeeper:
    def test_data_survives_stop_and_kill_but_not_wipe(self) -> None:
        with ZooKeeper() as server:
            with client(server) as connected:
                connected.create("/a", b"kept")
            server.stop()
            assert not server.answers()
            server.start()
            server.kill()
            server.start()
            with client(server) as connected:
                assert connected.get("/a")[0] == b"kept"
            server.wipe()
            with client(server) as connected:
                assert not connected.exists("/a")

    def test_tls_and_acls(self) -> None:
        with ZooKeeper(tls=True) as server:
            tls = {"use_ssl": True, "ca": str(server.ca_file)}
            digest = [("digest", "poppy:secret")]
            with client(server, auth_data=digest, **tls) as connected:
                acl = make_digest_acl("poppy", "secret", all=True)
                connected.create("/a", b"secret", acl=[acl])
                assert connected.get("/a")[0] == b"secret"
            with client(server, **tls) as stranger, pytest.raises(NoAuthError):
                stranger.get("/a")

    def test_paused_server_hangs(self) -> None:
        with ZooKeeper() as server:
            server.pause()
            with socket.create_connection((server.host, server.port), 2) as connection:
                connection.settimeout(0.3)
                connection.sendall(b"ruok")
                with pytest.raises(TimeoutError):
                    connection.recv(4)
                server.resume()
                connection.settimeout(60)
                assert connection.recv(4) == b"imok"
            server.pause()


class TestCassandra:
    def test_data_survives_stop_and_kill(self, keyspace: str) -> None:
        with Cassandra(authentication=True, tls=True) as node:
            options = secured(node)
            with session(node, **options) as connected:
                make_table(connected, keyspace, ONE)
                connected.execute(f"INSERT INTO {keyspace}.t (k, v) VALUES ('a', 'kept')")
            node.stop()
            assert not node.answers()
            node.start()
            node.kill()
            node.start()
            with session(node, **options) as connected:
                assert connected.execute(f"SELECT v FROM {keyspace}.t").one().v == "kept"

    def test_one_data_center_reads_what_the_other_wrote(self, keyspace: str) -> None:
        replication = "{'class': 'NetworkTopologyStrategy', 'dc1': 1, 'dc2': 1}"
        with CassandraPair() as pair:
            dc1, dc2 = pair.nodes.values()
            with session(dc1) as connected:
                make_table(connected, keyspace, replication)
                insert = connected.prepare(f"INSERT INTO {keyspace}.t (k, v) VALUES ('a', 'b')")
                insert.consistency_level = ALL
                connected.execute(insert)
            dc1.kill()
            with session(dc2) as connected:
                assert connected.execute(f"SELECT v FROM {keyspace}.t").one().v == "b"


def secured(node: Cassandra) -> dict[str, object]:
    auth = pytest.importorskip("cassandra.auth")
    context = ssl.create_default_context(cafile=node.ca_file)
    return {
        "ssl_context": context,
        "ssl_options": {"server_hostname": node.host},
        "auth_provider": auth.PlainTextAuthProvider(node.username, node.password),
    }


class TestShared:
    def test_cassandra(self, cassandra: SharedCassandra, keyspace: str) -> None:
        with session(cassandra) as connected:
            make_table(connected, keyspace, ONE)

    def test_zookeeper(self, zookeeper: SharedZooKeeper, chroot: str) -> None:
        with client(zookeeper) as connected:
            connected.ensure_path(chroot)

    def test_all_workers_of_a_run_share_one_server(self, tmp_path: Path) -> None:
        """Two workers see the same server, which ends with the last of them."""
        (tmp_path / "conftest.py").write_text("from tests.real.fixtures import zookeeper\n")
        test = (
            "import pathlib, time\n"
            "def test_one(zookeeper, worker_id):\n"
            f"    place = pathlib.Path({str(tmp_path)!r})\n"
            "    (place / (worker_id + '.hosts')).write_text(zookeeper.hosts)\n"
            "    # Until the other has come too, or this one's server would have ended by then.\n"
            "    deadline = time.monotonic() + 60\n"
            "    while len(list(place.glob('gw*.hosts'))) < 2 and time.monotonic() < deadline:\n"
            "        time.sleep(0.05)\n"
        )
        for name in ("one", "two"):
            (tmp_path / f"test_{name}.py").write_text(test)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile"]
        command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "run"), str(tmp_path)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stdout + run.stderr
        seen = [path.read_text() for path in tmp_path.glob("gw*.hosts")]
        assert len(seen) == 2
        assert seen[0] == seen[1]
        assert not answers(seen[0])
        assert not processes(tmp_path / "run" / "lab")
