# SPDX-License-Identifier: Apache-2.0
"""Run poppy-manage on a Poppy in this process; see the fixture ``run``."""

import json

from poppy.cmd import manage


def printed(poppy, capsys, *line):
    """Run a command and return its output; ``poppy.said`` also has its standard error."""
    arguments = manage._parser().parse_args(line)
    try:
        arguments.run(poppy.boot, arguments)
    finally:
        poppy.said = capsys.readouterr()
    return poppy.said[0]


def listed(run, *line):
    """Run a command and return its JSON output."""
    return json.loads(run(*line, "-f", "json"))
