# SPDX-License-Identifier: Apache-2.0
"""The contract of what the workers share; see :mod:`poppy.storage.base` for all the rest."""

import abc
import datetime
from collections.abc import Sequence

from poppy.model.fleet import Breaker, Worker

#: Days after which a worker that says nothing is forgotten.
FORGOTTEN = 1


class FleetStore(abc.ABC):
    """Workers and circuit breakers: few, small, and changed seldom."""

    @abc.abstractmethod
    def beat(self, worker: Worker) -> None:
        """Store what a worker says of itself, in place of what it said before.

        Workers that have said nothing for :data:`FORGOTTEN` days are forgotten.
        """

    @abc.abstractmethod
    def leave(self, worker_id: str) -> None:
        """Forget a worker; fine if there is none."""

    @abc.abstractmethod
    def workers(self, since: datetime.datetime) -> Sequence[Worker]:
        """Those that have been seen since then, by host and process id."""

    @abc.abstractmethod
    def breakers(self) -> Sequence[Breaker]:
        """All breakers that were ever stored, by driver."""

    @abc.abstractmethod
    def swap(self, breaker: Breaker) -> bool:
        """Store a breaker, unless another worker was quicker.

        Args:
            breaker: made by :meth:`Breaker.next` of the one that was read.

        Returns:
            Whether it was stored: the stored one was the one before it. Of several at once,
            one is.
        """
