# SPDX-License-Identifier: Apache-2.0
"""poppy-server: serves the REST API."""

from collections.abc import Sequence

from poppy.cmd import daemon


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return daemon.main(argv, daemon.add_server, metrics="server_port")
