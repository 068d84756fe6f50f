# SPDX-License-Identifier: Apache-2.0
"""The systemd units are valid."""

import pathlib
import shutil
import subprocess
import sys

import pytest

DIRECTORY = pathlib.Path(__file__).parents[2] / "etc" / "systemd"
UNITS = sorted([*DIRECTORY.glob("*.service"), *DIRECTORY.glob("*.socket")])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("apt-get install systemd")
    program = shutil.which(unit.stem, path=pathlib.Path(sys.executable).parent)
    service = unit.with_suffix(".service").read_text()
    assert f"ExecStart=/usr/bin/{unit.stem} " in service
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text())
    # The socket starts the service of the same name.
    copy.with_suffix(".service").write_text(service.replace(f"/usr/bin/{unit.stem}", program))
    answer = subprocess.run(
        [analyze, "verify", "--man=no", "--generators=no", str(copy)],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    # Other units of this machine may have errors.
    assert unit.name not in answer.stderr
