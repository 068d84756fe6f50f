# SPDX-License-Identifier: Apache-2.0
"""The contract of distributed task drivers, which deliver operations to workers."""

import abc
from collections.abc import Mapping
from typing import ClassVar, Protocol

from poppy.common.driver import Driver
from poppy.dns.base import DNSDriver
from poppy.model.operations import Operation
from poppy.provider.base import Provider
from poppy.storage.base import Storage


class Worker(Protocol):
    """Run operations until told to stop."""

    def run(self) -> None:
        """Work until :meth:`stop`. Running operations are finished or handed back.

        It may also return early, when only a new process can continue.
        """

    def stop(self) -> None:
        """Ask :meth:`run` to return. Safe to call from another thread or a signal handler."""


class DistributedTask(Driver, abc.ABC):
    """Deliver operations to workers. Storage holds the truth; a driver only delivers.

    A delivery may be lost, late or duplicated. Workers find due but undelivered operations in
    storage and post them again. An operation delivered twice runs once (see
    ``OperationStore.begin``).
    """

    KIND: ClassVar[str] = "distributed_task"

    @abc.abstractmethod
    def check(self) -> None:
        """Check at start that the options can work.

        Raises:
            ConfigError: they can't; the message names the option.
        """

    @abc.abstractmethod
    def has_room(self, active: int) -> bool:
        """Whether to post an operation, or to leave it in storage for the workers to fetch.

        Never raises, and costs next to nothing.

        Args:
            active: how many operations of the project wait for a worker or run. Parked ones do
                not count.
        """

    @abc.abstractmethod
    def post(self, operation: Operation) -> None:
        """Tell the workers to run an operation.

        Raises:
            Unavailable: it could not be posted. A worker will find it in storage later.
        """

    @abc.abstractmethod
    def waiting(self, limit: int) -> int:
        """Count the posted operations that wait for a worker, up to ``limit``.

        Raises:
            Unavailable: the number is unknown at present.
        """

    def preload(self) -> None:
        """Import the modules that only workers need.

        The worker daemon calls this before it forks, so that its processes share the memory.
        """

    @abc.abstractmethod
    def worker(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> Worker:
        """Return a new worker of this driver."""

    @property
    @abc.abstractmethod
    def workers(self) -> int:
        """The number of worker processes to run on this machine."""

    @property
    @abc.abstractmethod
    def grace(self) -> float:
        """The maximum seconds between a worker's :meth:`Worker.stop` and its end."""

    @property
    @abc.abstractmethod
    def redelivery(self) -> float:
        """Seconds after which a posted job that no worker has begun counts as lost."""

    @abc.abstractmethod
    def is_alive(self) -> bool:
        """Whether jobs can be posted now. Never raises."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close connections. The driver may be used again afterwards."""
