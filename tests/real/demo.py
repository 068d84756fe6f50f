# SPDX-License-Identifier: Apache-2.0
"""Runs the demos, each of which fails at the first step that does not work."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 300.0
"""On a busy machine; an idle one takes a fifth of it."""


def output(module: str, scratch: str) -> str:
    """Run a demo to its end, and return what it printed.

    Args:
        module: its module.
        scratch: an empty directory for its temporary files, of which it must leave none.
    """
    demo = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": scratch},
    )
    try:
        told, _ = demo.communicate(timeout=SECONDS)
    finally:
        demo.terminate()
        demo.wait(60)
    left = sorted(path.name for path in Path(scratch).iterdir())
    assert demo.returncode == 0, told
    assert left == []
    return told
