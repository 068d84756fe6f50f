# SPDX-License-Identifier: Apache-2.0
"""Install the example driver as authors of drivers would, and run its tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "doc" / "example-driver"


def run(command: Sequence[str], directory: Path, packages: Path) -> str:
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_example_driver_can_be_installed_and_passes_its_tests(tmp_path: Path) -> None:
    # Use a copy, since building leaves files behind.
    source, packages = tmp_path / "example-driver", tmp_path / "packages"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(["-m", "pip", "install", "-q", *offline, "--target", str(packages), "."], source, packages)
    # Only the installed package can be tested now.
    shutil.rmtree(source / "poppy_example")

    show = (
        "from poppy.common import config, driver\n"
        "conf = config.new(); conf([])\n"
        "assert 'example' in driver.names('provider')\n"
        "group = 'drivers:provider:example'\n"
        "conf.register_opts(driver.classes('provider')['example'].OPTS, group=group)\n"
        "conf.set_override('token', 'secret', group=group)\n"
        "print(driver.load('provider', 'example', conf).name)\n"
    )
    assert run(["-c", show], tmp_path, packages).strip() == "example"
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"]
    assert " passed" in run(tests, source, packages)
