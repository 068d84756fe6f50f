# SPDX-License-Identifier: Apache-2.0
"""Samples what HAProxy has counted, and reports it to the API."""

from collections.abc import Callable
from typing import Any

from poppy.common.errors import DriverError, PoppyError, Unavailable
from poppy.edge.agent.client import Client
from poppy.edge.agent.schedule import Schedule
from poppy.edge.traffic import Ledger, Sample
from poppy.model.edge_traffic import Counts

#: Seconds between two samples: what HAProxy counts in them is lost if it is killed.
SAMPLE = 10.0
#: Maximum seconds between two attempts to sample, and to report.
_LOCAL_CEILING, _API_CEILING = 30.0, 300.0


class Traffic:
    """The traffic of a node: in the state directory first, then at the API.

    Args:
        options: the group ``[agent]``.
        sample: returns HAProxy's counters.
        complain: logs an error that may be repeated soon.
        clock: tells the time in seconds.

    Attributes:
        counts: what was counted since the agent's start.
    """

    def __init__(
        self,
        options: Any,
        client: Client,
        ledger: Ledger,
        sample: Callable[[], Sample],
        complain: Callable[[str, Exception], None],
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._client = client
        self._ledger = ledger
        self._sample = sample
        self._complain = complain
        self._sampling = Schedule(clock, _LOCAL_CEILING)
        self._sending = Schedule(clock, _API_CEILING)
        self.counts = Counts()

    @property
    def next(self) -> float:
        """When :meth:`turn` has something to do."""
        return min(self._sampling.next, self._sending.next)

    @property
    def waiting(self) -> int:
        """The number of hours with figures that were not reported yet."""
        return self._ledger.waiting

    @property
    def lost(self) -> int:
        """The responses in figures that were dropped, since the agent's start."""
        return self._ledger.lost

    def turn(self, *, send: bool) -> None:
        """Do what is due: take a sample, and report sums of one hour.

        Args:
            send: whether this agent may report. Another one with the node's name may have a copy
                of its files.
        """
        interval = self._options.traffic_interval
        if self._sampling.due:
            try:
                self.counts = self.counts.plus(self._ledger.add(self._sample()))
            except (DriverError, OSError) as exc:
                self._sampling.failed()
                self._complain("Can't count traffic: %s", exc)
            else:
                self._sampling.succeeded(min(SAMPLE, interval))
        if self._sending.due:
            batch = self._ledger.batch() if send else None
            try:
                if batch is not None:
                    stored = self._client.traffic(batch)
                    self._ledger.taken(batch, stored=stored)
            except (PoppyError, OSError) as exc:
                self._sending.failed(exc.retry_after if isinstance(exc, Unavailable) else 0)
                self._complain("Can't report traffic: %s", exc)
            else:
                more = batch is not None and self._ledger.batch() is not None
                self._sending.succeeded(0 if more else interval)
