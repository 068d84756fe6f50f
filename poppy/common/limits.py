# SPDX-License-Identifier: Apache-2.0
"""How hard a provider or a DNS server may be pressed: options that all such drivers have."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from oslo_config import cfg

OPTS: Sequence[cfg.Opt] = (
    cfg.FloatOpt(
        "rate_limit",
        default=0.0,
        min=0.0,
        mutable=True,
        help="How many calls of this driver all workers together begin per second, on average; "
        "0 means any number. (A call may be several requests to the other side.) More than that "
        "wait, without holding a worker.",
    ),
    cfg.IntOpt(
        "rate_burst",
        default=10,
        min=1,
        mutable=True,
        help="How many calls may begin at once after a quiet time, of all workers together.",
    ),
    cfg.IntOpt(
        "max_concurrent_calls",
        default=0,
        min=0,
        mutable=True,
        help="How many calls of this driver all workers together have under way; 0 means any "
        "number, as far as the workers' slots go (see reserved_slots). Each worker has an equal "
        "share, of at least one.",
    ),
    cfg.IntOpt(
        "reserved_slots",
        min=1,
        mutable=True,
        help="How many of a worker's slots (concurrency) are kept for calls of this driver, so "
        "that drivers that hang can't take them all. Unset: half of the slots, shared out evenly "
        "between the drivers, at least one each. The other slots are for whoever comes first.",
    ),
    cfg.IntOpt(
        "breaker_failures",
        default=5,
        min=0,
        mutable=True,
        help="When calls for so many different services fail in a row, in one worker and in a "
        "way that is about the provider as a whole, no worker calls this driver for "
        "breaker_pause. Where several projects use the driver, the services must not all be of "
        "one. An answer that says how long all have to wait (Retry-After) counts at once. 0 "
        "switches this off.",
    ),
    cfg.FloatOpt(
        "breaker_pause",
        default=30.0,
        min=0.1,
        mutable=True,
        help="Seconds for which it is left alone then. After that one call is let through; if it "
        "fails, the pause is twice as long, up to five minutes, whoever asked for more.",
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
        """As they are now: they may be changed while Poppy runs."""
        return cls(
            options.rate_limit,
            options.rate_burst,
            options.max_concurrent_calls,
            options.breaker_failures,
            options.breaker_pause,
            options.reserved_slots,
        )
