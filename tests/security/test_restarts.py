# SPDX-License-Identifier: Apache-2.0
"""Stopping and replacing a poppy-server under load without failed requests."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.real.poppy import Installation, wait

CLIENTS = 8


class Load:
    """Clients in threads, each with a connection that it keeps alive as long as the server does.

    Attributes:
        failures: connections that were reset, or closed without a response.
        refused: how many connections were refused because nothing listened.
    """

    def __init__(self, port, pause=0.0):
        self.port = port
        self.pause = pause
        self.answered = 0
        self.failures = []
        self.refused = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self):
        connection = None
        while not self._stop.is_set():
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    self.refused += 1
                    connection = None
                    self._stop.wait(0.05)
                    continue
            try:
                connection.request("GET", "/v1.0/ping")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 204
            except (OSError, http.client.HTTPException, AssertionError) as exc:
                self.failures.append(repr(exc))
                connection.close()
                connection = None
                continue
            self.answered += 1
            if answer.will_close:
                connection.close()
                connection = None
            self._stop.wait(self.pause)
        if connection is not None:
            connection.close()

    def more(self, count=200):
        """Wait until ``count`` more requests are answered."""
        goal = self.answered + count
        wait(lambda: self.answered >= goal or self.failures, 60)


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path, {"drivers:transport:pecan": {"workers": 2}})
    made.sync()
    yield made
    made.session.close()


@contextlib.contextmanager
def handed_over(installation, sock):
    """Run a daemon with a listening socket passed as systemd does, sd_listen_fds(3)."""
    script = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); " + (
        f"os.dup2({sock.fileno()}, 3); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, *installation.command("poppy-server")],
        env={**os.environ, "LISTEN_FDS": "1"},
        pass_fds=[sock.fileno(), 3],
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def listening():
    sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
    os.set_inheritable(sock.fileno(), True)
    return sock


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["without a pause", "with pauses"])
def test_rolling_restart_fails_no_request(installation, pause):
    """Each new server takes over the socket while the old one still answers."""
    with listening() as sock, contextlib.ExitStack() as stack:
        port = sock.getsockname()[1]
        servers = [stack.enter_context(handed_over(installation, sock))]
        load = stack.enter_context(Load(port, pause))
        load.more()
        for _ in range(3):
            servers.append(stack.enter_context(handed_over(installation, sock)))
            load.more()
            servers[-2].send_signal(signal.SIGTERM)
            assert servers[-2].wait(60) == 0
            load.more()
        assert load.failures == []
        assert load.refused == 0


def test_requests_wait_during_a_restart_with_a_systemd_socket(installation):
    with listening() as sock, contextlib.ExitStack() as stack:
        load = stack.enter_context(Load(sock.getsockname()[1]))
        for _ in range(3):
            with handed_over(installation, sock):
                load.more()
        with handed_over(installation, sock):
            load.more()
        assert load.failures == []
        assert load.refused == 0


def test_stop_resets_no_connection(installation):
    """Clients get a response or a refused connection, but never a missing response."""
    port = int(installation.base.rpartition(":")[2])
    with Load(port) as load:
        for _ in range(4):
            with installation.daemon("poppy-server"):
                load.more()
        assert load.failures == []


def test_idle_connections_are_closed_without_a_reset(installation):
    port = int(installation.base.rpartition(":")[2])
    with installation.daemon("poppy-server") as server:
        installation.wait_until_up()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as idle:
            idle.sendall(b"GET /v1.0/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 204 " in idle.recv(65536)
            server.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            # One more request is answered, and its response closes the connection.
            idle.sendall(b"GET /v1.0/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = idle.recv(65536)
            assert b" 204 " in answer and b"\r\nConnection: close\r\n" in answer
            assert idle.recv(65536) == b""


@pytest.mark.parametrize(
    ("count", "kind", "message"),
    [
        ("2", "listening", "only one socket"),
        ("1", "bound", "not a listening stream socket"),
        ("1", "file", "is not a socket"),
    ],
)
def test_invalid_listen_fds_are_reported(installation, tmp_path, count, kind, message):
    with contextlib.ExitStack() as stack:
        if kind == "file":
            given = stack.enter_context((tmp_path / "file").open("w"))
        else:
            given = stack.enter_context(socket.socket())
            given.bind(("127.0.0.1", 0))
            if kind == "listening":
                given.listen()
        script = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); " + (
            f"os.dup2({given.fileno()}, 3); os.execv(sys.argv[1], sys.argv[1:])"
        )
        answer = subprocess.run(
            [sys.executable, "-c", script, *installation.command("poppy-server")],
            env={**os.environ, "LISTEN_FDS": count},
            pass_fds=[given.fileno(), 3],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert answer.returncode == 1
    assert "LISTEN_FDS" in answer.stderr and message in answer.stderr
    assert "Traceback" not in answer.stderr
