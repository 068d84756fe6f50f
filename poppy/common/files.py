# SPDX-License-Identifier: Apache-2.0
"""Create files that only their owner and group can read."""

import contextlib
import os
from collections.abc import Iterator

UMASK = 0o027
"""Gives files mode 0640 and directories mode 0750."""


def keep_private() -> int:
    """Set this process's umask so that others can't read its files. A stricter umask stays.

    Returns:
        The previous umask.
    """
    before = os.umask(UMASK)
    os.umask(before | UMASK)
    return before


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Create private files within a block.

    The umask belongs to the process, so it also affects other threads during the block.
    """
    before = keep_private()
    try:
        yield
    finally:
        os.umask(before)
