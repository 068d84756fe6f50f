# SPDX-License-Identifier: Apache-2.0
"""Calls of drivers, in threads that nobody has to wait for.

A thread can't be ended from outside. So a call that does not come back is *abandoned*: whoever
waited goes on, the thread stays until the call ends, if it ever does. How many such threads there
are is counted; too many of them end the worker, which is then started anew without them.
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
    """The worker stops now, and does not wait for the call."""


class _Call:
    """A call under way; its fields are guarded by the lock of :class:`Calls`."""

    def __init__(self, work: Callable[[], None], late: Callable[[], None]) -> None:
        self.work = work
        self.late = late
        self.error: Exception | None = None
        self.finished = False
        self.abandoned = False
        self.wake = threading.Event()


class Calls:
    """Runs calls one by one in each of as many threads as are needed; threads are used again.

    (Drivers keep connections by thread.)

    Args:
        limit: how many calls may hang.
        too_many: called when more do.
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
        """How many abandoned calls have not ended so far."""
        return self._hung

    def run(self, work: Callable[[], None], timeout: float, late: Callable[[], None]) -> None:
        """Do ``work`` in another thread and wait for it.

        Args:
            timeout: seconds to wait.
            late: done, in the thread of the call, when the call ends after all once nobody
                waits for it any more.

        Raises:
            TimedOut: it did not end in time.
            Interrupted: see :meth:`interrupt`.
            Exception: what ``work`` raised.
        """
        # It goes on in the caller's context, so that what it traces belongs to the caller's span.
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
        LOG.error("A driver's call does not end; it is left behind after %.0f s", timeout)
        if too_many:
            self._too_many()
        raise errors.TimedOut(f"no answer within {timeout:g} s")

    def interrupt(self) -> None:
        """Have nobody wait any more; for a process that is about to end."""
        with self._lock:
            self._interrupted = True
            for call in self._waited_for:
                call.wake.set()

    def close(self) -> None:
        """End the threads that have nothing to do; the others end with the process."""
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
            # A daemon: the process can end without it.
            threading.Thread(
                target=self._serve, args=(inbox,), name="driver call", daemon=True
            ).start()
        inbox.put(call)

    def _serve(self, inbox: "queue.SimpleQueue[_Call | None]") -> None:
        while (call := inbox.get()) is not None:
            try:
                call.work()
            except Exception as exc:  # noqa: BLE001 - raised again where it is waited for
                call.error = exc
            with self._lock:
                call.finished = True
                abandoned = call.abandoned
                if abandoned and not self._interrupted:
                    self._hung -= 1
            call.wake.set()
            if abandoned:
                self._end_late(call)
            del call  # nor what it refers to, while this thread waits for another
            with self._lock:
                self._idle.append(inbox)

    @staticmethod
    def _end_late(call: _Call) -> None:
        try:
            call.late()
        except Exception:  # noqa: BLE001 - nobody waits for it
            LOG.exception("What a late call has done could not be seen to")
