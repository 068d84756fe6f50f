# SPDX-License-Identifier: Apache-2.0
"""A real nginx as an origin."""

import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.real import unavailable

_CONFIG = """
daemon off;
master_process off;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{}}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port};
        root {directory}/html;
        default_type text/plain;
{locations}    }}
}}
"""


class Nginx:
    """Serves a few pages on loopback; use it as a context manager.

    Args:
        host: a loopback address.
        port: needs root below 1024.
        pages: content by path; ``/`` is the index.
        tags: the field Cache-Tag by path.
    """

    def __init__(
        self, host: str, port: int, pages: Mapping[str, str], tags: Mapping[str, str] | None = None
    ) -> None:
        self.host = host
        self.port = port
        self._pages = pages
        self._tags = tags or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            unavailable("nginx is not installed", "apt-get install nginx-light")
        self._directory = tempfile.TemporaryDirectory(prefix="poppy-nginx-")
        directory = pathlib.Path(self._directory.name)
        # Its worker may run as another user.
        directory.chmod(0o755)
        for path, content in self._pages.items():
            page = directory / "html" / (path.strip("/") or "index.html")
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(content)
        config = directory / "nginx.conf"
        locations = "".join(
            f"        location = {path} {{ add_header Cache-Tag {tag}; }}\n"
            for path, tag in self._tags.items()
        )
        config.write_text(
            _CONFIG.format(
                directory=directory, host=self.host, port=self.port, locations=locations
            )
        )
        self._process = subprocess.Popen(
            [program, "-p", str(directory), "-c", str(config), "-e", str(directory / "error.log")]
        )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((self.host, self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        self.__exit__(None, None, None)
        unavailable(
            f"nginx does not answer at {self.host}:{self.port}", "run as root for ports below 1024"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None
        self._directory.cleanup()
