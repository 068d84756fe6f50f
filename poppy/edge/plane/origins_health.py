# SPDX-License-Identifier: Apache-2.0
"""Health checks of origins that have a backup, or are one.

A check is a request to HAProxy's side of the origins, so it resolves names, verifies certificates
and signs as any other request does. HAProxy skips the origins in a map, which this part keeps. If
the agent does not run, HAProxy goes by the last known state.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_log import log

from poppy.common.errors import PermanentError
from poppy.edge.errors import Down
from poppy.edge.program import Program
from poppy.model.document import origins as model
from poppy.model.document.origins import OriginOptions

LOG = log.getLogger(__name__)

_FAILURES = 2  # Failed checks in a row after which an origin is skipped.
_MARGIN = 0.5  # Seconds for HAProxy itself.
_FIRST = 0.5  # Seconds in which the first checks are made.


@dataclass(frozen=True, slots=True)
class Check:
    """A health check.

    Attributes:
        key: the key in HAProxy's map of sick origins.
        request: the whole request.
        interval: seconds between two checks.
        timeout: seconds to wait for a status.
        statuses: those of an origin that works.
    """

    key: str
    request: str
    interval: float
    timeout: float
    statuses: tuple[int, ...]


def checks(program: Program, entries: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of a program.

    Args:
        program: the program.
        entries: the first three parts of the entry of each origin.
    """
    options = [it.options or OriginOptions() for it in program.origins]
    backed = {it.backup_of for it in options}
    for number, (own, entry) in enumerate(zip(options, entries, strict=True)):
        found = own.health_check
        if found is None or not (own.backup_of or (own.name and own.name in backed)):
            continue
        fields = {
            "Host": program.domains[0] if program.domains else program.origins[number].host,
            "User-Agent": "poppy-edge",
            "Connection": "close",
            "x-p-service": program.service_id,
            "x-p-origin": f"{entry};",
            "x-p-turn": "check",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        yield Check(
            f"{program.service_id}/{number}",
            f"GET {found.path} HTTP/1.1\r\n{head}\r\n",
            found.interval or model.DEFAULT_INTERVAL,
            found.timeout or model.DEFAULT_TIMEOUT,
            found.status or model.DEFAULT_HEALTHY,
        )


class Health:
    """Checks origins in the background.

    Args:
        run_directory: the directory of HAProxy's sockets.
        publish: tells HAProxy whether an origin is sick, by key. It may raise Down.
    """

    def __init__(self, run_directory: Path, publish: Callable[[str, bool], None]) -> None:
        self._socket = run_directory / "origin.sock"
        self._publish = publish
        self._services: dict[str, tuple[Check, ...]] = {}
        self._tasks: dict[str, Sequence[asyncio.Task[None]]] = {}
        self._sick: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, service_id: str, found: tuple[Check, ...]) -> None:
        """Check a service in this way from now on, in place of its earlier checks."""
        if self._services.get(service_id, ()) == found:
            return
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="health", daemon=True).start()
        self._services[service_id] = found
        if not found:
            del self._services[service_id]
        self._loop.call_soon_threadsafe(self._replace, service_id, found)

    def sick(self) -> Sequence[str]:
        """Return the keys of the origins that are skipped."""
        return sorted(self._sick)

    def _replace(self, service_id: str, found: tuple[Check, ...]) -> None:
        for task in self._tasks.pop(service_id, ()):
            task.cancel()
        loop = asyncio.get_running_loop()
        if found:
            self._tasks[service_id] = [loop.create_task(self._watch(it)) for it in found]
        kept = {it.key for it in found}
        for key in [it for it in self._sick if it.startswith(f"{service_id}/")]:
            if key not in kept:
                self._set(key, is_sick=False)

    async def _watch(self, check: Check) -> None:
        failures = 0
        await asyncio.sleep(random.uniform(0, min(_FIRST, check.interval)))  # noqa: S311
        while True:
            started = asyncio.get_running_loop().time()
            reason = await self._problem(check)
            failures = failures + 1 if reason else 0
            is_sick = check.key in self._sick
            if reason and failures >= _FAILURES and not is_sick:
                LOG.warning("Origin %s fails its health check: %s", check.key, reason)
                self._set(check.key, is_sick=True)
            elif not reason and is_sick:
                LOG.info("Origin %s passes its health check again", check.key)
                self._set(check.key, is_sick=False)
            passed = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(0.0, check.interval - passed))

    def _set(self, key: str, *, is_sick: bool) -> None:
        (self._sick.add if is_sick else self._sick.discard)(key)
        try:
            self._publish(key, is_sick)
        except (Down, PermanentError) as exc:
            # The plane is loaded again, with all sick origins, once HAProxy runs.
            LOG.warning("The health of origin %s is not published: %s", key, exc)

    async def _problem(self, check: Check) -> str:
        """Check an origin; return what is wrong, or an empty text."""
        try:
            async with asyncio.timeout(check.timeout + _MARGIN):
                status = await self._status(check.request)
        except TimeoutError:
            return "no response in time"
        except (OSError, ValueError) as exc:
            return f"no response: {exc}"
        return "" if status in check.statuses else f"status {status}"

    async def _status(self, request: str) -> int:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(request.encode("ascii"))
            line = await reader.readline()
            return int(line.split()[1]) if line.startswith(b"HTTP/1.") else 0
        except IndexError:
            return 0
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
