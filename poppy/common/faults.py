# SPDX-License-Identifier: Apache-2.0
"""Faults that an operator has to expect: they get one line in the log, and no traceback.

A claim is lost, the job board was wiped, a disk is full, a server is away: the code that handles
it is right, and a traceback, which libraries such as TaskFlow add, hides what happened. This tells
such faults by the names of their classes, so that it needs none of these libraries.
"""

import errno
import logging
import sys
import time

#: Exceptions that are expected, as ``module.Class``; so are those that derive from them.
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
#: The names that PEP 249 gives to what is not the program's fault, in any database driver.
_DATABASE = frozenset({"OperationalError", "InterfaceError"})
_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

#: Seconds between two complaints that the log can't be written.
_PAUSE = 60.0


def is_expected(error: BaseException) -> bool:
    """Whether an exception comes from a fault outside, and not from a mistake in the code."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    kinds = type(error).__mro__
    if any(kind.__name__ in _DATABASE for kind in kinds):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _CLASSES for kind in kinds)


class OneLine(logging.Filter):
    """Replaces the traceback of an expected fault by the error's name and message.

    At WARNING at most: ERROR is for what needs somebody, who learns of a lasting fault from its
    metric and alert.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record if need be; all records pass."""
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
    """What a handler does when it can't write: a word on stderr now and then.

    Python prints a traceback of dozens of lines for each record, for as long as a disk is full.

    Args:
        handler: whose other errors, mistakes in a log call, stay as they are.
    """

    def __init__(self, handler: logging.Handler) -> None:
        self._other = handler.handleError
        self._next = 0.0

    def __call__(self, record: logging.LogRecord) -> None:
        """To stand in for ``Handler.handleError``, within its ``except``."""
        error = sys.exc_info()[1]
        if error is None or not is_expected(error):
            self._other(record)
            return
        now = time.monotonic()
        if now >= self._next and sys.stderr is not None:
            self._next = now + _PAUSE
            sys.stderr.write(f"The log can't be written: {error}\n")


def keep_short(handler: logging.Handler) -> None:
    """Have a handler write one line for an expected fault; may be repeated."""
    if not any(isinstance(it, OneLine) for it in handler.filters):
        handler.addFilter(OneLine())
        handler.handleError = QuietHandlerErrors(handler)  # type: ignore[method-assign]
