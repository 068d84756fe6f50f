# SPDX-License-Identifier: Apache-2.0
"""The contract of what workers share: heartbeats and circuit breakers."""

import abc
import datetime
from collections.abc import Sequence

from poppy.model.membership import Breaker, Worker

#: Days after which a silent worker is forgotten.
FORGOTTEN = 1


class MembershipStore(abc.ABC):
    """Store workers and circuit breakers: few, small and rarely changed."""

    @abc.abstractmethod
    def beat(self, worker: Worker) -> None:
        """Store a worker's heartbeat in place of its previous one.

        Workers that have been silent for :data:`FORGOTTEN` days are forgotten.
        """

    @abc.abstractmethod
    def leave(self, worker_id: str) -> None:
        """Forget a worker, if it exists."""

    @abc.abstractmethod
    def workers(self, since: datetime.datetime) -> Sequence[Worker]:
        """Return the workers seen since a moment, sorted by host and process id."""

    @abc.abstractmethod
    def breakers(self) -> Sequence[Breaker]:
        """Return all breakers ever stored, sorted by driver."""

    @abc.abstractmethod
    def swap(self, breaker: Breaker) -> bool:
        """Store a breaker, unless another worker was faster.

        Args:
            breaker: made by :meth:`Breaker.next` from the one that was read.

        Returns:
            Whether it was stored, that is, its predecessor was still the stored one. Of several
            concurrent calls one succeeds.
        """
