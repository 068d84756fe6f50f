# SPDX-License-Identifier: Apache-2.0
"""What a worker says of itself, and how many workers it sees."""

import datetime
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.model.fleet import Load, Worker
from poppy.storage.fleet import FleetStore

LOG = log.getLogger(__name__)

#: A worker that has missed so many signs of life in a row counts as dead.
MISSED = 3


def alive_since(interval: float) -> datetime.datetime:
    """Since when a worker must have been seen to count as alive.

    Args:
        interval: seconds between signs of life.
    """
    now = datetime.datetime.now(datetime.UTC)
    return now - datetime.timedelta(seconds=MISSED * interval)


class Presence:
    """Signs of life of one worker.

    Args:
        load: gives what is to be said anew each time.
        interval: seconds between signs.

    Attributes:
        workers: how many workers were alive at the last look, this one included.
        alive: those workers; empty until the first look.
    """

    def __init__(
        self,
        store: FleetStore,
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
        """Give signs until ``ended``, and then leave."""
        self._beat()
        while not ended.wait(self._interval):
            self._beat()
        try:
            self._store.leave(self._worker.worker_id)
        except errors.Unavailable as exc:
            LOG.info("Could not say that this worker leaves: %s", exc)

    def _beat(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._worker = replace(self._worker, seen_at=now, **self._load()._asdict())
        try:
            self._store.beat(self._worker)
            self.alive = self._store.workers(alive_since(self._interval))
            self.workers = max(1, len(self.alive))
        except errors.Unavailable as exc:
            LOG.warning("Could not give a sign of life: %s", exc)
        except Exception:  # noqa: BLE001 - without this thread the worker counts as dead
            LOG.exception("Giving a sign of life failed; trying again")
