# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server for the duration of a test."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.real import unavailable

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 10.0


class PostgreSQL:
    """A PostgreSQL in a temporary directory, reachable only by a Unix socket there.

    ``with PostgreSQL() as server:`` starts it with an empty database at ``server.url``, and
    finally stops and removes it. The test is skipped if this machine has no PostgreSQL.
    It does not sync to disk, so its data is for tests only.
    """

    url: str
    """The SQLAlchemy URL of the database; set by :meth:`start`."""

    def __init__(self) -> None:
        """Prepare without starting."""
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

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

    def start(self) -> None:
        """Create and serve a database cluster; wait until it answers.

        Raises:
            RuntimeError: The server did not start; the message has its log.
        """
        programs = _find_programs()
        self._directory = Path(tempfile.mkdtemp(prefix="poppy-pg-"))
        try:
            self._start(programs, self._directory)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and remove its directory. Do nothing if there is none."""
        if self._process is not None:
            # The "fast" shutdown does not wait for clients to disconnect.
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory)
            self._directory = None

    def _start(self, programs: Path, directory: Path) -> None:
        data = directory / "data"
        log = directory / "log"
        identity = _identity(directory)
        with log.open("wb") as output:

            def command(*arguments: object) -> Sequence[str]:
                return [str(programs / str(arguments[0])), *map(str, arguments[1:])]

            options: dict[str, Any] = {"stdout": output, "stderr": output, "cwd": directory}
            initdb = command(
                "initdb", "-D", data, "-U", "poppy", "-A", "trust", "-E", "UTF8", "--no-sync"
            )
            if subprocess.run(initdb, check=False, **options, **identity).returncode:
                raise RuntimeError(f"initdb failed: {log.read_text()}")
            settings = ("fsync=off", "synchronous_commit=off", "listen_addresses=")
            flags = [part for setting in settings for part in ("-c", setting)]
            self._process = subprocess.Popen(
                command("postgres", "-D", data, "-k", directory, *flags), **options, **identity
            )
        self.url = f"postgresql+psycopg2://poppy@/postgres?host={directory}"
        self._wait_until_ready(programs, directory, log)

    def _wait_until_ready(self, programs: Path, directory: Path, log: Path) -> None:
        assert self._process is not None
        ask = [programs / "pg_isready", "-q", "-h", directory, "-d", "postgres", "-U", "poppy"]
        deadline = time.monotonic() + _START_TIMEOUT
        while subprocess.run(ask, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")
            time.sleep(0.05)


def _find_programs() -> Path:
    on_path = shutil.which("initdb")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if not on_path and not installed:
        unavailable("there is no PostgreSQL server here", "apt-get install postgresql")
    if importlib.util.find_spec("psycopg2") is None:
        unavailable("Python has no psycopg2", "pip install psycopg2-binary")
    return Path(on_path).resolve().parent if on_path else installed[-1].parent


def _identity(directory: Path) -> dict[str, Any]:
    """Give the directory to the user that runs the server, which refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        unavailable("PostgreSQL does not run as root", "useradd --system postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
