# SPDX-License-Identifier: Apache-2.0
"""The pipe from which the agent reads HAProxy's access log (:mod:`poppy.edge.plane.access_log`).

HAProxy writes a line of up to 4096 bytes as a whole, or not at all. Of a longer one, the end may
be missing if the pipe is full (pipe(7), "PIPE_BUF"), and the next line follows without a line
feed. So a line that is not complete is dropped, with the one behind it. Values are escaped, so
that only the start of a line has the text ``{"time":`` with its quotes.
"""

import contextlib
import fcntl
import os
import re
import select
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from poppy.model import names

#: Bytes that the pipe holds: the most that the kernel allows without privileges (pipe(7)).
SIZE = 1024 * 1024
#: Bytes that are read at once, and bytes of the longest line.
_CHUNK, _MAX_LINE = 256 * 1024, 64 * 1024
_BEGIN, _END = b'{"time":', b'"}'
_OWNER = re.compile(rf"({names.PROJECT_ID.pattern}) ([0-9A-Za-z-]{{1,64}}) ")


def create(path: Path) -> None:
    """Create the pipe, for this user only, if there is none.

    Raises:
        OSError: it can't be created.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISFIFO(path.lstat().st_mode):
            path.unlink()
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)


class Pipe:
    """The reader's end. It is open for writing too, so that HAProxy may come and go.

    Attributes:
        damaged: the lines that were dropped because they were not complete.

    Raises:
        OSError: the pipe can't be opened.
    """

    def __init__(self, path: Path) -> None:
        create(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(PermissionError):  # The user has too many of them.
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, SIZE)
        self._rest = b""
        self.damaged = 0

    def close(self) -> None:
        """Close this end."""
        os.close(self._descriptor)

    @property
    def is_within_line(self) -> bool:
        """Whether a line was read in part."""
        return bool(self._rest)

    def read(self, timeout: float) -> Mapping[tuple[str, str], list[bytes]] | None:
        """Return the lines that have arrived, as JSON without line feeds, by project and service.

        Args:
            timeout: seconds to wait for the first line.

        Returns:
            None if nothing has arrived.
        """
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return None
        *lines, self._rest = (self._rest + os.read(self._descriptor, _CHUNK)).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            self._rest = b""
            self.damaged += 1
        return self._sorted(lines)

    def _sorted(self, lines: Iterable[bytes]) -> Mapping[tuple[str, str], list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for line in lines:
            start = line.find(_BEGIN)
            if start < 0 or line.count(_BEGIN) > 1 or not line.endswith(_END):
                self.damaged += 1
                continue
            found.setdefault(line[:start], []).append(line[start:])
        owned: dict[tuple[str, str], list[bytes]] = {}
        for prefix, texts in found.items():
            owner = _OWNER.fullmatch(prefix.decode("ascii", "replace"))
            if owner is None:
                self.damaged += len(texts)
            else:
                owned[(owner[1], owner[2])] = texts
        return owned
