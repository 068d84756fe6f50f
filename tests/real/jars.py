# SPDX-License-Identifier: Apache-2.0
"""The lab's Java servers, fetched by Maven.

``pom.xml`` in this directory pins the versions. The jars are fetched once into the user's cache,
in a directory named by the hash of that file, so a new version gets a new directory.
"""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.real import unavailable

_POM = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT = 300.0
_INSTALL = "apt-get install maven openjdk-17-jre-headless"
#: The versions that Cassandra 5.0 runs on; it refuses newer ones.
_RELEASES = (11, 17)


@functools.cache
def java() -> str:
    """Return a Java that runs the servers; skip the test if there is none."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home, "bin/java")] if home else []
    # Besides a newer default, distributions keep older versions here.
    candidates += sorted(Path("/usr/lib/jvm").glob("*-17-*/bin/java"))
    on_path = shutil.which("java")
    candidates += [Path(on_path)] if on_path else []
    able = (path for path in candidates if path.exists() and _release(path) in _RELEASES)
    found = next(able, None)
    if found is None:
        unavailable("there is no Java 17", _INSTALL)
    return str(found)


def jars() -> Path:
    """Return the directory with all jars, and fetch them first if they are missing.

    Concurrent processes are safe: one fetches, the others wait. Skip the test if the jars can't
    be fetched.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poppy/lab"
    name = hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]
    wanted = cache / name
    if wanted.is_dir():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        unavailable("there is no mvn", _INSTALL)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            _fetch(maven, wanted)
    return wanted


def _fetch(maven: str, wanted: Path) -> None:
    """Fetch the jars with Maven; the directory gets its name only when all are there."""
    with tempfile.TemporaryDirectory(dir=wanted.parent, prefix=f"{wanted.name}.") as name:
        target = Path(name) / "jars"
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        # Use a copy, since Maven may write files next to it.
        pom = shutil.copy(_POM, Path(name) / "pom.xml")
        try:
            run = subprocess.run(
                [maven, "-q", "-B", "-f", pom, *goal],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_FETCH_TIMEOUT,
            )
            said = run.stdout + run.stderr if run.returncode else ""
        except subprocess.TimeoutExpired:
            said = f"it took more than {_FETCH_TIMEOUT:.0f} s"
        if said:
            unavailable(
                f"Maven could not fetch the Java servers ({_first_error(said)})",
                f"let Maven reach a repository, then mvn -f {_POM} dependency:copy-dependencies",
            )
        target.rename(wanted)


def _first_error(output: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = [line for line in plain.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line]
    return (errors or lines or ["it said nothing"])[0][:400]


def _release(program: Path) -> int:
    """Return the major version of a Java; 0 if it is unknown."""
    run = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60)
    found = re.search(r'version "(\d+)', run.stderr)
    return int(found[1]) if found else 0
