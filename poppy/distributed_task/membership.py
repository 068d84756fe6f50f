# SPDX-License-Identifier: Apache-2.0
"""A worker's heartbeat, and the number of workers alive."""

import datetime
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.model.membership import Load, Worker
from poppy.storage.membership import MembershipStore

LOG = log.getLogger(__name__)

#: A worker that misses this many consecutive heartbeats counts as dead.
MISSED = 3


def alive_since(interval: float) -> datetime.datetime:
    """Return the time since which a live worker must have been seen.

    Args:
        interval: seconds between heartbeats.
    """
    now = datetime.datetime.now(datetime.UTC)
    return now - datetime.timedelta(seconds=MISSED * interval)


def is_first(workers: Sequence[Worker], worker_id: str) -> bool:
    """Return whether a worker is the one to act for all live ones."""
    return min((it.worker_id for it in workers), default=None) == worker_id


class Heartbeat:
    """The heartbeat of one worker.

    Args:
        load: returns the load to report.
        interval: seconds between heartbeats.

    Attributes:
        workers: how many workers, including this one, were alive at the last heartbeat.
        alive: those workers; empty until the first heartbeat.
    """

    def __init__(
        self,
        store: MembershipStore,
        worker: Worker,
        load: Callable[[], Load],
        interval: float,
    ) -> None:
        self.workers = 1
        self.alive: Sequence[Worker] = ()
        self._store = store
        self._worker = worker
        self._load = load
        self._interval = interval

    def run(self, ended: threading.Event) -> None:
        """Send heartbeats until ``ended``, then sign off."""
        self._beat()
        while not ended.wait(self._interval):
            self._beat()
        try:
            self._store.leave(self._worker.worker_id)
        except errors.Unavailable as exc:
            LOG.info("Could not sign off: %s", exc)

    def _beat(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._worker = replace(self._worker, seen_at=now, **self._load()._asdict())
        try:
            self._store.beat(self._worker)
            self.alive = self._store.workers(alive_since(self._interval))
            self.workers = max(1, len(self.alive))
        except errors.Unavailable as exc:
            LOG.warning("Could not store a heartbeat: %s", exc)
        except Exception:  # noqa: BLE001 - without this thread the worker counts as dead
            LOG.exception("The heartbeat failed; trying again")
