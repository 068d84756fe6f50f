# SPDX-License-Identifier: Apache-2.0
"""What is generated from the code is up to date."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_the_sample_configuration_is_what_the_options_say(tmp_path):
    generated = tmp_path / "poppy.conf.sample"
    program = shutil.which("oslo-config-generator", path=pathlib.Path(sys.executable).parent)
    subprocess.run(
        [
            program,
            *("--config-file", "etc/config-generator.conf"),
            *("--output-file", str(generated)),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    sample = ROOT / "etc" / "poppy.conf.sample"
    assert generated.read_text() == sample.read_text(), "run: tox -e genconfig"
