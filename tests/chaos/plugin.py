# SPDX-License-Identifier: Apache-2.0
"""Install the drivers of the double by entry points, as third-party drivers are installed."""

import os
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ENTRY_POINTS = """\
[poppy.provider]
chaos = tests.chaos.driver:ChaosProvider

[poppy.dns]
chaos = tests.chaos.driver:ChaosDNS
"""


def install(directory: Path) -> dict[str, str]:
    """Create an installed package in a directory and return the environment that finds it."""
    place = directory / "site"
    package = place / "poppy_chaos-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: poppy-chaos\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(_ENTRY_POINTS)
    before = os.environ.get("PYTHONPATH")
    paths = [str(place), str(_ROOT), *([before] if before else [])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
