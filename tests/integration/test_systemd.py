# SPDX-License-Identifier: Apache-2.0
"""The systemd units are valid."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

DIRECTORY = pathlib.Path(__file__).parents[2] / "etc" / "systemd"
SETUP = DIRECTORY.parents[1] / "setup.cfg"
UNITS = sorted([*DIRECTORY.glob("*.service"), *DIRECTORY.glob("*.socket")])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("apt-get install systemd")
    # A unit of an edge's node runs a subcommand: poppy-edge-agent, "poppy-edge agent".
    command = re.sub("^poppy-edge-", "poppy-edge ", unit.stem)
    program = command.partition(" ")[0]
    assert f"    {program} = " in SETUP.read_text(), "it is installed with the package"
    service = unit.with_suffix(".service").read_text()
    assert re.search(rf"^ExecStart=/usr/bin/{command}\s", service, re.MULTILINE)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text())
    # The socket starts the service of the same name.
    copy.with_suffix(".service").write_text(service.replace(f"/usr/bin/{program}", sys.executable))
    # The agent wants the services beside it.
    for other in DIRECTORY.glob("poppy-edge-*"):
        if other != unit:
            text = other.read_text().replace("/usr/bin/poppy-edge", sys.executable)
            (tmp_path / other.name).write_text(text)
    answer = subprocess.run(
        [analyze, "verify", "--man=no", "--generators=no", str(copy)],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    # Other units of this machine may have errors.
    assert unit.name not in answer.stderr


def test_haproxy_and_varnish_do_not_depend_on_the_agent():
    for name in ("haproxy", "varnish"):
        assert "agent" not in (DIRECTORY / f"poppy-edge-{name}.service").read_text().split("[S")[0]
    agent = (DIRECTORY / "poppy-edge-agent.service").read_text()
    # They would stop with it, or it with them.
    assert not re.search("^(Requires|BindsTo|PartOf|Requisite)=", agent, re.MULTILINE)
