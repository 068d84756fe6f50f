# SPDX-License-Identifier: Apache-2.0
"""Who may read the files that Poppy makes: their owner and group, and nobody else."""

import contextlib
import os
from collections.abc import Iterator

UMASK = 0o027
"""Files are made with mode 0640 and directories with 0750."""


def keep_private() -> int:
    """Have this process make no file that others can read; a stricter umask stays.

    Returns:
        The umask of before.
    """
    before = os.umask(UMASK)
    os.umask(before | UMASK)
    return before


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Do so for the length of a block.

    The umask is the process's: what other threads make meanwhile is private too.
    """
    before = keep_private()
    try:
        yield
    finally:
        os.umask(before)
