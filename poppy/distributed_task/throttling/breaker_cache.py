# SPDX-License-Identifier: Apache-2.0
"""Circuit breakers as one worker knows them: read once a second, written when one changes."""

import threading
import time
from collections.abc import Callable

from oslo_log import log

from poppy.common import errors
from poppy.model.fleet import Breaker
from poppy.storage.fleet import FleetStore

LOG = log.getLogger(__name__)

#: Seconds for which what was read is believed.
FRESH = 1.0


class BreakerCache:
    """All breakers. While storage does not answer, they stay as they were."""

    def __init__(self, store: FleetStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Breaker] = {}
        self._stale_at = float("-inf")
        self._reading = threading.Lock()

    def get(self, driver: str) -> Breaker:
        """The breaker of a driver, as it was a second ago or later."""
        # One thread reads; the others use what was known before, and wait for nothing.
        if self._clock() >= self._stale_at and self._reading.acquire(blocking=False):
            try:
                self._read()
            finally:
                self._reading.release()
        return self._known.get(driver) or Breaker(driver)

    def swap(self, breaker: Breaker) -> bool:
        """Store a breaker made from what :meth:`get` gave; False if another was quicker."""
        try:
            stored = self._store.swap(breaker)
        except errors.Unavailable as exc:
            LOG.warning("Circuit breaker of %s could not be stored: %s", breaker.driver, exc)
            return False
        if stored:
            self._known = {**self._known, breaker.driver: breaker}
        else:
            self._stale_at = float("-inf")
        return stored

    def _read(self) -> None:
        try:
            found = self._store.breakers()
        except errors.Unavailable as exc:
            LOG.warning("Circuit breakers could not be read: %s", exc)
        else:
            self._known = {breaker.driver: breaker for breaker in found}
        self._stale_at = self._clock() + FRESH
