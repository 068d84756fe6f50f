# SPDX-License-Identifier: Apache-2.0
"""The daemons as an operator runs them: processes, with files in a directory."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from tests import databases

PROJECT = "project-1"

Options = Mapping[str, Mapping[str, Any]]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Installation:
    """A configuration file and the daemons started with it.

    Args:
        directory: for the database, the mock provider's objects, the mock DNS, and logs.
        options: values by name by group, added to the required ones.
        environment: variables for the programs, besides this process's own.
        host: the address of the API.
        port: of the API; by default a free one.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        options: Options | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self._environment = {**os.environ, **(environment or {})}
        port = port or free_port()
        self.base = f"http://{host}:{port}"
        self.objects = directory / "objects"
        groups: dict[str, dict[str, Any]] = {
            "DEFAULT": {
                "state_path": directory,
                "log_file": directory / "poppy.log",
                # A request without roles is an operator's.
                "noauth_default_roles": "admin,member,reader",
            },
            "drivers:transport:pecan": {"bind": host, "port": port, "workers": 1},
            "drivers:provider:mock": {"directory": self.objects},
            "drivers:dns:mock": {"file": directory / "dns.json"},
            # No test depends on name servers outside of this machine.
            "resolver": {"check_records": "false"},
            "drivers:distributed_task:taskflow": {
                "claim_lease": 2,
                "poll_interval": 0.05,
                "dispatch_interval": 0.2,
            },
        }
        for group, values in (options or {}).items():
            groups.setdefault(group, {}).update(values)
        servers = "drivers:storage:sqlalchemy" in groups or "storage" in groups.get("drivers", {})
        self._embedded = not servers
        self.config = directory / "poppy.conf"
        self.config.write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
                for group, values in groups.items()
            )
        )
        self.session = requests.Session()
        self.session.headers["X-Project-ID"] = PROJECT

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command line of one of our programs, as installed next to this Python."""
        path = shutil.which(program, path=str(pathlib.Path(sys.executable).parent))
        assert path, f"{program} is not installed"
        return [path, *arguments, "--config-file", str(self.config)]

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run poppy-manage and wait for it."""
        line = self.command("poppy-manage")
        return subprocess.run(
            [line[0], *line[1:], *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environment,
        )

    def sync(self) -> None:
        """Create the schema, for SQLite without a process.

        Raises:
            AssertionError: it failed; the message has the output.
        """
        if self._embedded:
            databases.create(self.directory / "poppy.sqlite3")
        else:
            done = self.manage("db", "sync")
            assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def daemon(self, program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run a daemon in its own process group; end it by SIGTERM."""
        process = subprocess.Popen(
            [*self.command(program), *arguments],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                kill(process)
                raise

    def wait_until_up(self) -> None:
        """Wait until the API answers."""
        wait(self._answers, 30)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            return self.session.get(self.base + "/v1.0/ping", timeout=2).status_code == 204
        return False

    def create_flavor(self, provider: str = "mock") -> None:
        """Create the flavor ``standard``."""
        links = [{"href": "http://www.example.com", "rel": "provider_url"}]
        body = {"id": "standard", "providers": [{"provider": provider, "links": links}]}
        answer = self.session.post(self.base + "/v1.0/flavors", json=body, timeout=10)
        assert answer.status_code == 201, answer.text

    def create_service(self, domain: str = "www.example.com", **changes: Any) -> str:
        """Create a service; return its URL."""
        body = {
            "name": "site",
            "flavor_id": "standard",
            "domains": [{"domain": domain}],
            "origins": [{"origin": "origin.example.net"}],
            **changes,
        }
        answer = self.session.post(self.base + "/v1.0/services", json=body, timeout=10)
        assert answer.status_code == 202, answer.text
        return str(answer.headers["Location"])

    def status(self, url: str) -> str:
        """Return the status of a service; "gone" if there is none."""
        answer = self.session.get(url, timeout=10)
        return "gone" if answer.status_code == 404 else str(answer.json()["status"])

    def wait_for(self, url: str, status: str, timeout: float = 30) -> None:
        """Wait until a service has the status."""
        wait(lambda: self.status(url) == status, timeout)


def wait(condition: Any, timeout: float) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a daemon and all its children, as a power failure would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
