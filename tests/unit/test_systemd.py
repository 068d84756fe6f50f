# SPDX-License-Identifier: Apache-2.0
"""The systemd units are such that systemd takes them."""

import pathlib
import shutil
import subprocess
import sys

import pytest

UNITS = sorted((pathlib.Path(__file__).parents[2] / "etc" / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_to_complain_about(unit, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("apt-get install systemd")
    program = shutil.which(unit.stem, path=pathlib.Path(sys.executable).parent)
    text = unit.read_text()
    assert f"ExecStart=/usr/bin/{unit.stem} " in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace(f"/usr/bin/{unit.stem}", program))
    answer = subprocess.run(
        [analyze, "verify", "--man=no", "--generators=no", str(copy)],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    # systemd's own units, of the machine that this runs on, may have flaws.
    assert unit.name not in answer.stderr
