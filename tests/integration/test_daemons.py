# SPDX-License-Identifier: Apache-2.0
"""The daemons as processes: started, killed and stopped as operators do."""

import contextlib
import json
import logging
import multiprocessing
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from poppy.bootstrap import Bootstrap
from poppy.common import config
from tests.real.poppy import PROJECT, Installation, kill, wait


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    made.sync()
    yield made
    made.session.close()


def operations_of(installation, url):
    boot = Bootstrap(config.load([], files=[str(installation.config)]))
    try:
        return boot.storage.operations.list(PROJECT, url.rpartition("/")[2])
    finally:
        boot.close()


def test_server_and_worker_processes_share_a_database(installation):
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker"):
        installation.wait_until_up()
        installation.create_flavor()
        url = installation.create_service()
        installation.wait_for(url, "deployed")
        assert len(list(installation.objects.glob("*.json"))) == 1
        installation.session.delete(url, timeout=10)
        installation.wait_for(url, "gone")
        assert list(installation.objects.glob("*.json")) == []


@pytest.mark.parametrize("moment", ["before the call has an effect", "after it"])
def test_service_is_created_once_though_its_worker_is_killed(tmp_path, moment):
    installation = Installation(tmp_path, {"drivers:provider:mock": {"latency": 3}})
    installation.sync()
    with installation.daemon("poppy-server"):
        installation.wait_until_up()
        installation.create_flavor()
        with installation.daemon("poppy-worker") as worker:
            url = installation.create_service()
            if moment == "after it":
                wait(lambda: list(installation.objects.glob("*.json")), 20)
            else:
                wait(lambda: operations_of(installation, url)[0].attempt == 1, 20)
            kill(worker)
        assert installation.status(url) == "create_in_progress"
        with installation.daemon("poppy-worker"):
            installation.wait_for(url, "deployed")
    (operation,) = operations_of(installation, url)
    assert operation.attempt == 2
    (path,) = installation.objects.glob("*.json")
    assert json.loads(path.read_text())["updates"] == 1, "made once, found the second time"
    assert len(json.loads((tmp_path / "dns.json").read_text())) == 1
    installation.session.close()


def test_service_accepted_without_a_worker_is_deployed_later(installation):
    with installation.daemon("poppy-server"):
        installation.wait_until_up()
        installation.create_flavor()
        url = installation.create_service()
    with installation.daemon("poppy-worker"), installation.daemon("poppy-server"):
        installation.wait_until_up()
        installation.wait_for(url, "deployed")


@pytest.mark.parametrize("program", ["poppy-server", "poppy-worker", "poppy-standalone"])
def test_daemon_exits_with_0_on_sigterm(installation, program):
    with installation.daemon(program) as daemon:
        wait(lambda: _children(daemon.pid), 20)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=20) == 0


def test_child_forked_during_a_log_message_can_log(monkeypatch):
    """As when a daemon is terminated, and so writes a message, while it starts its processes."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(stream)])
        # More than the pipe holds, so the write goes on until the drain begins.
        writing = threading.Thread(target=logging.error, args=("a" * 200_000,))
        writing.start()
        wait(lambda: select.select([reader], [], [], 0)[0], 20)
        drain = threading.Timer(0.5, _drain, (reader,))
        drain.start()
        child = multiprocessing.get_context("fork").Process(target=logging.error, args=("alive",))
        child.start()
        child.join(20)
        child.kill()
        child.join()
        writing.join()
    drain.join()
    os.close(reader)
    assert child.exitcode == 0


def _drain(reader):
    while os.read(reader, 65536):
        pass


def test_standalone_needs_no_setup(tmp_path):
    state = tmp_path / "new" / "state"
    installation = Installation(tmp_path, {"DEFAULT": {"state_path": state}})
    with installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        installation.create_flavor()
        installation.wait_for(installation.create_service(), "deployed")
    installation.session.close()


def test_files_of_the_daemons_are_not_world_accessible(tmp_path):
    state = tmp_path / "new" / "state"
    options = {"state_path": state, "log_file": tmp_path / "logs.log"}
    installation = Installation(tmp_path, {"DEFAULT": options})
    before = os.umask(0)
    try:
        with installation.daemon("poppy-standalone") as daemon:
            installation.wait_until_up()
            installation.create_flavor()
            url = installation.create_service()
            installation.wait_for(url, "deployed")
            made = [state, *state.rglob("*")]
            open_to_all = {str(it) for it in made if it.stat().st_mode & 0o007}
            # The running processes create the log file again after a rotation.
            (tmp_path / "logs.log").rename(tmp_path / "logs.log.1")
            daemon.send_signal(signal.SIGHUP)
            wait((tmp_path / "logs.log").exists, 20)
    finally:
        os.umask(before)
    assert not open_to_all
    assert {"poppy.sqlite3", "poppy.sqlite3-wal"} <= {it.name for it in made}
    modes = {it.name: it.stat().st_mode & 0o777 for it in tmp_path.glob("logs.log*")}
    assert modes == {"logs.log": 0o640, "logs.log.1": 0o640}
    installation.session.close()


def test_service_is_synced_to_disk_before_it_is_accepted(tmp_path):
    installation = Installation(tmp_path, environment=_syncs_noted(tmp_path))
    installation.sync()
    with installation.daemon("poppy-server"):
        installation.wait_until_up()
        installation.create_flavor()
        for number in range(5):
            (tmp_path / "syncs").write_text("")
            installation.create_service(f"www{number}.example.com")
            assert "poppy.sqlite3-wal" in (tmp_path / "syncs").read_text()
    installation.session.close()


def _syncs_noted(directory):
    """Return an environment in which each process records the files that it syncs to disk."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("apt-get install gcc")
    source, library = directory / "syncs.c", directory / "syncs.so"
    source.write_text(_NOTE_SYNCS % (directory / "syncs"))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


#: fsync() and fdatasync() that also append the file's name to a file.
_NOTE_SYNCS = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int note(long call, int fd) {
    char link[64], name[4096];
    int result = syscall(call, fd);
    snprintf(link, sizeof link, "/proc/self/fd/%%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    int log = open("%s", O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (log >= 0 && length > 0) {
        name[length] = '\\n';
        if (write(log, name, length + 1) < 0) result = -1;
    }
    if (log >= 0) close(log);
    return result;
}
int fsync(int fd) { return note(SYS_fsync, fd); }
int fdatasync(int fd) { return note(SYS_fdatasync, fd); }
"""


def test_dead_server_child_is_replaced(installation):
    with installation.daemon("poppy-server") as server:
        installation.wait_until_up()
        (child,) = _children(server.pid)
        os.kill(child, signal.SIGKILL)
        wait(lambda: _children(server.pid) not in ([], [child]), 20)
        installation.wait_until_up()


def _children(pid):
    """Return the ids of all children; a child belongs to the thread that forked it."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            found += (task / "children").read_text().split()
    return sorted(map(int, found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drivers": {"storage": "nosuch"}}, "no storage driver 'nosuch'"),
        ({"drivers": {"providers": "mock,nosuch"}}, "no provider driver 'nosuch'"),
        ({"drivers:transport:pecan": {"bind": "192.0.2.1"}}, "192.0.2.1"),
        ({"drivers:transport:pecan": {"port": "none"}}, "port"),
        ({"DEFAULT": {"auth_strategy": "magic"}}, "auth_strategy"),
        ({"DEFAULT": {"state_path": "/nonexistent/place"}}, "/nonexistent/place"),
        (
            {"drivers:distributed_task:taskflow": {"jobboard_backend_connection": "nonsense"}},
            "jobboard_backend_connection",
        ),
    ],
)
def test_invalid_configuration_stops_the_start_with_a_clear_error(tmp_path, options, message):
    good = Installation(tmp_path)
    good.sync()
    bad = Installation(tmp_path, options)
    with bad.daemon("poppy-server") as server:
        output, _ = server.communicate(timeout=20)
    assert server.returncode == 1
    assert message in output
    assert "Traceback" not in output
    assert output.startswith("poppy-server: ")
    good.session.close()
    bad.session.close()


def test_port_in_use_is_named(installation):
    port = int(installation.base.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), installation.daemon("poppy-server") as server:
        output, _ = server.communicate(timeout=20)
    assert server.returncode == 1
    assert str(port) in output


def test_server_on_an_empty_database_names_the_command_to_run(tmp_path):
    installation = Installation(tmp_path)
    with installation.daemon("poppy-server") as server:
        output, _ = server.communicate(timeout=20)
    assert server.returncode == 1
    assert "poppy-manage db sync" in output
    installation.session.close()


def test_db_sync_is_repeatable_and_db_check_reports(tmp_path):
    installation = Installation(tmp_path)
    assert installation.manage("db", "check").returncode == 1
    assert installation.manage("db", "sync").returncode == 0
    assert installation.manage("db", "sync").returncode == 0
    assert installation.manage("db", "check").returncode == 0
    installation.session.close()


def test_services_can_be_redeployed_after_an_edge_lost_them(installation):
    with installation.daemon("poppy-server"), installation.daemon("poppy-worker"):
        installation.wait_until_up()
        installation.create_flavor()
        urls = [installation.create_service(f"w{n}.example.com") for n in range(3)]
        for url in urls:
            installation.wait_for(url, "deployed")
        for path in installation.objects.glob("*.json"):
            path.unlink()
        other = installation.manage("services", "redeploy", "--provider", "another")
        assert other.stdout.startswith("0 services are being redeployed")
        one = installation.manage("services", "redeploy", "--service", urls[0].rpartition("/")[2])
        assert one.stdout.endswith("is being redeployed.\n")
        installation.wait_for(urls[0], "deployed")
        assert len(list(installation.objects.glob("*.json"))) == 1
        everything = installation.manage("services", "redeploy", "--provider", "mock")
        assert everything.stdout.startswith("3 services are being redeployed")
        for url in urls:
            installation.wait_for(url, "deployed")
        assert len(list(installation.objects.glob("*.json"))) == 3


def test_analytics_with_the_standalone_defaults(tmp_path):
    # Without a directory, the mock provider keeps its objects in the worker's memory.
    installation = Installation(tmp_path, {"drivers:provider:mock": {"directory": ""}})
    with installation.daemon("poppy-standalone"):
        installation.wait_until_up()
        installation.create_flavor()
        url = installation.create_service()
        installation.wait_for(url, "deployed")
        query = "?domain=www.example.com&metricType=requestCount"
        answer = installation.session.get(f"{url}/analytics{query}", timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["requestCount"]
