# SPDX-License-Identifier: Apache-2.0
"""Lookups of the DNS records that tenants must create."""

import datetime
import threading
import time
from collections.abc import Sequence
from typing import Self

from oslo_config import cfg
from oslo_log import log

from poppy.common import errors
from poppy.common.clock import now_utc
from poppy.common.domains import RESOLVER_GROUP
from poppy.dns.resolver import Resolver
from poppy.model.dns_records import DNSRecord, RecordStatus, RecordType

LOG = log.getLogger(__name__)

#: Seconds: the longest pause between two lookups.
LONGEST = 300.0
#: The pause as a share of the time since the request: after an hour's wait, minutes are fine.
SHARE = 0.1
#: Seconds for all lookups of one service. Records left over are looked up the next time.
_TOTAL = 30.0


class RecordCheck:
    """Looks up records and tells when to look again.

    Args:
        interval: seconds between the first lookups.
        timeout: seconds for the lookups of one record.
    """

    def __init__(self, resolver: Resolver, interval: float, timeout: float) -> None:
        self._resolver = resolver
        self._interval = interval
        self._timeout = timeout

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> Self | None:
        """Create it from the configuration; None if records are not to be looked up.

        Raises:
            ConfigError: a resolver is malformed, or the system has none.
        """
        options = conf[RESOLVER_GROUP]
        if not options.check_records:
            return None
        return cls(Resolver.of(conf), conf.domain_ownership_interval, options.timeout)

    def pause(self, since: datetime.datetime) -> float:
        """Return the seconds until the next lookup of a missing record; see :func:`pause`."""
        return pause(self._interval, since)

    def check(
        self, records: Sequence[DNSRecord], stopped: threading.Event | None = None
    ) -> tuple[DNSRecord, ...]:
        """Look up records; those whose lookup fails stay as they are.

        Args:
            stopped: ends the lookups early.
        """
        end = time.monotonic() + _TOTAL
        return tuple(
            record if stopped and stopped.is_set() else self._checked(record, end)
            for record in records
        )

    def _checked(self, record: DNSRecord, end: float) -> DNSRecord:
        deadline = min(end, time.monotonic() + self._timeout)
        try:
            status = self._look_up(record, deadline)
        except errors.RetryableError as exc:
            LOG.info("Record %s of domain %s: %s", record.name, record.domain, exc)
            return record
        return record.checked(status, now_utc())

    def _look_up(self, record: DNSRecord, deadline: float) -> RecordStatus:
        if record.type is RecordType.ALIAS:
            return self._compare_addresses(record, deadline)
        found = self._resolver.values(record.name, record.type, deadline)
        wanted = record.value
        if record.type is RecordType.CNAME:
            wanted = wanted.rstrip(".").lower()
        if wanted in found:
            return RecordStatus.OK
        return RecordStatus.WRONG if found else RecordStatus.MISSING

    def _compare_addresses(self, record: DNSRecord, deadline: float) -> RecordStatus:
        """Compare addresses, because a name server answers for an alias with addresses only."""
        found = self._resolver.addresses(record.name, deadline)
        if not found:
            return RecordStatus.MISSING
        wanted = self._resolver.addresses(record.value, deadline)
        return RecordStatus.OK if found & wanted else RecordStatus.WRONG


def pause(interval: float, since: datetime.datetime) -> float:
    """Return the seconds until the next lookup of a missing record.

    Args:
        interval: seconds between the first lookups.
        since: when the operation was requested. The pause grows with the time since.
    """
    age = (now_utc() - since).total_seconds()
    return min(LONGEST, max(interval, age * SHARE))
