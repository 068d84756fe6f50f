# SPDX-License-Identifier: Apache-2.0
"""Throttling options of every provider and DNS driver."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from oslo_config import cfg

OPTS: Sequence[cfg.Opt] = (
    cfg.FloatOpt(
        "rate_limit",
        default=0.0,
        min=0.0,
        mutable=True,
        help="Maximum calls to this driver per second, averaged over all workers; 0 means "
        "unlimited. One call may send several requests. Operations above the limit wait without "
        "holding a worker.",
    ),
    cfg.IntOpt(
        "rate_burst",
        default=10,
        min=1,
        mutable=True,
        help="Maximum calls that all workers together may start at once after an idle period.",
    ),
    cfg.IntOpt(
        "max_concurrent_calls",
        default=0,
        min=0,
        mutable=True,
        help="Maximum concurrent calls to this driver over all workers; 0 means that only the "
        "workers' slots limit them (see reserved_slots). Each worker gets an equal share, at "
        "least one.",
    ),
    cfg.IntOpt(
        "reserved_slots",
        min=1,
        mutable=True,
        help="Slots of a worker (concurrency) that are reserved for calls to this driver, so that "
        "other drivers that hang can't take them all. Unset: half of the slots, divided evenly "
        "between the drivers, at least one each. Any driver can use the other slots.",
    ),
    cfg.IntOpt(
        "breaker_failures",
        default=5,
        min=0,
        mutable=True,
        help="Number of services with consecutive failed calls in one worker that opens the "
        "circuit breaker: no worker calls this driver for breaker_pause. Only failures of the "
        "provider as a whole count. If several projects use the driver, the services must belong "
        "to more than one of them. A Retry-After for the whole provider opens the breaker at "
        "once. 0 disables the breaker.",
    ),
    cfg.FloatOpt(
        "breaker_pause",
        default=30.0,
        min=0.1,
        mutable=True,
        help="Seconds that the circuit breaker stays open. After that, one call is let through. "
        "If it fails, the pause doubles, up to five minutes. A longer Retry-After does not extend "
        "this maximum.",
    ),
)


class Limits(NamedTuple):
    """The values of :data:`OPTS`."""

    rate: float = 0.0
    burst: int = 10
    concurrent: int = 0
    failures: int = 5
    pause: float = 30.0
    reserved: int | None = None

    @classmethod
    def of(cls, options: Any) -> Self:
        """Read the current values. They are mutable, so read them again for each use."""
        return cls(
            options.rate_limit,
            options.rate_burst,
            options.max_concurrent_calls,
            options.breaker_failures,
            options.breaker_pause,
            options.reserved_slots,
        )
