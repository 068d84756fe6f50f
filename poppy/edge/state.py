# SPDX-License-Identifier: Apache-2.0
"""What a node remembers: files from which it serves again after a restart, without the API.

A state directory contains::

    programs/<service>.json    {"revision": ..., "program": {...}}
    revision                   the revision up to which the programs are complete
    failures.json              {"<service>": {"revision": ..., "reason": ...}}
    traffic/                   what was counted and not reported yet (poppy.edge.traffic)
    logs/                      access logs that are not delivered yet (poppy.edge.logs)

Each file is replaced as a whole: a reader, or a node after a power failure, finds the previous
content or the new one. A file that is damaged anyway is reported and ignored.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from oslo_log import log

from poppy.edge import files
from poppy.edge.program import Program
from poppy.model.edge import Failure

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
        self._failures = directory / "failures.json"
        self.traffic = directory / "traffic"
        self.logs = directory / "logs"

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
        files.replace(self._revision, str(revision))

    @property
    def failures(self) -> Mapping[str, Failure]:
        """The last change of each service that has been refused since its last program."""
        try:
            document = json.loads(self._failures.read_bytes())
            return {
                str(service): Failure(int(it["revision"]), str(it["reason"]))
                for service, it in document.items()
            }
        except FileNotFoundError:
            return {}
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            LOG.error("Ignoring %s, which is damaged: %s", self._failures, exc)
            return {}

    @failures.setter
    def failures(self, failures: Mapping[str, Failure]) -> None:
        document = {service: failure._asdict() for service, failure in failures.items()}
        files.replace(self._failures, json.dumps(document))

    def services(self) -> set[str]:
        """Return the IDs of services that have a file, which may be damaged."""
        names = (it.name.removesuffix(_SUFFIX) for it in self._programs.glob(f"*{_SUFFIX}"))
        return {name for name in names if self.is_service(name)}

    @staticmethod
    def is_service(service_id: str) -> bool:
        """Return whether a service may have this ID."""
        return _SAFE.fullmatch(service_id) is not None

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
        with self.replacing(revision, program):
            pass

    @contextlib.contextmanager
    def replacing(self, revision: int, program: Program) -> Iterator[None]:
        """Store a program in place of the previous one once the block ends, unless it raises.

        The program is on disk before the block begins.

        Raises:
            OSError: the service keeps its previous program.
        """
        document = {"revision": revision, "program": program.to_dict()}
        with files.replacing(self._path(program.service_id), json.dumps(document)):
            yield

    def delete(self, service_id: str) -> None:
        """Delete a service's program; do nothing if there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._path(service_id).unlink()
            files.sync(self._programs)

    def _path(self, service_id: str) -> Path:
        if not self.is_service(service_id):
            raise ValueError(f"{service_id!r:.80} is no service ID")
        return self._programs / f"{service_id}{_SUFFIX}"
