# SPDX-License-Identifier: Apache-2.0
"""Poppy's own limits on orders, which stay below those of authorities.

Their defaults are at least a fifth below those of Let's Encrypt
(https://letsencrypt.org/docs/rate-limits/): 300 orders per account in 3 hours, 50 certificates per
registered domain and 5 per exact set of names in 7 days, and 5 failed validations per name in an
hour. Workers that order at the same moment may exceed Poppy's limits by their number.
"""

import datetime
import hashlib
from collections.abc import Iterable

from poppy.common.clock import now_utc
from poppy.common.errors import RetryableError
from poppy.model import names as domains
from poppy.provider.edge.acme_errors import RateLimited
from poppy.provider.edge.acme_options import Limits
from poppy.provider.edge.acme_orders import Order, Records

_HOUR = datetime.timedelta(hours=1)
_WEEK = datetime.timedelta(days=7)
_ORDERS_PERIOD = datetime.timedelta(hours=3)
_FIRST_PAUSE = 300.0  # Seconds.
_LONGEST_PAUSE = 86_400.0


class Budget:
    """Counts orders, certificates and failed validations."""

    def __init__(self, records: Records, limits: Limits) -> None:
        self._records = records
        self._limits = limits

    def check(self, order: Order) -> None:
        """Check that an order may be sent.

        Raises:
            RateLimited: a limit of the authority is near; ``retry_after`` says how long.
            RetryableError: the validation of a name failed too often.
        """
        for name in order.names:
            wait = self._wait(f"failure:{_plain(name)}", self._limits.failures, _HOUR)
            if wait is not None:
                raise RetryableError(f"The validation of {name} failed too often", wait)
        limits = [(_orders(order), self._limits.orders, _ORDERS_PERIOD, "new orders")]
        if not order.renewal:
            limits += [
                (key, self._limits.certificates, _WEEK, "certificates for one domain")
                for key in _registered(order)
            ]
        if order.replaces is None:
            limits.append((_exact(order), self._limits.duplicates, _WEEK, "equal certificates"))
        for key, most, period, what in limits:
            wait = self._wait(key, most, period)
            if wait is not None:
                raise RateLimited(f"The limit of {most} {what} is reached", wait)

    def ordered(self, order: Order) -> None:
        """Count an order."""
        self._count([_orders(order)])

    def issued(self, order: Order) -> None:
        """Count a certificate."""
        self._count([_exact(order), *_registered(order)])

    def failed(self, names: Iterable[str]) -> None:
        """Count failed validations."""
        self._count({f"failure:{_plain(name)}" for name in names})

    def _count(self, keys: Iterable[str]) -> None:
        now = now_utc()
        for key in sorted(keys):
            self._records.add_event(key, now)

    def _wait(self, key: str, most: int, period: datetime.timedelta) -> float | None:
        """Return the seconds until an event is allowed; None if it is allowed now."""
        now = now_utc()
        times = sorted(self._records.events(key, now - period))
        if len(times) < most:
            return None
        return max(0.0, (times[-most] + period - now).total_seconds())


def pause(rejections: int) -> float:
    """Return the seconds to wait after a number of consecutive orders that failed.

    Five minutes, then twice as long each time, up to a day. Let's Encrypt stops answering for
    a name after 1,152 consecutive failures, which takes more than three years this way.
    """
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(rejections - 1, 20)))


def _plain(name: str) -> str:
    return name.removeprefix("*.")


def _orders(order: Order) -> str:
    return f"order:{order.authority}"


def _registered(order: Order) -> set[str]:
    found = {domains.registrable(_plain(name)) or _plain(name) for name in order.names}
    return {f"certificate:{order.authority}:{domain}" for domain in found}


def _exact(order: Order) -> str:
    names = " ".join(sorted(order.names)).encode()
    return f"duplicate:{order.authority}:{hashlib.sha256(names).hexdigest()}"
