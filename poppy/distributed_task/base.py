# SPDX-License-Identifier: Apache-2.0
"""The contract of distributed task drivers: how operations reach the workers."""

import abc
from collections.abc import Mapping
from typing import ClassVar, Protocol

from poppy.common.driver import Driver
from poppy.dns.base import DNSDriver
from poppy.model.operations import Operation
from poppy.provider.base import Provider
from poppy.storage.base import Storage


class Worker(Protocol):
    """Runs operations until it is told to stop."""

    def run(self) -> None:
        """Work until :meth:`stop`; operations under way are finished or handed back.

        It may also return by itself, when only a new process can go on.
        """

    def stop(self) -> None:
        """Ask :meth:`run` to return; safe from another thread or a signal handler."""


class DistributedTask(Driver, abc.ABC):
    """Delivers operations to workers. Storage is the truth; this only delivers.

    A delivery may be lost, late or doubled: what is due and not delivered is found in storage
    and posted again, and what is delivered twice is run once (see ``OperationStore.begin``).
    """

    KIND: ClassVar[str] = "distributed_task"

    @abc.abstractmethod
    def check(self) -> None:
        """Make sure, at start, that the options can work.

        Raises:
            ConfigError: they can't; names the option.
        """

    @abc.abstractmethod
    def has_room(self, open_operations: int) -> bool:
        """Whether to post an operation, or to leave it in storage for the workers to fetch.

        Never raises, and costs next to nothing.

        Args:
            open_operations: how many unfinished ones its project has already.
        """

    @abc.abstractmethod
    def post(self, operation: Operation) -> None:
        """Tell the workers that an operation is to be run.

        Raises:
            Unavailable: it could not be posted; it will be found in storage later.
        """

    @abc.abstractmethod
    def waiting(self, limit: int) -> int:
        """How many operations have been posted and wait for a worker, counted up to ``limit``.

        Raises:
            Unavailable: nobody knows now.
        """

    @abc.abstractmethod
    def worker(
        self, storage: Storage, providers: Mapping[str, Provider], dns: DNSDriver
    ) -> Worker:
        """A worker of this driver."""

    @property
    @abc.abstractmethod
    def workers(self) -> int:
        """How many worker processes are wanted on this machine."""

    @property
    @abc.abstractmethod
    def grace(self) -> float:
        """Seconds in which a worker that is told to stop does so."""

    @property
    @abc.abstractmethod
    def redelivery(self) -> float:
        """Seconds after which a posted job that no worker has begun counts as lost."""

    @abc.abstractmethod
    def is_alive(self) -> bool:
        """Whether jobs can be posted now; never raises."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of connections; may be used again afterwards."""
