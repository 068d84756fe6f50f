# SPDX-License-Identifier: Apache-2.0
"""One worker's copy of the circuit breakers: read once a second, written on changes."""

import threading
import time
from collections.abc import Callable

from oslo_log import log

from poppy.common import errors
from poppy.model.membership import Breaker
from poppy.storage.membership import MembershipStore

LOG = log.getLogger(__name__)

#: Seconds for which cached breakers stay valid.
FRESH = 1.0


class BreakerCache:
    """All breakers. During a storage outage the cached ones stay valid."""

    def __init__(
        self, store: MembershipStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Breaker] = {}
        self._stale_at = float("-inf")
        self._reading = threading.Lock()

    def get(self, driver: str) -> Breaker:
        """Return a driver's breaker, at most a second old."""
        # One thread reads; the others use the cached breakers and do not wait.
        if self._clock() >= self._stale_at and self._reading.acquire(blocking=False):
            try:
                self._read()
            finally:
                self._reading.release()
        return self._known.get(driver) or Breaker(driver)

    def swap(self, breaker: Breaker) -> bool:
        """Store a breaker derived from :meth:`get`; return False if another was faster."""
        try:
            stored = self._store.swap(breaker)
        except errors.Unavailable as exc:
            LOG.warning("Could not store the circuit breaker of %s: %s", breaker.driver, exc)
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
            LOG.warning("Could not read the circuit breakers: %s", exc)
        else:
            self._known = {breaker.driver: breaker for breaker in found}
        self._stale_at = self._clock() + FRESH
