# SPDX-License-Identifier: Apache-2.0
"""Programs from npm, each fetched once into the user's cache."""

import hashlib
import json
import shutil
from pathlib import Path

from tests.real import fetched, unavailable


def program(package: str, version: str, path: str) -> str:
    """Return a program of a package, installed first if it is missing; skip without npm.

    Concurrent processes are safe: one fetches, the others wait. Scripts of packages do not run.

    Args:
        path: of the program below ``node_modules``.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        unavailable("there is no Node.js with npm", "apt-get install nodejs npm")
    document = json.dumps({"private": True, "dependencies": {package: version}})
    name = f"{package.rpartition('/')[2]}-{hashlib.sha256(document.encode()).hexdigest()[:16]}"

    def fetch(target: Path) -> None:
        (target / "package.json").write_text(document)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        problem = fetched.problem(command, target)
        if problem:
            unavailable(
                f"npm could not fetch {package} ({problem})",
                f"let npm reach a registry, then npm install {package}",
            )

    return str(fetched.directory(name, fetch) / "node_modules" / path)
