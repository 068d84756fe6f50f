# SPDX-License-Identifier: Apache-2.0
"""Revoked dashboard sessions.

A session exists only in the browser's cookie. A signed-out session is listed here by its digest
until it would have expired, so that every process refuses it at once.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from poppy.storage.base import Storage

#: The document with the list: {digest: expiry in seconds since 1970}.
NAME = "dashboard-ended-sessions"


class SessionsManager:
    """The ended sessions, shared by all processes."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock

    def end(self, session: str, lifetime: int) -> None:
        """End a session permanently.

        Args:
            session: the token, or the claim that the cookie proves; the caller has validated it,
                so that an attacker can't fill the list.
            lifetime: the maximum remaining lifetime of the session, in seconds.

        Raises:
            Unavailable: storage does not answer; the session stays valid.
        """
        now = self._clock()

        def with_session(content: Any) -> dict[str, float]:
            ended = {key: until for key, until in (content or {}).items() if until > now}
            return {**ended, _digest(session): int(now) + lifetime}

        self._storage.documents.change(NAME, with_session)

    def has_ended(self, session: str) -> bool:
        """Whether a session has been ended.

        Raises:
            Unavailable: storage does not answer.
        """
        ended = self._storage.documents.get(NAME).content or {}
        return _digest(session) in ended


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "replace")).hexdigest()
