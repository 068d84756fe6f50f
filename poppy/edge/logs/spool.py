# SPDX-License-Identifier: Apache-2.0
"""Lines of access logs that are not delivered yet: files that survive the agent and HAProxy.

Each file has lines of one service and one period, after a line that says of which. It gets its
name when it is begun, and with it the name of the object. Once it is complete, it never changes.
So delivering it again replaces the object by the same content. An agent begins files of its own,
and leaves those of its predecessor as they are.
"""

import contextlib
import gzip
import json
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oslo_log import log

from poppy.model import names

LOG = log.getLogger(__name__)

#: Bytes of a file, unless the spool has room for a few of them only. A file is compressed in
#: memory, and dropped as a whole.
MAX_FILE = 32 * 1024 * 1024
_LEAST_FILES = 8
#: The part of a period after its end within which its files become due, at random.
_JITTER = 0.05
_SUFFIX = ".log"
_SERVICE = re.compile("[0-9A-Za-z-]{1,64}")
_ID = re.compile("[0-9a-f]{16}")
_MAX_HEADER = 1024


@dataclass(slots=True, eq=False)
class Part:
    """A file with lines of a service.

    Attributes:
        path: of the file.
        project_id: the project that gets the lines.
        service_id: the service.
        start: of the period, in seconds since 1970.
        id: distinguishes it from other files of the service and the period.
        due: when to deliver it, in seconds since 1970.
        size: bytes of the file.
    """

    path: Path
    project_id: str
    service_id: str
    start: int
    id: str
    due: float
    size: int

    def compressed(self) -> bytes:
        """Return the complete lines, compressed by gzip; empty if there are none, or no file.

        Raises:
            OSError: the file can't be read.
        """
        try:
            lines = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        begin, end = lines.find(b"\n") + 1, lines.rfind(b"\n") + 1
        # Without a time, equal lines give an equal object.
        return gzip.compress(lines[begin:end], mtime=0) if end > begin else b""


class Spool:
    """The files of a node, for one agent. Its methods may be called by several threads.

    Args:
        directory: created with the first file.
        limit: bytes of all files together.
        period: seconds of a file.
        clock: tells the time in seconds since 1970.

    Attributes:
        lines: the lines that were added since the agent's start.
        lost: the lines of them and of older ones that were dropped since then.
    """

    def __init__(
        self, directory: Path, limit: int, period: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._limit = limit
        self._period = period
        self._clock = clock
        self._lock = threading.RLock()
        self._parts = list(self._load())
        self._size = sum(it.size for it in self._parts)
        self._open: dict[str, Part] = {}
        self._sending: Part | None = None
        self.lines = self.lost = 0

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return self._size

    @property
    def overdue(self) -> float:
        """The seconds since when the oldest complete file is due; 0 if none is."""
        with self._lock:
            oldest = min((it.due for it in self._complete()), default=None)
        return 0.0 if oldest is None else max(0.0, self._clock() - oldest)

    def add(self, project_id: str, service_id: str, lines: list[bytes]) -> None:
        """Add lines of a service. If there is no room, drop the oldest file.

        Raises:
            OSError: these lines are lost, for instance because the disk is full.
        """
        text = b"".join(b"%b\n" % line for line in lines)
        with self._lock:
            self.lines += len(lines)
            try:
                self._make_room(len(text) + _MAX_HEADER)
                self._append(self._part(project_id, service_id, len(text)), text)
            except OSError:
                self.lost += len(lines)
                raise

    def due(self) -> list[Part]:
        """Return the complete files that are to be delivered, oldest first."""
        now = self._clock()
        with self._lock:
            return [it for it in self._complete() if it.due <= now]

    @contextlib.contextmanager
    def sending(self, part: Part) -> Iterator[bool]:
        """Keep a file while it is delivered; give whether it is still there."""
        with self._lock:
            found = part in self._parts
            self._sending = part if found else None
        try:
            yield found
        finally:
            with self._lock:
                self._sending = None

    def delivered(self, part: Part) -> None:
        """Delete a file that is in the object store.

        Raises:
            OSError: it can't be deleted, and will be delivered again.
        """
        with self._lock:
            self._forget(part)

    def _start(self) -> int:
        return int(self._clock() // self._period) * self._period

    def _complete(self) -> list[Part]:
        start = self._start()
        self._open = {name: it for name, it in self._open.items() if it.start == start}
        return [it for it in self._parts if self._open.get(it.service_id) is not it]

    def _part(self, project_id: str, service_id: str, size: int) -> Part:
        """Return the file for more lines of a service."""
        part, start = self._open.get(service_id), self._start()
        most = min(MAX_FILE, self._limit // _LEAST_FILES)
        if (
            part is not None
            and (part.project_id, part.start) == (project_id, start)
            and part.size + size <= most
        ):
            return part
        id_ = uuid.uuid4().hex[:16]
        path = self._directory / f"{start}-{id_}{_SUFFIX}"
        return Part(path, project_id, service_id, start, id_, self._due(start, self._period), 0)

    def _due(self, start: int, period: int) -> float:
        return start + period * (1 + random.uniform(0, _JITTER))

    def _append(self, part: Part, text: bytes) -> None:
        if not part.size:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            header = {
                "project_id": part.project_id,
                "service_id": part.service_id,
                "period": self._period,
            }
            text = json.dumps(header).encode() + b"\n" + text
        file = os.open(part.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(file, text) != len(text):
                raise OSError("the disk is full")
        except OSError:
            os.ftruncate(file, part.size)
            if not part.size:
                part.path.unlink()
            raise
        finally:
            os.close(file)
        if not part.size:
            self._parts.append(part)
            self._open[part.service_id] = part
        part.size += len(text)
        self._size += len(text)

    def _forget(self, part: Part) -> None:
        part.path.unlink(missing_ok=True)
        self._parts.remove(part)
        self._size -= part.size
        if self._open.get(part.service_id) is part:
            del self._open[part.service_id]

    def _make_room(self, size: int) -> None:
        while self._size + size > self._limit:
            oldest = next((it for it in self._parts if it is not self._sending), None)
            if oldest is None:
                raise OSError("the file that is being delivered leaves no room")
            lost = 0
            with contextlib.suppress(FileNotFoundError):
                lost = max(0, oldest.path.read_bytes().count(b"\n") - 1)
            LOG.error("Dropping %s lines of the access log of %s", lost, oldest.service_id)
            self.lost += lost
            self._forget(oldest)

    def _load(self) -> Iterator[Part]:
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            start, _, id_ = path.stem.partition("-")
            try:
                with path.open("rb") as file:
                    header = json.loads(file.readline(_MAX_HEADER))
                project, service = str(header["project_id"]), str(header["service_id"])
                due = self._due(int(start), int(header["period"]))
                is_valid = names.PROJECT_ID.fullmatch(project) and _SERVICE.fullmatch(service)
                if not (is_valid and _ID.fullmatch(id_)):
                    raise ValueError("a name is invalid")
            except (KeyError, TypeError, ValueError, OverflowError) as exc:
                LOG.error("Deleting %s, which is damaged: %s", path, exc)
                path.unlink()
                continue
            size = path.stat().st_size
            yield Part(path, project, service, int(start), id_, due, size)
