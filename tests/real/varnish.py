# SPDX-License-Identifier: Apache-2.0
"""A Varnish for the duration of a test, in which simulations of Fastly run."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real import unavailable
from tests.real.nameserver import free_port

#: Varnish's ``cc_command`` without optimization: tests with many VCLs are three times as fast.
COMPILE = "exec gcc -O0 -fpic -shared -w -o %o %s"
_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 10.0


class Varnish:
    """A varnishd with an empty cache and no VCL, on free loopback ports.

    ``with Varnish() as node:`` starts it, and stops and removes it at the end. The test is
    skipped if this machine has no Varnish.

    Attributes:
        http: host and port for clients.
        parameters: of varnishd, by name.
    """

    def __init__(self, cache: str = "32m", **parameters: Any) -> None:
        """Prepare without starting.

        Args:
            cache: the size of the cache.
            **parameters: of varnishd.
        """
        self.parameters = {"cc_command": COMPILE, **parameters}
        self.http = ("127.0.0.1", free_port())
        self._management = f"127.0.0.1:{free_port()}"
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._cache = cache

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

    def admin(self, *words: str) -> str:
        """Run a command of the management port (varnish-cli(7)); return its output.

        Raises:
            RuntimeError: the command failed; the message has its output.
        """
        assert self._directory is not None
        command = ["varnishadm", "-T", self._management, "-S", str(self._directory / "secret")]
        # varnishadm puts the words in quotes, but does not escape what is in them.
        command += (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def load(self, name: str, vcl: str) -> None:
        """Compile VCL under a name. Raises like :meth:`admin`."""
        assert self._directory is not None
        file = self._directory / f"{name}.vcl"
        file.write_text(vcl)
        self.admin("vcl.load", name, str(file))

    def use(self, name: str) -> None:
        """Serve with a loaded VCL."""
        self.admin("vcl.use", name)
        if "running" not in self.admin("status"):
            self.admin("start")

    def start(self) -> None:
        """Start the node, as empty as a new one, and wait until it answers.

        Raises:
            RuntimeError: it did not start; the message has its log.
        """
        if shutil.which("varnishd") is None or shutil.which("gcc") is None:
            unavailable("there is no varnishd, or no compiler", "apt-get install varnish gcc")
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="poppy-varnish-"))
            (self._directory / "secret").write_text(secrets.token_hex(16) + "\n")
        log = self._directory / "log"
        command = ["varnishd", "-F", "-f", "", "-n", str(self._directory / "work")]
        # A jail needs users that a test machine may lack; the node lives for seconds only.
        command += ["-j", "none"] if os.geteuid() == 0 else []
        command += ["-a", "{}:{}".format(*self.http), "-T", self._management]
        command += [
            "-S",
            str(self._directory / "secret"),
            "-s",
            f"malloc,{self._cache}",
            "-l",
            "4m",
        ]
        for name, value in self.parameters.items():
            command += ["-p", f"{name}={value}"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        self._wait_until_ready(log)

    def stop(self) -> None:
        """Stop the node. Do nothing if it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_ready(self, log: Path) -> None:
        assert self._process is not None
        host, _, port = self._management.partition(":")
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"varnishd did not start: {log.read_text()}") from None
                time.sleep(0.05)
