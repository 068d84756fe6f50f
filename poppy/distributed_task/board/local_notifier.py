# SPDX-License-Identifier: Apache-2.0
"""Notifications of new jobs between the job boards of one process."""

import os
import threading
from collections.abc import Callable


class _Posts:
    """Notifies waiters in this process when a board of this process has posted a job."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._condition = threading.Condition()
        self.count = 0
        self._listeners: list[Callable[[], None]] = []

    def listen(self, wake: Callable[[], None]) -> None:
        with self._condition:
            self._listeners.append(wake)

    def leave(self, wake: Callable[[], None]) -> None:
        with self._condition:
            if wake in self._listeners:
                self._listeners.remove(wake)

    def note(self) -> None:
        with self._condition:
            self.count += 1
            self._condition.notify_all()
            listeners = list(self._listeners)
        for wake in listeners:
            wake()

    def wait_beyond(self, count: int, timeout: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self.count != count, timeout)


POSTS = _Posts()
# A thread may hold the lock during a fork, and the child does not have that thread.
os.register_at_fork(after_in_child=POSTS.reset)
