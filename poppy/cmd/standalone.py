# SPDX-License-Identifier: Apache-2.0
"""poppy-standalone: server and worker in one command; upgrades the schema at start."""

from collections.abc import Sequence

from poppy.bootstrap import Bootstrap
from poppy.cmd import daemon, schema


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return daemon.main(
        argv, daemon.add_server, daemon.add_worker, before=_prepare, metrics="server_port"
    )


def _prepare(bootstrap: Bootstrap) -> None:
    schema.sync(bootstrap)
    daemon.prepare(bootstrap)
