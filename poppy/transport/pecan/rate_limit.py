# SPDX-License-Identifier: Apache-2.0
"""How many requests each project may make in a time.

Each process counts for itself, in memory: a count that all share would cost every request a round
trip to where it is kept, and that place would be one more that a flood can overload. So with N
processes a project may make up to N times as many, depending on how they share out connections.
"""

import functools
import math
import time
from collections.abc import Sequence

import limits
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from oslo_config import cfg

from poppy.common import errors

_HELP = (
    "as numbers by second, minute, hour or day, each of which holds: '20/second; 600/minute'. "
    "More are refused with 429 and Retry-After. Each process counts for itself. Operators are not "
    "limited. Unset: any number."
)

OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "max_changes_per_project",
        help=f"How many requests that change something a project may make, {_HELP}",
    ),
    cfg.StrOpt(
        "max_reads_per_project",
        help=f"How many requests that only read a project may make, {_HELP}",
    ),
)

_READS = ("GET", "HEAD", "OPTIONS")


class RateLimits:
    """Counts the requests of each project, those that change something apart from others.

    Raises:
        ConfigError: a limit can't be read; names the option.
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr, group: str) -> None:
        self._changes = _parse(options, group, "max_changes_per_project")
        self._reads = _parse(options, group, "max_reads_per_project")

    @functools.cached_property
    def _limiter(self) -> SlidingWindowCounterRateLimiter:
        # Made by the process that counts: it has a thread, which does not survive a fork.
        return SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, project_id: str, method: str) -> None:
        """Count a request.

        Raises:
            TooManyRequests: it is one too many; it does not count then.
        """
        kind, found = ("read", self._reads) if method in _READS else ("change", self._changes)
        for item in found:
            if not self._limiter.test(item, kind, project_id):
                reset_at, _left = self._limiter.get_window_stats(item, kind, project_id)
                raise errors.TooManyRequests(
                    f"Project {project_id} has made {item.amount} requests to {kind} something "
                    f"within {item.get_expiry()} s, which is as many as it may",
                    math.ceil(reset_at - time.time()),
                )
        for item in found:
            self._limiter.hit(item, kind, project_id)


def _parse(
    options: cfg.ConfigOpts.GroupAttr, group: str, name: str
) -> Sequence[limits.RateLimitItem]:
    text = options[name]
    if not text:
        return ()
    try:
        found = limits.parse_many(text)
    except ValueError as exc:
        raise errors.ConfigError(f"[{group}] {name}: {text!r} is no rate: {exc}") from exc
    if any(item.amount < 1 for item in found):
        raise errors.ConfigError(f"[{group}] {name}: {text!r} allows no request at all")
    return found
