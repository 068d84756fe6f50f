# SPDX-License-Identifier: Apache-2.0
"""Calls of drivers, in threads that can be abandoned.

A thread can't be stopped from outside. So a call that does not return is *abandoned*: its caller
continues, and the thread stays until the call ends, if ever. These threads are counted. If there
are too many, the worker process ends and is restarted without them.
"""

import contextvars
import functools
import queue
import threading
from collections.abc import Callable

from oslo_log import log

from poppy.common import errors

LOG = log.getLogger(__name__)


class Interrupted(errors.PoppyError):
    """The worker is stopping and does not wait for the call."""


class _Call:
    """A running call. The lock of :class:`CallPool` guards its fields."""

    def __init__(self, work: Callable[[], None], late: Callable[[], None]) -> None:
        self.work = work
        self.late = late
        self.error: Exception | None = None
        self.finished = False
        self.abandoned = False
        self.wake = threading.Event()


class CallPool:
    """Runs calls in a pool of threads that grows as needed. Idle threads are reused.

    (Drivers keep connections per thread.)

    Args:
        limit: how many calls may hang.
        too_many: called when that limit is reached.
    """

    def __init__(self, limit: int, too_many: Callable[[], None]) -> None:
        self._limit = limit
        self._too_many = too_many
        self._lock = threading.Lock()
        self._waited_for: set[_Call] = set()
        self._idle: list[queue.SimpleQueue[_Call | None]] = []
        self._interrupted = False
        self._hung = 0

    @property
    def hung(self) -> int:
        """The number of abandoned calls that have not ended."""
        return self._hung

    def run(self, work: Callable[[], None], timeout: float, late: Callable[[], None]) -> None:
        """Run ``work`` in another thread and wait for it.

        Args:
            timeout: seconds to wait.
            late: run in the call's thread when an abandoned call ends after all.

        Raises:
            TimedOut: the call did not end in time.
            Interrupted: see :meth:`interrupt`.
            Exception: raised by ``work``.
        """
        # Run in the caller's context, so that traces belong to the caller's span.
        call = _Call(functools.partial(contextvars.copy_context().run, work), late)
        self._begin(call)
        call.wake.wait(timeout)
        with self._lock:
            self._waited_for.discard(call)
            call.abandoned = not call.finished
            interrupted = self._interrupted
            if call.abandoned and not interrupted:
                self._hung += 1
            too_many = self._hung >= self._limit
        if call.error is not None:
            raise call.error
        if not call.abandoned:
            return
        if interrupted:
            raise Interrupted("the worker stops")
        LOG.error("A driver call does not end; it is abandoned after %.0f s", timeout)
        if too_many:
            self._too_many()
        raise errors.TimedOut(f"no answer within {timeout:g} s")

    def interrupt(self) -> None:
        """Stop waiting for any call, because the process is about to end."""
        with self._lock:
            self._interrupted = True
            for call in self._waited_for:
                call.wake.set()

    def close(self) -> None:
        """End the idle threads; the others end with the process."""
        with self._lock:
            idle, self._idle = self._idle, []
        for inbox in idle:
            inbox.put(None)

    def _begin(self, call: _Call) -> None:
        with self._lock:
            if self._interrupted:
                raise Interrupted("the worker stops")
            self._waited_for.add(call)
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = queue.SimpleQueue()
            # A daemon thread does not keep the process alive.
            threading.Thread(
                target=self._serve, args=(inbox,), name="driver call", daemon=True
            ).start()
        inbox.put(call)

    def _serve(self, inbox: "queue.SimpleQueue[_Call | None]") -> None:
        while (call := inbox.get()) is not None:
            try:
                call.work()
            except Exception as exc:  # noqa: BLE001 - raised again in the caller's thread
                call.error = exc
            with self._lock:
                call.finished = True
                abandoned = call.abandoned
                if abandoned and not self._interrupted:
                    self._hung -= 1
            call.wake.set()
            if abandoned:
                self._end_late(call)
            del call  # and all it refers to, while this thread is idle
            with self._lock:
                self._idle.append(inbox)

    @staticmethod
    def _end_late(call: _Call) -> None:
        try:
            call.late()
        except Exception:  # noqa: BLE001 - there is no caller to raise it to
            LOG.exception("Could not compensate for a late call")
