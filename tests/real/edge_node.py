# SPDX-License-Identifier: Apache-2.0
"""A node of the operator's own edge: HAProxy and Varnish, as they are started on a node."""

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oslo_config import cfg

from poppy.edge import options
from poppy.edge.plane.plane import Plane
from poppy.edge.plane.processes import haproxy_command, varnish_command
from poppy.edge.program import Program
from poppy.edge.state import State
from tests.real import unavailable
from tests.real.nameserver import free_port
from tests.real.process import descendants
from tests.real.varnish import COMPILE

_START_TIMEOUT = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_TIMEOUT = 10.0


class EdgeNode:
    """A node with an empty state, on free ports of 127.0.0.1.

    ``with EdgeNode() as node:`` starts HAProxy and Varnish, and stops and removes them at the
    end. The test is skipped if this machine has none.

    Attributes:
        http, https: host and port for clients.
        metrics: host and port of metrics and health page.
        settings: of the node.
        state: the state directory.
        plane: the running processes as the agent sees them.
    """

    def __init__(self, *, optimized: bool = False, **overrides: Any) -> None:
        """Prepare without starting.

        Args:
            optimized: let Varnish optimize its code, as a real node does. A start then takes twice
                the CPU time.
            **overrides: options of the group ``[edge]``.
        """
        for program in ("haproxy", "varnishd", "gcc"):
            if shutil.which(program) is None:
                unavailable(
                    f"there is no {program}", "apt-get install haproxy varnish varnish-modules gcc"
                )
        self.directory = Path(tempfile.mkdtemp(prefix="poppy-node-"))
        self.http = ("127.0.0.1", free_port())
        self.https = ("127.0.0.1", free_port())
        self.metrics = ("127.0.0.1", free_port())
        conf = cfg.ConfigOpts()
        options.register(conf)
        conf([], project="poppy-edge")
        values = {
            "state_directory": str(self.directory / "state"),
            "run_directory": str(self.directory / "run"),
            "http": ["{}:{}".format(*self.http)],
            "https": ["{}:{}".format(*self.https)],
            "metrics": "{}:{}".format(*self.metrics),
            "threads": 1,
            "connections": 200,
            "cache_size": 32,
            **overrides,
        }
        for name, value in values.items():
            conf.set_override(name, value, group="edge")
        self.settings = options.read(conf)
        self.state = State(self.settings.state_directory / "state")
        self.state.create()
        self.plane = Plane(self.settings)
        self._varnish = [] if optimized else ["-p", f"cc_command={COMPILE}"]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start("varnish")
            self.start("haproxy")
            self.plane.load([])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop both processes and remove all files."""
        for name in list(self._processes):
            self.stop(name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def serve(self, program: Program) -> None:
        """Store and apply a program as the agent does."""
        self.state.put(self.state.revision + 1, program)
        self.state.revision += 1
        self.plane.apply(program)

    def start(self, name: str, timeout: float = _START_TIMEOUT) -> None:
        """Start ``haproxy`` or ``varnish`` by its command, and wait until it answers.

        Args:
            name: of the process.
            timeout: seconds to wait.

        Raises:
            RuntimeError: it did not start; the message has its log.
        """
        commands: dict[str, Callable[[options.Settings], Sequence[str]]] = {
            "haproxy": haproxy_command,
            "varnish": lambda settings: [*varnish_command(settings), *self._varnish],
        }
        log = self.directory / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(commands[name](self.settings), stdout=output, stderr=output)
        self._processes[name] = process
        deadline = time.monotonic() + timeout
        while name not in self.plane.started():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {log.read_text()}")
            time.sleep(0.05)

    def stop(self, name: str) -> None:
        """Stop a process."""
        self._processes[name].terminate()
        self._wait(name)

    def kill(self, name: str) -> None:
        """Kill a process as a power failure would."""
        self._processes[name].kill()
        self._wait(name)

    def suspend(self, name: str) -> None:
        """Suspend a process with its children: it exists but does not answer."""
        for pid in _tree(self._processes[name].pid):
            os.kill(pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """End :meth:`suspend`."""
        for pid in _tree(self._processes[name].pid):
            os.kill(pid, signal.SIGCONT)

    def memory(self, name: str) -> int:
        """Return the resident bytes of a process and its children."""
        return sum(_resident(pid) for pid in _tree(self._processes[name].pid))

    def cpu_seconds(self, name: str) -> float:
        """Return the CPU time that a process and its children have used."""
        return sum(_cpu_ticks(pid) for pid in _tree(self._processes[name].pid)) / _TICKS

    @property
    def pids(self) -> Sequence[int]:
        """All processes of the node."""
        return [pid for process in self._processes.values() for pid in _tree(process.pid)]

    def get(
        self,
        host: str,
        target: str = "/",
        method: str = "GET",
        source: str = "127.0.0.1",
        **fields: str,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request from an address; return the response and its body."""
        connection = http.client.HTTPConnection(*self.http, timeout=20, source_address=(source, 0))
        try:
            connection.request(method, target, headers={"Host": host, **fields})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def _wait(self, name: str) -> None:
        process = self._processes.pop(name)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Varnish's child, which serves, ends a little later.
        deadline = time.monotonic() + _STOP_TIMEOUT
        while name in self.plane.started() and time.monotonic() < deadline:
            time.sleep(0.02)


def _tree(pid: int) -> Sequence[int]:
    return [pid, *descendants(pid)]


def _cpu_ticks(pid: int) -> int:
    # proc_pid_stat(5): the name is in parentheses, and utime and stime are the fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
