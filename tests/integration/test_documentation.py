# SPDX-License-Identifier: Apache-2.0
"""Builds of the documentation fail for missing and unknown flow diagrams."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("sphinx", reason="not installed: pip install -e '.[docs]'")

from tests.unit.documentation.test_flow_diagrams import ARCHITECTURE, EXTENSIONS


def test_a_kind_without_a_diagram_fails_the_build(tmp_path):
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['flow_diagrams']\n"
    )
    pages = "Flows\n=====\n\n"
    shown = re.findall(r"^\.\. flow:: .*$", ARCHITECTURE.read_text(), re.MULTILINE)
    cases = (
        (shown, None),
        (shown[1:], "The flow 'create' is drawn on no page"),
        ([*shown, ".. flow:: explode"], "There is no flow 'explode'"),
    )
    for lines, problem in cases:
        (tmp_path / "index.rst").write_text(pages + "\n\n".join(lines) + "\n")
        built = subprocess.run(
            [sys.executable, "-m", "sphinx", "-qEW", ".", "out"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert bool(built.returncode) == bool(problem), built.stderr
        assert (problem or "") in built.stderr
