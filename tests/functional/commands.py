# SPDX-License-Identifier: Apache-2.0
"""poppy-manage on a Poppy in this process; see the fixture ``run``."""

import json

from poppy.cmd import manage


def printed(poppy, capsys, *line):
    """What a command prints; ``poppy.said`` is that and what it says on standard error."""
    arguments = manage._parser().parse_args(line)
    try:
        arguments.run(poppy.boot, arguments)
    finally:
        poppy.said = capsys.readouterr()
    return poppy.said[0]


def listed(run, *line):
    """What a command answers to programs."""
    return json.loads(run(*line, "-f", "json"))
