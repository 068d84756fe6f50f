# SPDX-License-Identifier: Apache-2.0
"""Failover between equivalent servers."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from oslo_log import log

from poppy.common.errors import DriverError, RetryableError

LOG = log.getLogger(__name__)

S = TypeVar("S")
T = TypeVar("T")


class Servers(Generic[S]):
    """Use the server that answered last; if it fails, try the others in order.

    Args:
        servers: at least one server, the preferred one first.
        moves_on: errors after which the next server is tried.
    """

    def __init__(
        self, servers: Sequence[S], moves_on: tuple[type[DriverError], ...] = (RetryableError,)
    ) -> None:
        self._servers = servers
        self._moves_on = moves_on
        self._good = 0

    def call(self, work: Callable[[S], T]) -> T:
        """Call ``work`` with each server until it succeeds, and return its result.

        Raises:
            DriverError: the first server's error, if all servers fail.
        """
        count = len(self._servers)
        first: DriverError | None = None
        for number in range(self._good, self._good + count):
            try:
                result = work(self._servers[number % count])
            except self._moves_on as exc:
                first = first or exc
                if count > 1:
                    LOG.warning("%s; trying the next server", exc)
            else:
                self._good = number % count
                return result
        assert first is not None, "there is at least one server"
        raise first
