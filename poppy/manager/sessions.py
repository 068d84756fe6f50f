# SPDX-License-Identifier: Apache-2.0
"""Dashboard sessions that were ended before their time.

A session is kept in the browser's cookie alone. One that is signed out is listed here, by a
digest, until it would have ended by itself, so that every process refuses it at once.
"""

import hashlib
import time
from collections.abc import Callable

from poppy.common import errors
from poppy.storage.base import Storage

#: The document that holds the list: {digest: seconds since 1970}.
NAME = "dashboard-ended-sessions"
#: Tries to write while other processes write as well.
_TRIES = 20


class SessionsManager:
    """Sessions that have ended, as all processes know them."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock

    def end(self, cookie: str, lifetime: int) -> None:
        """End a session for good.

        Args:
            cookie: its value; valid, so that a stranger can't fill the list.
            lifetime: seconds for which the cookie could be good at most.

        Raises:
            Unavailable: storage does not answer; the session goes on.
        """
        for _ in range(_TRIES):
            known = self._storage.documents.get(NAME)
            now = self._clock()
            ended = {key: until for key, until in (known.content or {}).items() if until > now}
            ended[_digest(cookie)] = int(now) + lifetime
            try:
                self._storage.documents.put(NAME, ended, known.version)
            except errors.Changed:
                continue
            return
        raise errors.Unavailable("The session could not be ended; please try again")

    def has_ended(self, cookie: str) -> bool:
        """Whether a session was ended.

        Raises:
            Unavailable: storage does not answer.
        """
        ended = self._storage.documents.get(NAME).content or {}
        return _digest(cookie) in ended


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
