# SPDX-License-Identifier: Apache-2.0
"""Request rate limits per project.

Each process counts for itself, in memory. A shared counter would cost every request a round trip,
and would be one more component that a flood can overload. So with N processes a project may make
up to N times as many requests, depending on how connections are distributed.
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
    "as numbers per second, minute, hour or day: '20/second; 600/minute'. Each of them applies. "
    "Requests above a limit get 429 and Retry-After. Each process counts for itself. Operators "
    "are not limited. Unset: no limit."
)

OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "max_changes_per_project",
        help=f"How many write requests a project may make, {_HELP}",
    ),
    cfg.StrOpt(
        "max_reads_per_project",
        help=f"How many read requests a project may make, {_HELP}",
    ),
)

_READS = ("GET", "HEAD", "OPTIONS")


class RateLimits:
    """Counts each project's requests; reads and writes count separately.

    Raises:
        ConfigError: a limit is malformed; the message names the option.
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr, group: str) -> None:
        self._changes = _parse(options, group, "max_changes_per_project")
        self._reads = _parse(options, group, "max_reads_per_project")

    @functools.cached_property
    def _limiter(self) -> SlidingWindowCounterRateLimiter:
        # Created in the process that counts: its thread does not survive a fork.
        return SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, project_id: str, method: str) -> None:
        """Count a request.

        Raises:
            TooManyRequests: the request exceeds a limit; then it is not counted.
        """
        kind, found = ("read", self._reads) if method in _READS else ("change", self._changes)
        for item in found:
            if not self._limiter.test(item, kind, project_id):
                reset_at, _left = self._limiter.get_window_stats(item, kind, project_id)
                raise errors.TooManyRequests(
                    f"Project {project_id} has reached its limit of {item.amount} {kind} requests "
                    f"in {item.get_expiry()} s",
                    math.ceil(reset_at - time.time()),
                )
        for item in found:
            self._limiter.hit(item, kind, project_id)

    def usage(self, project_id: str) -> dict[str, list[dict[str, int]]]:
        """Return the limits of ``changes`` and ``reads``, and what this process has counted.

        Each limit has ``limit``, ``seconds`` and ``used``: requests in the last ``seconds``.
        """
        limits_by_kind = {"change": self._changes, "read": self._reads}
        return {
            f"{kind}s": [self._used(item, kind, project_id) for item in found]
            for kind, found in limits_by_kind.items()
        }

    def _used(self, item: limits.RateLimitItem, kind: str, project_id: str) -> dict[str, int]:
        _reset_at, left = self._limiter.get_window_stats(item, kind, project_id)
        return {"limit": item.amount, "seconds": item.get_expiry(), "used": item.amount - left}


def _parse(
    options: cfg.ConfigOpts.GroupAttr, group: str, name: str
) -> Sequence[limits.RateLimitItem]:
    text = options[name]
    if not text:
        return ()
    try:
        found = limits.parse_many(text)
    except ValueError as exc:
        raise errors.ConfigError(f"[{group}] {name}: {text!r} is not a rate: {exc}") from exc
    if any(item.amount < 1 for item in found):
        raise errors.ConfigError(f"[{group}] {name}: {text!r} would refuse every request")
    return found
