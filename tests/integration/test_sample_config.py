# SPDX-License-Identifier: Apache-2.0
"""Generated files are up to date."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("generator", "config", "sample"),
    [
        ("oslo-config-generator", "config-generator.conf", "poppy.conf.sample"),
        ("oslo-config-generator", "config-generator-edge.conf", "poppy-edge.conf.sample"),
        ("oslopolicy-sample-generator", "policy-generator.conf", "policy.yaml.sample"),
    ],
)
def test_samples_match_the_code(tmp_path, generator, config, sample):
    generated = tmp_path / sample
    program = shutil.which(generator, path=pathlib.Path(sys.executable).parent)
    subprocess.run(
        [program, "--config-file", f"etc/{config}", "--output-file", str(generated)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert generated.read_text() == (ROOT / "etc" / sample).read_text(), "run: tox -e genconfig"


def test_policy_commands_find_the_rules():
    program = shutil.which("oslopolicy-policy-generator", path=pathlib.Path(sys.executable).parent)
    run = subprocess.run([program, "--namespace", "poppy"], check=True, capture_output=True)
    assert b'"cdn:services:create": "rule:cdn:member"' in run.stdout
