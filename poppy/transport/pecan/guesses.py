# SPDX-License-Identifier: Apache-2.0
"""Limit failed sign-ins and joins, so that nothing secret can be guessed over the network.

Each process counts in memory, so a guess costs no storage request. With N processes an attacker
gets N times as many tries, which is still far too few.
"""

import ipaddress
import math
import time

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

#: Failed tries allowed in five minutes: per address, and for all addresses together.
PER_ADDRESS, TOGETHER = 10, 100
_WINDOW = 300
#: Prefix length that identifies an IPv6 subscriber (RFC 6177).
_IPV6_PREFIX = 64


class Guesses:
    """Counts failed tries by client address."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limits = {
            "address": limits.RateLimitItemPerSecond(PER_ADDRESS, _WINDOW),
            "all": limits.RateLimitItemPerSecond(TOGETHER, _WINDOW),
        }

    def wait(self, address: str | None) -> int:
        """Return the seconds until this address may try again; 0 if it may try now."""
        waits = [0]
        for kind, limit in self._limits.items():
            key = self._key(kind, address)
            if not self._limiter.test(limit, kind, key):
                reset = self._limiter.get_window_stats(limit, kind, key).reset_time
                waits.append(max(1, math.ceil(reset - time.time())))
        return min(max(waits), _WINDOW)

    def failed(self, address: str | None) -> None:
        """Count a failed try."""
        for kind, limit in self._limits.items():
            self._limiter.hit(limit, kind, self._key(kind, address))

    @staticmethod
    def _key(kind: str, address: str | None) -> str:
        if kind == "all":
            return ""
        try:
            ip = ipaddress.ip_address(address or "")
        except ValueError:
            return address or "unknown"
        if ip.version == 4:
            return str(ip)
        return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))
