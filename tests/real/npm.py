# SPDX-License-Identifier: Apache-2.0
"""Programs from npm, each fetched once into the user's cache."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.real import unavailable

_TIMEOUT = 300.0


def program(package: str, version: str, path: str) -> str:
    """Return a program of a package, installed first if it is missing; skip without npm.

    Concurrent processes are safe: one fetches, the others wait. Scripts of packages do not run.

    Args:
        path: of the program below ``node_modules``.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        unavailable("there is no Node.js with npm", "apt-get install nodejs npm")
    document = json.dumps({"private": True, "dependencies": {package: version}})
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poppy/lab"
    name = f"{package.rpartition('/')[2]}-{hashlib.sha256(document.encode()).hexdigest()[:16]}"
    wanted = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            _fetch(package, document, wanted)
    return str(wanted / "node_modules" / path)


def _fetch(package: str, document: str, wanted: Path) -> None:
    """Install it; the directory gets its name only when everything is there."""
    with tempfile.TemporaryDirectory(dir=wanted.parent, prefix=f"{wanted.name}.") as name:
        target = Path(name) / "package"
        target.mkdir()
        (target / "package.json").write_text(document)
        problem = ""
        try:
            run = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=target,
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
                f"npm could not fetch {package} ({problem})",
                f"let npm reach a registry, then npm install {package}",
            )
        target.rename(wanted)
