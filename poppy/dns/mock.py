# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``mock``: a zone in a file, for tests and for trying out Poppy."""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from oslo_config import cfg

from poppy.common.errors import PermanentError, RetryableError, succeeds
from poppy.dns.base import COMMON_OPTS, DNSDriver, difference
from poppy.dns.steering import Policy
from poppy.model.names import impossible


class MockDNS(DNSDriver):
    """Store CNAMEs as a JSON object, target by name; serve no queries.

    With ``file``, any number of processes share them. Otherwise they are in this process's memory.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        cfg.StrOpt(
            "file",
            help="JSON file of the CNAMEs. It is created if missing, with a .lock file next to "
            "it. Unset: the CNAMEs are in memory and visible only to this process.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        self._memory: dict[str, str] = {}
        self._lock = threading.Lock()

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs if they are possible in DNS; see :meth:`DNSDriver.ensure`."""
        for name in (*cnames, *cnames.values()):
            reason = impossible(name)
            if reason:
                raise PermanentError(f"{name} can't be in DNS: {reason}")
        with self._zone() as zone:
            zone.update(cnames)

    def differences(self, policies: Mapping[str, Policy]) -> Sequence[str]:
        """Compare the CNAMEs; see :meth:`DNSDriver.differences`."""
        found = (difference(n, self.resolve(n), it[0].name) for n, it in policies.items())
        return [it for it in found if it]

    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs; see :meth:`DNSDriver.remove`."""
        with self._zone() as zone:
            for name in names:
                zone.pop(name, None)

    def health(self) -> bool:
        """Return whether the CNAMEs can be read."""
        return succeeds(lambda: self.resolve("health"))

    def resolve(self, name: str) -> str | None:
        """Return the target of a name, for tests and demos."""
        if not self.options.file:
            return self._memory.get(name)
        try:
            return self._read(Path(self.options.file)).get(name)
        except (OSError, ValueError) as exc:
            raise RetryableError(f"{self.options.file}: {exc}") from exc

    @contextlib.contextmanager
    def _zone(self) -> Iterator[dict[str, str]]:
        """Lock the zone, yield all CNAMEs for changes, and save them at the end."""
        if not self.options.file:
            with self._lock:
                yield self._memory
            return
        path = Path(self.options.file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each thread opens the lock file itself, so the lock also works between threads.
            with open(f"{path}.lock", "w", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                zone = self._read(path)
                yield zone
                # Readers take no lock; they see either the old file or the new one.
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
