# SPDX-License-Identifier: Apache-2.0
"""poppy-worker: runs the operations that the API has accepted."""

from collections.abc import Sequence

from poppy.cmd import daemon


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return daemon.main(argv, daemon.add_worker, metrics="worker_port")
