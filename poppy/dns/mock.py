# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``mock``: a zone that exists only as a file, for tests and for trying out."""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from oslo_config import cfg

from poppy.common.errors import PermanentError, RetryableError
from poppy.dns.base import COMMON_OPTS, DNSDriver
from poppy.model.names import impossible


class MockDNS(DNSDriver):
    """Keeps CNAMEs as a JSON object, target by name, and answers no query.

    With ``file``, any number of processes share it; without, it is in the memory of this one.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        cfg.StrOpt(
            "file",
            help="The JSON file with the CNAMEs; made when missing, with a .lock file beside "
            "it. Unset: in memory, seen by this process only.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self._memory: dict[str, str] = {}
        self._lock = threading.Lock()

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs, if DNS can have them; see :meth:`DNSDriver.ensure`."""
        for name in (*cnames, *cnames.values()):
            reason = impossible(name)
            if reason:
                raise PermanentError(f"{name} can't be in DNS: {reason}")
        with self._zone() as zone:
            zone.update(cnames)

    def remove(self, names: Sequence[str]) -> None:
        """Drop the CNAMEs; see :meth:`DNSDriver.remove`."""
        with self._zone() as zone:
            for name in names:
                zone.pop(name, None)

    def health(self) -> bool:
        """Whether the CNAMEs can be read."""
        try:
            self.resolve("health")
        except RetryableError:
            return False
        return True

    def resolve(self, name: str) -> str | None:
        """Where a name points, for tests and demos."""
        if not self.options.file:
            return self._memory.get(name)
        try:
            return self._read(Path(self.options.file)).get(name)
        except (OSError, ValueError) as exc:
            raise RetryableError(f"{self.options.file}: {exc}") from exc

    @contextlib.contextmanager
    def _zone(self) -> Iterator[dict[str, str]]:
        """All CNAMEs, to be changed by nobody else meanwhile; kept at the end."""
        if not self.options.file:
            with self._lock:
                yield self._memory
            return
        path = Path(self.options.file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Threads each open the file themselves, so that the lock is between them as well.
            with open(f"{path}.lock", "w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                zone = self._read(path)
                yield zone
                # A reader, who takes no lock, sees the old file or the new one.
                temporary = Path(f"{path}.new")
                temporary.write_text(json.dumps(zone, indent=1, sort_keys=True), encoding="utf-8")
                os.replace(temporary, path)
        except (OSError, ValueError) as exc:
            raise RetryableError(f"{path}: {exc}") from exc

    @staticmethod
    def _read(path: Path) -> dict[str, str]:
        try:
            zone: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return zone
