# SPDX-License-Identifier: Apache-2.0
"""Directories of the user's cache that are filled once on each machine."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TIMEOUT = 600.0


def directory(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a directory of the cache, filled first if it is missing.

    It gets its name only when everything is there. Concurrent processes are safe: one fills it,
    the others wait.

    Args:
        fill: fills an empty directory.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poppy/lab"
    wanted = cache / name
    if wanted.is_dir():
        return wanted
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}.") as temporary:
                target = Path(temporary) / "new"
                target.mkdir()
                fill(target)
                target.rename(wanted)
    return wanted


def problem(command: Sequence[str], target: Path, **variables: str) -> str:
    """Run a command in a directory; return the end of its output if it fails, otherwise ''.

    Args:
        **variables: of its environment.
    """
    environment: Mapping[str, str] = {**os.environ, **variables}
    try:
        run = subprocess.run(
            command,
            cwd=target,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {TIMEOUT:.0f} s"
    return (run.stderr or run.stdout)[-400:] if run.returncode else ""
