# SPDX-License-Identifier: Apache-2.0
"""What a node remembers: files from which it serves again after a restart, without the API.

A state directory contains::

    programs/<service>.json    {"revision": ..., "program": {...}}
    revision                   the revision up to which the programs are complete

Each file is replaced as a whole: a reader, or a node after a power failure, finds the previous
content or the new one. A file that is damaged anyway is reported and ignored.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from oslo_log import log

from poppy.edge.program import Program

LOG = log.getLogger(__name__)

_SUFFIX = ".json"
_SAFE = re.compile(r"[0-9A-Za-z-]{1,64}")


class Stored(NamedTuple):
    """A program, and the revision that published it."""

    revision: int
    program: Program


class State:
    """The state directory of a node. One agent writes it; other processes may read it."""

    def __init__(self, directory: Path) -> None:
        self._programs = directory / "programs"
        self._revision = directory / "revision"

    def create(self) -> None:
        """Create the directory, for this user only, if there is none."""
        self._programs.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._programs.mkdir(mode=0o700, exist_ok=True)

    @property
    def revision(self) -> int:
        """The revision up to which the programs are complete; 0 if that is unknown."""
        try:
            return max(0, int(self._revision.read_text("ascii")))
        except FileNotFoundError:
            return 0
        except ValueError as exc:
            LOG.error("%s is damaged: %s", self._revision, exc)
            return 0

    @revision.setter
    def revision(self, revision: int) -> None:
        _replace(self._revision, str(revision))

    def programs(self) -> Iterator[Stored]:
        """Return the stored programs, in the order of their services' IDs."""
        for path in sorted(self._programs.glob(f"*{_SUFFIX}")):
            try:
                document = json.loads(path.read_bytes())
                stored = Stored(int(document["revision"]), Program.from_dict(document["program"]))
                if stored.program.service_id != path.name.removesuffix(_SUFFIX):
                    raise ValueError("it is the program of another service")
            except FileNotFoundError:
                continue  # Removed since.
            except (KeyError, TypeError, ValueError) as exc:
                LOG.error("Ignoring %s, which is damaged: %s", path, exc)
                continue
            yield stored

    def put(self, revision: int, program: Program) -> None:
        """Store a program in place of the service's previous one."""
        document = {"revision": revision, "program": program.to_dict()}
        _replace(self._path(program.service_id), json.dumps(document))

    def delete(self, service_id: str) -> None:
        """Delete a service's program; do nothing if there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._path(service_id).unlink()
            _sync(self._programs)

    def _path(self, service_id: str) -> Path:
        if not _SAFE.fullmatch(service_id):
            raise ValueError(f"{service_id!r:.80} is no service ID")
        return self._programs / f"{service_id}{_SUFFIX}"


def _replace(path: Path, text: str) -> None:
    """Replace a file as a whole, so that it survives a power failure.

    Raises:
        OSError: the file keeps its content.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
