# SPDX-License-Identifier: Apache-2.0
"""Virtual environments for servers that need other versions of libraries than Poppy.

Each is created once in the user's cache, and again when its requirements change.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.real import unavailable

_INSTALL_TIMEOUT = 300.0


def python(name: str, requirements: Sequence[str]) -> str:
    """Return a Python with all requirements; skip the test if they can't be installed.

    Concurrent processes are safe: one installs, the others wait.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poppy/lab"
    wanted = f"{requirements} {sys.version_info[:2]} {Path(sys.base_prefix).resolve()}"
    place = cache / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    complete = place / "complete"
    program = place / "bin" / "python"
    if not complete.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                _install(name, requirements, place, program)
                complete.touch()
    return str(program)


def environment() -> dict[str, str]:
    """Return our environment without the variables of our Python, and with warnings off."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return {**ours, "PYTHONWARNINGS": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def _install(name: str, requirements: Sequence[str], place: Path, program: Path) -> None:
    _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)])
    # uv takes a tenth of pip's time, but it does not read the configuration of pip's index.
    uv = Path(sys.executable).with_name("uv")
    quickly = [str(uv), "pip", "install", "-q", "--no-cache", "--python", str(program)]
    if uv.exists() and not _run([*quickly, *requirements]):
        return
    pip = [sys.executable, "-m", "pip", "--python", str(program), "install", "-q", "--no-compile"]
    failure = _run([*pip, *requirements])
    if failure:
        unavailable(
            f"{name} can't be installed ({failure[:400]})",
            f"let pip reach an index, then pip install {' '.join(requirements)}",
        )


def _run(command: Sequence[str]) -> str:
    """Run a command; return the last line of its errors if it fails."""
    try:
        run = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_INSTALL_TIMEOUT:.0f} s"
    lines = run.stderr.strip().splitlines() or ["it said nothing"]
    return lines[-1] if run.returncode else ""
