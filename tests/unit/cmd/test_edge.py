# SPDX-License-Identifier: Apache-2.0
"""``poppy-edge`` on a machine that is only a node."""

import subprocess
import sys

_IMPORTED = "import sys, poppy.cmd.edge; print(*{it.partition('.')[0] for it in sys.modules})"


def test_a_node_needs_few_packages():
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert "requests" in found
    server = {"cotyledon", "jsonschema", "opentelemetry", "pecan", "sqlalchemy", "taskflow"}
    assert not found & server
