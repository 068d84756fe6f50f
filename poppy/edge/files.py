# SPDX-License-Identifier: Apache-2.0
"""Files that survive a power failure: each has its previous content or the new one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Replace a file, which only this user can read.

    Raises:
        OSError: the file keeps its content.
    """
    with replacing(path, text):
        pass


@contextlib.contextmanager
def replacing(path: Path, text: str) -> Iterator[None]:
    """Replace a file once the block has ended, unless it raises.

    The text is on disk before the block begins, so a full disk prevents the block too.

    Raises:
        OSError: the file keeps its content.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(directory: Path) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
