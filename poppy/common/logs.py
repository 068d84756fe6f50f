# SPDX-License-Identifier: Apache-2.0
"""Logging with oslo.log. Secrets are masked in everything that is written."""

import logging
import os
import re
import urllib.parse
from collections.abc import Iterable

from opentelemetry import trace
from oslo_config import cfg
from oslo_log import log

from poppy.common import errors, faults, files

MASK = "***"

#: Shorter values are not treated as secrets: masking them would garble the log.
_SHORTEST = 4

_IN_URL = re.compile(r"(?<=://)([^\s/:@'\"]*):[^\s/@'\"]+@")
#: Header fields with credentials, as printed in a list, a dictionary or an HTTP dump.
_IN_HEADER = re.compile(
    r"((?:(?:x-)?(?:auth|subject|service|storage)-token|authorization|[a-z-]*(?:api|secret)[-_]?key"
    r"|fastly-key|[a-z_]*secret)"
    r"[\"']?\s*[:=,]\s*(?:b?[\"'])?(?:(?:basic|bearer|eg1-hmac-sha256)\s+)?)[^\s\"',;)}]+",
    re.IGNORECASE,
)

#: Each of these fields contains one of these words. Searching for words is much faster than
#: matching the pattern.
_HEADER_WORDS = ("token", "authorization", "key", "secret")

_known: set[str] = set()

#: oslo.log's default formats with the trace id added; used while tracing is enabled.
_WITH_TRACE = {
    "logging_context_format_string": "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s "
    "[%(global_request_id)s %(request_id)s %(user_identity)s trace_id=%(trace_id)s] "
    "%(instance)s%(message)s",
    "logging_default_format_string": "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s "
    "[- trace_id=%(trace_id)s] %(instance)s%(message)s",
}


def setup(conf: cfg.ConfigOpts) -> None:
    """Set up logging from the configuration, in a new process or after a change.

    Only the owner and group can read a new log file.

    Raises:
        ConfigError: the log can't be written to the configured file.
    """
    if conf.tracing.enabled:
        for name, line in _WITH_TRACE.items():
            conf.set_default(name, line)
    try:
        with files.private():
            log.setup(conf, "poppy")
    except OSError as exc:
        raise errors.ConfigError(f"[DEFAULT] log_file or log_dir can't be written: {exc}") from exc
    named = (logging.getLogger(name) for name in logging.root.manager.loggerDict)
    for logger in (logging.root, *named):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, _Masking):
                handler.setFormatter(_Masking(handler.formatter))
            faults.keep_short(handler)


class _ForkGuard:
    """Lets a fork wait until no other thread writes to the log.

    The buffer of a log file has a lock, which a forked child inherits. If it was held at the time
    of the fork, the child would hang at its first message. (:mod:`logging` resets only its own
    locks in a child.)
    """

    def __init__(self) -> None:
        self._held: list[logging.Handler] = []

    def hold(self) -> None:
        """Wait for messages in progress and hold up others."""
        for handler in logging.root.handlers:
            handler.acquire()
            self._held.append(handler)

    def release(self) -> None:
        """Let the parent write again."""
        while self._held:
            self._held.pop().release()

    def forget(self) -> None:
        """In the child: its locks are new."""
        self._held.clear()


_fork_guard = _ForkGuard()
os.register_at_fork(
    before=_fork_guard.hold,
    after_in_parent=_fork_guard.release,
    after_in_child=_fork_guard.forget,
)


def register_secrets(values: Iterable[object]) -> None:
    """Register option values to mask. Of a URL, only the password is masked."""
    for value in values:
        for text in value if isinstance(value, list) else [value]:
            _known.update(
                secret for secret in _secrets(str(text or "")) if len(secret) >= _SHORTEST
            )


def mask(text: str) -> str:
    """Mask registered values, and text that looks like a password or token."""
    # Imported here, since it compiles many patterns, and a command usually logs nothing.
    from oslo_utils import strutils

    for value in _known:
        if value in text:
            text = text.replace(value, MASK)
    if "://" in text:
        text = _IN_URL.sub(rf"\1:{MASK}@", text)
    lowered = text.lower()
    if any(word in lowered for word in _HEADER_WORDS):
        text = _IN_HEADER.sub(rf"\1{MASK}", text)
    return str(strutils.mask_password(text, MASK))


def trace_id() -> str | None:
    """Return the trace id of the current span, 32 hexadecimal digits; None without a span."""
    span = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span.trace_id) if span.is_valid else None


def _secrets(text: str) -> tuple[str, ...]:
    if "://" not in text:
        return (text,)
    try:
        password = urllib.parse.urlsplit(text).password or ""
    except ValueError:  # not a URL
        return (text,)
    return (password, urllib.parse.unquote(password))


class _Masking(logging.Formatter):
    """Wrap another formatter and mask its output, including tracebacks and arguments.

    Records get a ``trace_id`` attribute; JSON output has it in ``extra``.
    """

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        traced = trace_id()
        record.trace_id = traced or "-"
        if traced:
            record.extra_keys = [*getattr(record, "extra_keys", ()), "trace_id"]
        return mask(self._formatter.format(record))
