# SPDX-License-Identifier: Apache-2.0
"""``poppy-edge agent`` as a process on a node."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.real.edge_node import EdgeNode
from tests.real.poppy import Installation


def poppy_edge(
    *arguments: str, token: str = "", timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run the command with a token at its standard input, and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "poppy.cmd.edge", *arguments],
        input=token,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class EdgeAgent:
    """An agent with a configuration file of its own; use it as a context manager.

    Args:
        node: the node to keep equal; its state and run directories are used.
        options: of the group ``[agent]``.
        environment: variables, besides this process's own.
    """

    def __init__(
        self,
        node: EdgeNode,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = node.settings.state_directory
        self.config = node.directory / "poppy-edge.conf"
        self._environment = {**os.environ, **(environment or {})}
        edge = {
            "state_directory": node.settings.state_directory,
            "run_directory": node.settings.run_directory,
            "http": ",".join(node.settings.http),
            "https": ",".join(node.settings.https),
            "metrics": node.settings.metrics,
            "cache_size": node.settings.cache_size,
        }
        agent = {"poll_interval": 0.1, "report_interval": 0.5, **(options or {})}
        self.config.write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
                for group, values in (("edge", edge), ("agent", agent))
            )
        )
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []

    def join(self, url: str, name: str, token: str) -> None:
        """Join as a node."""
        done = poppy_edge(
            *("join", url, name, "--insecure", "--config-file", str(self.config)), token=token
        )
        assert done.returncode == 0, done.stderr

    def __enter__(self) -> "EdgeAgent":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What all processes of this agent have logged."""
        return "".join(self._lines)

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "poppy.cmd.edge", "agent", "--config-file", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def end(self, number: int = signal.SIGTERM, timeout: float = 10) -> int:
        """Send it a signal; return its exit status."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 10) -> int:
        """Wait until it ends; return its exit status."""
        assert self._process is not None, "it does not run"
        status = self._process.wait(timeout)
        self._process = None
        return status

    def matches(self, pattern: str) -> bool:
        """Return whether the log has text that matches."""
        return re.search(pattern, self.log) is not None

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            self._lines.extend(lines)


def join(
    installation: Installation, node: EdgeNode, name: str, options: Mapping[str, Any] | None = None
) -> EdgeAgent:
    """Make a node of an installation with the token that poppy-manage prints; return its agent."""
    added = installation.manage("edge", "nodes", "add", name)
    assert added.returncode == 0, added.stderr
    agent = EdgeAgent(node, options)
    agent.join(installation.base, name, added.stdout.split()[-1])
    return agent


def files(directory: Path) -> set[str]:
    """Return the names of the programs that a node has stored."""
    return {it.stem for it in (directory / "state" / "programs").glob("*.json")}
