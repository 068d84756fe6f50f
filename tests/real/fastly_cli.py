# SPDX-License-Identifier: Apache-2.0
"""Fastly's own command line client (https://www.fastly.com/documentation/reference/cli/)."""

import http.server
import json
import os
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real import npm
from tests.real.fastly import TOKEN

_TIMEOUT = 30.0


class FastlyCLI:
    """The client for an API on this machine; use it as a context manager.

    It asks its account server for the addresses of the sign-in, even with a token. A server that
    knows none is enough.
    """

    def __init__(self, api_url: str, home: Path, token: str = TOKEN) -> None:
        """Install the client if it is missing.

        Args:
            home: a directory for its settings.
        """
        self._program = npm.program("@fastly/cli", "16.1.0", ".bin/fastly")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "FASTLY_API_ENDPOINT": api_url,
            "FASTLY_API_TOKEN": token,
        }

    def __enter__(self) -> Self:
        self._accounts = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Accounts)
        self._thread = threading.Thread(target=self._accounts.serve_forever, args=(0.01,))
        self._thread.start()
        url = f"http://127.0.0.1:{self._accounts.server_port}"
        self._environment["FASTLY_ACCOUNT_ENDPOINT"] = url
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._accounts.shutdown()
        self._thread.join()
        self._accounts.server_close()

    def run(self, command: str, *arguments: str) -> str:
        """Run a command and return its output.

        Raises:
            RuntimeError: it failed; the message has its output.
        """
        run = subprocess.run(
            [self._program, *command.split(), *arguments, "--non-interactive"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
        if run.returncode:
            raise RuntimeError(f"{command} failed: {run.stdout}{run.stderr}")
        return run.stdout

    def read(self, command: str, *arguments: str) -> Any:
        """Run a command and return the document that it prints."""
        return json.loads(self.run(command, *arguments, "--json"))


class _Accounts(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass
