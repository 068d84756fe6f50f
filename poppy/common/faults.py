# SPDX-License-Identifier: Apache-2.0
"""Log expected faults in one line, without a traceback.

Examples are a lost claim, a wiped job board, a full disk and an unreachable server. The code
handles them correctly, and the tracebacks of libraries such as TaskFlow only hide the cause.
Faults are recognized by class name, so this module imports none of these libraries.
"""

import errno
import logging
import sys
import time

#: Expected exceptions as ``module.Class``; subclasses count as well.
_CLASSES = frozenset(
    {
        "poppy.common.errors.DriverError",
        "poppy.common.errors.NotRunnable",
        "poppy.common.errors.Unavailable",
        "taskflow.exceptions.JobFailure",
        "taskflow.exceptions.NotFound",
        "taskflow.exceptions.UnclaimableJob",
        "kazoo.exceptions.KazooException",
        "kazoo.exceptions.ZookeeperError",
        "kazoo.exceptions.ConnectionClosedError",
        "kazoo.handlers.utils.KazooTimeoutError",
    }
)
#: PEP 249's names, in any database driver, for errors outside the program.
_DATABASE = frozenset({"OperationalError", "InterfaceError"})
_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

#: Seconds between two messages that the log can't be written.
_PAUSE = 60.0


def is_expected(error: BaseException) -> bool:
    """Return whether an exception comes from an external fault, not from a bug."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    kinds = type(error).__mro__
    if any(kind.__name__ in _DATABASE for kind in kinds):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _CLASSES for kind in kinds)


class OneLine(logging.Filter):
    """Replace the traceback of an expected fault by the error's name and message.

    The level is lowered to WARNING. ERROR is for what needs an operator's attention; a lasting
    fault has a metric and an alert.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record if it reports an expected fault. All records pass."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not is_expected(error):
            return True
        words = " ".join(str(error).split())
        record.msg = f"{record.getMessage()}: {type(error).__name__}: {words}"
        record.args = ()
        record.exc_info = record.exc_text = None
        if record.levelno > logging.WARNING:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class QuietHandlerErrors:
    """A replacement for ``handleError`` that writes one line to stderr once in a while.

    While a disk is full, Python's own prints a long traceback for every record.

    Args:
        handler: the handler. It still handles other errors, such as a wrong log call, itself.
    """

    def __init__(self, handler: logging.Handler) -> None:
        self._other = handler.handleError
        self._next = 0.0

    def __call__(self, record: logging.LogRecord) -> None:
        """Handle an error like ``Handler.handleError``; called inside an ``except`` block."""
        error = sys.exc_info()[1]
        if error is None or not is_expected(error):
            self._other(record)
            return
        now = time.monotonic()
        if now >= self._next and sys.stderr is not None:
            self._next = now + _PAUSE
            sys.stderr.write(f"The log can't be written: {error}\n")


def keep_short(handler: logging.Handler) -> None:
    """Make a handler write one line for an expected fault. Idempotent."""
    if not any(isinstance(it, OneLine) for it in handler.filters):
        handler.addFilter(OneLine())
        handler.handleError = QuietHandlerErrors(handler)  # type: ignore[method-assign]
