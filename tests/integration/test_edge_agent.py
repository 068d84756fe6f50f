# SPDX-License-Identifier: Apache-2.0
"""``poppy-edge join`` and ``poppy-edge agent`` as processes, with real HAProxy and Varnish."""

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poppy.edge.agent import node as nodes
from poppy.edge.program import Choice, Program, Upstream
from tests.real.edge_api import EdgeAPI, EdgeStore
from tests.real.edge_daemon import EdgeAgent, files, poppy_edge
from tests.real.edge_node import EdgeNode
from tests.real.origin import Origin
from tests.real.poppy import wait

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def api() -> Iterator[EdgeAPI]:
    with EdgeAPI() as api:
        yield api


@pytest.fixture
def node() -> Iterator[EdgeNode]:
    with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
        yield node


@pytest.fixture
def agent(node: EdgeNode, api: EdgeAPI) -> Iterator[EdgeAgent]:
    """An agent that has joined as n1, and runs."""
    agent = EdgeAgent(node)
    agent.join(api.url, "n1", api.store.add_node("n1"))
    with agent:
        yield agent


def program(origin: Origin, name: str = "a", **changes: object) -> Program:
    return Program(
        service_id=name,
        domains=(f"{name}.example.com",),
        origins=(Upstream(origin.address, 80, False, None),),
        ttls=(Choice("/*", 3600),),
    )


def status(node: EdgeNode, name: str = "a") -> int:
    return node.get(f"{name}.example.com")[0].status


def ready(node: EdgeNode) -> bool:
    url = "http://{}:{}/ready".format(*node.metrics)
    with (
        contextlib.suppress(urllib.error.URLError, ConnectionError),
        urllib.request.urlopen(url, timeout=5) as answer,
    ):
        return answer.status == 200
    return False


def reached(api: EdgeAPI, name: str = "n1") -> bool:
    """Return whether the node has reported the head."""
    return api.store.reports.get(name, {}).get("revision") == api.store.head


#: A clock with an offset of some seconds, which a file has.
_CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *found) {
    int result = syscall(SYS_clock_gettime, clock, found);
    if (clock == CLOCK_REALTIME) {
        char text[32] = "";
        int file = open("%s", O_RDONLY);
        if (file >= 0 && read(file, text, sizeof text - 1) > 0) found->tv_sec += atol(text);
        if (file >= 0) close(file);
    }
    return result;
}
"""


def clock_of(directory: Path, offset: Path) -> dict[str, str]:
    """Return an environment with a clock that is wrong by the seconds in a file."""
    source, library = directory / "clock.c", directory / "clock.so"
    source.write_text(_CLOCK % offset)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


class TestJoin:
    def test_a_token_comes_from_standard_input_or_a_file(self, api, tmp_path):
        config = tmp_path / "edge.conf"
        for name, given in (("n1", "input"), ("n2", "file")):
            directory = tmp_path / name
            config.write_text(f"[edge]\nstate_directory = {directory}\n")
            token = api.store.add_node(name)
            (tmp_path / "token").write_text(f"{token}\n")
            more = ["--token-file", str(tmp_path / "token")] if given == "file" else []
            command = ["join", api.url, name, "--insecure", "--config-file", str(config), *more]
            done = poppy_edge(*command, token=token if given == "input" else "")
            assert (done.returncode, done.stderr) == (0, "")
            assert nodes.load(directory).name == name
            again = poppy_edge(*command, token="another")
            assert again.returncode == 0
            assert "has joined before" in again.stdout

    @pytest.mark.parametrize(
        ("arguments", "token", "message"),
        [
            (["{url}", "n1", "--insecure"], "wrong", "does not accept this token for n1"),
            (["{url}", "n1", "--insecure"], "", "the token is empty"),
            (["{url}", "n1"], "t", "use https://"),
            (["https://127.0.0.1:1", "n1"], "t", "no answer: Connection refused"),
            (["https://127.0.0.1:{port}", "n1"], "t", "TLS failed: WRONG_VERSION_NUMBER"),
            (["{url}", "n1", "--insecure", "--token-file", "/nosuch"], "", "/nosuch"),
            (["{url}", "n1", "--config-file", "/nosuch.conf"], "", "/nosuch.conf"),
        ],
    )
    def test_errors_are_one_line(self, api, tmp_path, arguments, token, message):
        config = tmp_path / "edge.conf"
        config.write_text(f"[edge]\nstate_directory = {tmp_path / 'state'}\n")
        arguments = [it.format(url=api.url, port=api.port) for it in arguments]
        done = poppy_edge("join", *arguments, "--config-file", str(config), token=token)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert nodes.load(tmp_path / "state") is None

    def test_an_agent_of_a_machine_that_has_not_joined_does_not_start(self, tmp_path):
        config = tmp_path / "edge.conf"
        config.write_text(f"[edge]\nstate_directory = {tmp_path}\nrun_directory = {tmp_path}\n")
        done = poppy_edge("agent", "--config-file", str(config))
        assert done.returncode == 1
        assert "has not joined" in done.stderr


class TestAgent:
    def test_published_services_are_served(self, node, api, agent, origin):
        wait(lambda: ready(node), 20)
        assert status(node) == 404
        api.store.publish(program(origin))
        wait(lambda: reached(api), 5)
        assert status(node) == 200
        api.store.withdraw("a")
        wait(lambda: reached(api), 5)
        assert status(node) == 404

    def test_sigterm_ends_the_agent_but_not_the_service(self, node, api, agent, origin):
        api.store.publish(program(origin))
        wait(lambda: reached(api), 20)
        began = time.monotonic()
        assert agent.end() == 0
        assert time.monotonic() - began < 2
        assert status(node) == 200
        assert ready(node)

    def test_sigterm_does_not_wait_for_the_api(self, node, api, agent):
        wait(lambda: reached(api), 20)
        with api.store.lock:
            time.sleep(0.5)
            began = time.monotonic()
            assert agent.end() == 0
            assert time.monotonic() - began < 2

    def test_killed_at_any_moment_nothing_is_lost(self, node, api, agent, origin):
        wait(lambda: reached(api), 20)
        choose = random.Random(7)
        names = [f"s{number}" for number in range(12)]
        wanted: set[str] = set()
        old: dict[str, str] = {}
        for turn in range(12):
            for _ in range(8):
                name = choose.choice(names)
                if choose.random() < 0.3:
                    api.store.withdraw(name)
                    wanted.discard(name)
                else:
                    api.store.publish(program(origin, name))
                    wanted.add(name)
            for name in names:
                response, body = node.get(f"{name}.example.com")
                if response.status == 200:
                    old[name] = body.decode()
            origin.content = f"content{turn}"
            for name in names:
                api.store.purge(name)
            time.sleep(choose.uniform(0, 0.3))
            agent.end(signal.SIGKILL)
            agent.start()
        wait(lambda: reached(api), 20)
        assert {name for name in names if status(node, name) == 200} == wanted
        assert files(agent.directory) == wanted
        for name in wanted:
            assert origin.content in node.get(f"{name}.example.com")[1].decode()
        assert old, "objects were cached before the purges"

    def test_a_node_has_one_agent(self, node, api, agent):
        wait(lambda: reached(api), 20)
        second = poppy_edge("agent", "--config-file", str(agent.config))
        assert second.returncode == 1
        assert "another agent uses" in second.stderr
        assert "Traceback" not in second.stderr

    def test_two_nodes_with_one_name_do_not_both_follow(self, node, api, agent, origin):
        wait(lambda: reached(api), 20)
        with EdgeNode() as copy:
            other = EdgeAgent(copy)
            (other.directory / "node.json").write_bytes(
                (agent.directory / "node.json").read_bytes()
            )
            with other:
                wait(lambda: other.matches("another agent has this node's name"), 20)
                api.store.publish(program(origin))
                wait(lambda: reached(api), 5)
                time.sleep(0.5)
                assert files(other.directory) == set()
                assert status(node) == 200
        instance = api.store.reports["n1"]["instance"]
        assert f"the instance {instance} of n1 is live" in other.log

    def test_a_restarted_agent_has_no_conflict_with_itself(self, node, api, agent, origin):
        wait(lambda: reached(api), 20)
        agent.end(signal.SIGKILL)
        agent.start()
        api.store.publish(program(origin))
        wait(lambda: reached(api), 10)
        assert "another agent" not in agent.log

    @pytest.mark.parametrize("process", ["haproxy", "varnish"])
    def test_a_killed_process_is_brought_up_to_date(self, node, api, agent, origin, process):
        api.store.publish(program(origin))
        wait(lambda: ready(node) and reached(api), 20)
        node.kill(process)
        api.store.publish(program(origin, "b"))
        api.store.purge("a")
        time.sleep(1.1)
        node.start(process)
        wait(lambda: reached(api) and ready(node), 20)
        assert (status(node), status(node, "b")) == (200, 200)
        assert api.store.reports["n1"]["ready"]

    def test_a_restarted_haproxy_becomes_ready_again(self, node, api, agent):
        wait(lambda: ready(node) and reached(api), 20)
        node.kill("haproxy")
        time.sleep(1.1)
        node.start("haproxy")
        wait(lambda: ready(node), 20)

    def test_without_an_api_a_restarted_node_serves_its_snapshot(self, origin):
        store = EdgeStore()
        with EdgeNode(allowed_origins=["127.0.0.0/8"]) as node:
            agent = EdgeAgent(node, {"serve_stale_after": 1})
            with EdgeAPI(store) as api:
                agent.join(api.url, "n1", store.add_node("n1"))
                store.publish(program(origin))
                with agent:
                    wait(lambda: reached(api), 20)
                port = api.port
            node.kill("haproxy")
            node.kill("varnish")
            node.start("varnish")
            node.start("haproxy")
            assert status(node) == 200
            assert not ready(node)
            with agent:
                wait(lambda: ready(node), 20)
                assert status(node) == 200
                store.withdraw("a")
                with EdgeAPI(store, port=port) as api:
                    wait(lambda: status(node) == 404, 40)

    def test_a_full_disk_delays_changes_only(self, node, api, agent, origin):
        api.store.publish(program(origin))
        wait(lambda: reached(api) and ready(node), 20)
        limits = resource.prlimit(agent.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        api.store.publish(program(origin, "b"))
        wait(lambda: agent.matches("Can't write"), 10)
        assert (status(node), status(node, "b")) == (200, 404)
        assert ready(node)
        assert not reached(api)
        resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, limits)
        wait(lambda: reached(api), 20)
        assert (status(node), status(node, "b")) == (200, 200)

    @pytest.mark.parametrize("years", [-10, 10])
    def test_jumps_of_the_clock_have_no_effect(self, node, api, origin, tmp_path, years):
        offset = tmp_path / "offset"
        offset.write_text("0")
        agent = EdgeAgent(node, environment=clock_of(tmp_path, offset))
        agent.join(api.url, "n1", api.store.add_node("n1"))
        with agent:
            wait(lambda: reached(api), 20)
            offset.write_text(str(years * 365 * 86400))
            api.store.publish(program(origin))
            wait(lambda: reached(api) and status(node) == 200, 10)
            agent.end(signal.SIGKILL)
            agent.start()
            api.store.withdraw("a")
            wait(lambda: reached(api) and status(node) == 404, 10)
            began = datetime.fromisoformat(api.store.reports["n1"]["started"]["agent"])
            assert abs(began.year - datetime.now(UTC).year) >= 9, "the clock has jumped"

    def test_a_poisoned_program_fails_alone(self, node, api, agent, origin):
        api.store.publish(program(origin))
        wait(lambda: reached(api), 20)
        api.store.publish_document("a", {"version": 99})
        api.store.publish(program(origin, "b"))
        wait(lambda: reached(api), 10)
        assert (status(node), status(node, "b")) == (200, 200)
        assert "version 99" in api.store.reports["n1"]["failures"]["a"]["reason"]

    def test_the_service_manager_is_notified_and_can_reload(self, node, api, tmp_path):
        path = str(tmp_path / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(20)
            agent = EdgeAgent(node, environment={"NOTIFY_SOCKET": path})
            agent.join(api.url, "n1", api.store.add_node("n1"))
            with agent:
                assert manager.recv(100) == b"READY=1"
                assert manager.recv(100) == b"WATCHDOG=1"
                os.kill(agent.pid, signal.SIGHUP)
                wait(lambda: agent.matches("Configuration reloaded"), 10)
                agent.config.write_text("[agent]\npoll_interval = x\n")
                os.kill(agent.pid, signal.SIGHUP)
                wait(lambda: agent.matches("Keeping the previous configuration.*poll_int"), 10)
                assert agent.end() == 0

    def test_an_invalid_option_is_named(self, node, api):
        agent = EdgeAgent(node, {"poll_interval": 0})
        done = poppy_edge("agent", "--config-file", str(agent.config))
        assert done.returncode == 1
        assert "[agent] poll_interval" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_the_token_is_in_no_log(self, node, api, agent):
        wait(lambda: reached(api), 20)
        assert nodes.load(agent.directory).token not in agent.log
