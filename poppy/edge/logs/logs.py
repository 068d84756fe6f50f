# SPDX-License-Identifier: Apache-2.0
"""The threads that take access logs from HAProxy, and deliver them.

Both may be killed at any step. A thread of its own reads the pipe, so that it does not fill up
while the agent waits for the API, or while a file is compressed.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from oslo_log import log

from poppy.edge.agent.client import Client
from poppy.edge.logs.delivery import Delivery
from poppy.edge.logs.pipe import Pipe
from poppy.edge.logs.spool import Spool

LOG = log.getLogger(__name__)

#: Seconds between looks for complete files, and after an unexpected error.
_PAUSE = 1.0
#: Maximum seconds until the reader notices that it is to stop.
_NAP = 0.2
#: A message that is repeated is logged once in this many seconds.
_QUIET = 60.0
_MEGABYTE = 1024 * 1024


class LogFigures(NamedTuple):
    """What metrics say of access logs.

    Attributes:
        lines: that were read since the agent's start.
        lost: lines that were dropped since then.
        delivered: objects since then.
        waiting: bytes of files that are not delivered yet.
        overdue: seconds since when the oldest complete file is due; 0 if none is.
    """

    lines: int
    lost: int
    delivered: int
    waiting: int
    overdue: float


class AccessLogs:
    """The access logs of a node.

    Args:
        options: the group ``[agent]``.
        client: a client of the nodes' API for this object alone.
        directory: of the files.
        pipe: HAProxy's pipe.

    Raises:
        OSError: the pipe can't be opened, or the files can't be read.
    """

    def __init__(self, options: Any, client: Client, directory: Path, pipe: Path) -> None:
        self._pipe = Pipe(pipe)
        limit = options.log_spool_size * _MEGABYTE
        self._spool = Spool(directory, limit, options.log_period)
        self._delivery = Delivery(client, self._spool, self._complain, options.log_ca_file)
        self._quiet: dict[str, float] = {}
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._repeat, args=(self._take,), daemon=True)
        self._sender = threading.Thread(target=self._repeat, args=(self._send,), daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._reader.start()
        self._sender.start()

    def stop(self) -> None:
        """Stop reading once the lines that were read are in files. A delivery is broken off."""
        self._ended.set()
        self._reader.join()
        while self._pipe.is_within_line and self._take():
            pass
        self._pipe.close()

    def figures(self) -> LogFigures:
        """Return what metrics say."""
        return LogFigures(
            lines=self._spool.lines + self._pipe.damaged,
            lost=self._spool.lost + self._pipe.damaged,
            delivered=self._delivery.delivered,
            waiting=self._spool.size,
            overdue=self._spool.overdue,
        )

    def _repeat(self, step: Callable[[], object]) -> None:
        while not self._ended.is_set():
            try:
                step()
            except Exception:
                LOG.exception("Internal error in access logs")
                self._ended.wait(_PAUSE)

    def _take(self) -> bool:
        """Move lines from the pipe to files; return whether anything has arrived."""
        found = self._pipe.read(_NAP)
        for (project_id, service_id), lines in (found or {}).items():
            try:
                self._spool.add(project_id, service_id, lines)
            except OSError as exc:
                self._complain("Access logs are lost: %s", exc)
        return found is not None

    def _send(self) -> None:
        if not self._delivery.turn():
            self._ended.wait(_PAUSE)

    def _complain(self, message: str, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._quiet.get(message, now):
            self._quiet[message] = now + _QUIET
            LOG.error(message, error)
