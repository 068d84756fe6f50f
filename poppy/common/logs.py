# SPDX-License-Identifier: Apache-2.0
"""Logging by oslo.log, with everything secret taken out of what is written."""

import logging
import re
import urllib.parse
from collections.abc import Callable, Iterable

from oslo_config import cfg
from oslo_log import log
from oslo_utils import strutils

from poppy.common import errors, faults, files

MASK = "***"

#: Shorter values are no secrets but accidents, and would take the log apart.
_SHORTEST = 4

_IN_URL = re.compile(r"(?<=://)([^\s/:@'\"]*):[^\s/@'\"]+@")
#: Header fields with credentials, as they look in a list, a dictionary or a dump of HTTP.
_IN_HEADER = re.compile(
    r"((?:(?:x-)?(?:auth|subject|service|storage)-token|authorization|[a-z-]*(?:api|secret)[-_]?key"
    r"|fastly-key|[a-z_]*secret)"
    r"[\"']?\s*[:=,]\s*(?:b?[\"'])?(?:(?:basic|bearer|eg1-hmac-sha256)\s+)?)[^\s\"',;)}]+",
    re.IGNORECASE,
)

#: One of these is in each of them; to look for words is much quicker than for the pattern.
_HEADER_WORDS = ("token", "authorization", "key", "secret")

_known: set[str] = set()

#: While traces are made, lines begin as oslo.log has them, and with the trace's id.
_WITH_TRACE = {
    "logging_context_format_string": "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s "
    "[%(global_request_id)s %(request_id)s %(user_identity)s trace_id=%(trace_id)s] "
    "%(instance)s%(message)s",
    "logging_default_format_string": "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s "
    "[- trace_id=%(trace_id)s] %(instance)s%(message)s",
}


def _no_trace() -> str | None:
    return None


#: Gives the id of the trace that a line belongs to; replaced by :mod:`poppy.common.tracing`.
trace_id: Callable[[], str | None] = _no_trace


def setup(conf: cfg.ConfigOpts) -> None:
    """Set up logging as it is configured, in a new process or after a change.

    A log file that is made here can be read by its owner and group only.

    Raises:
        ConfigError: the log can't be written where it is to be.
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


def learn(values: Iterable[object]) -> None:
    """Know these secrets: values of options, as they are configured.

    Of a URL only the password counts, since the rest is no secret.
    """
    for value in values:
        for text in value if isinstance(value, list) else [value]:
            _known.update(
                secret for secret in _secrets(str(text or "")) if len(secret) >= _SHORTEST
            )


def mask(text: str) -> str:
    """The text without secrets: known values, and what looks like a password or a token."""
    for value in _known:
        if value in text:
            text = text.replace(value, MASK)
    if "://" in text:
        text = _IN_URL.sub(rf"\1:{MASK}@", text)
    lowered = text.lower()
    if any(word in lowered for word in _HEADER_WORDS):
        text = _IN_HEADER.sub(rf"\1{MASK}", text)
    return str(strutils.mask_password(text, MASK))


def _secrets(text: str) -> tuple[str, ...]:
    if "://" not in text:
        return (text,)
    try:
        password = urllib.parse.urlsplit(text).password or ""
    except ValueError:  # no URL at all
        return (text,)
    return (password, urllib.parse.unquote(password))


class _Masking(logging.Formatter):
    """A formatter around another one: tracebacks and arguments are masked as well.

    Records know their trace as ``trace_id``, in JSON among what is ``extra``.
    """

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        trace = trace_id()
        record.trace_id = trace or "-"
        if trace:
            record.extra_keys = [*getattr(record, "extra_keys", ()), "trace_id"]
        return mask(self._formatter.format(record))
