# SPDX-License-Identifier: Apache-2.0
"""Prism, which checks requests and answers against a vendor's OpenAPI document.

It is a proxy between a driver and a double (https://docs.stoplight.io/docs/prism).
"""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real import npm, unavailable

_PACKAGE = ("@stoplight/prism-cli", "5.14.2", ".bin/prism")
_SPECS = Path(__file__).parents[2].parent / "shared" / "specs"
_START_TIMEOUT = 300.0


def specification(vendor: str, name: str) -> Path:
    """Return a vendor's document, which is not in this repository; skip the test without it."""
    found = _SPECS / vendor / f"{name}.json"
    if not found.is_file():
        unavailable(f"{vendor}'s OpenAPI document {name} is not there", f"put it at {found}")
    return found


class Prism:
    """A proxy that passes everything and reports violations; use it as a context manager.

    It adds the header ``sl-violations`` to answers if either side broke the contract.

    Args:
        document: the contract; its paths are relative to its server's URL.
        upstream: the URL behind the proxy, with the path of the server's URL.
    """

    def __init__(self, document: Path, upstream: str) -> None:
        self._document = document
        self._upstream = upstream

    def __enter__(self) -> Self:
        program = npm.program(*_PACKAGE)
        self.host, self.port = "127.0.0.1", _free_port()
        self._log = tempfile.TemporaryFile()
        where = ["--host", self.host, "--port", str(self.port)]
        self._process = subprocess.Popen(
            [program, "proxy", *where, str(self._document), self._upstream],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # Use a single process, which ends when terminated.
            env={**os.environ, "NODE_ENV": "production"},
        )
        return self

    def wait(self) -> None:
        """Wait until it answers. Start several before waiting for the first, to save time.

        Raises:
            RuntimeError: it does not start; the message has its output.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._log.seek(0)
                    said = self._log.read().decode(errors="replace")
                    raise RuntimeError(f"Prism does not start: {said[-2000:]}") from None
                time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
