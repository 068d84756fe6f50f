# SPDX-License-Identifier: Apache-2.0
"""A Varnish node for the duration of a test."""

import contextlib
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

# Without optimization, tests with many VCLs are three times as fast.
_COMPILE = "exec gcc -O0 -fpic -shared -w -o %o %s"
_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 10.0


class Varnish:
    """A varnishd with an empty cache and no VCL, on free loopback ports.

    ``with Varnish() as node:`` starts it, and stops and removes it at the end. The test is
    skipped if this machine has no Varnish.

    Attributes:
        http: host and port for clients.
        management: ``host:port`` of the management port.
        secret_file: the secret of the management port.
        parameters: of varnishd, by name.
    """

    def __init__(
        self,
        secret_file: Path | None = None,
        http: tuple[str, int] | None = None,
        cache: str = "32m",
        **parameters: Any,
    ) -> None:
        """Prepare without starting.

        Args:
            secret_file: of another node, to share its secret.
            http: the address and port for clients.
            cache: the size of the cache.
            **parameters: of varnishd.
        """
        self.parameters = {"cc_command": _COMPILE, **parameters}
        self.http = http or ("127.0.0.1", _free_port())
        self.management = f"127.0.0.1:{_free_port()}"
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._given_secret = secret_file
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

    @property
    def secret_file(self) -> Path:
        """The file with the secret; available after the first start."""
        assert self._directory is not None
        return self._given_secret or self._directory / "secret"

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
        command += ["-a", "{}:{}".format(*self.http), "-T", self.management]
        command += ["-S", str(self.secret_file), "-s", f"malloc,{self._cache}", "-l", "4m"]
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

    def kill(self) -> None:
        """Kill it as a power failure would, and wait until its port is closed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        # The child process notices that by itself.
        deadline = time.monotonic() + _STOP_TIMEOUT
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                socket.create_connection(self.http, 1).close()
                time.sleep(0.02)
            raise RuntimeError("varnishd's child does not end")

    def restart(self) -> None:
        """Stop and start: cache and VCLs are lost, addresses and secret are kept."""
        self.stop()
        self.start()

    def _wait_until_ready(self, log: Path) -> None:
        assert self._process is not None
        host, _, port = self.management.partition(":")
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
