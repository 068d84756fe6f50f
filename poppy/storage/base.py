# SPDX-License-Identifier: Apache-2.0
"""The contract of storage drivers.

A driver stores flavors, services, domain claims and operations, and answers operators' queries
(see :mod:`poppy.storage.queries`). It holds no policy: the manager decides which request may
follow which, and the worker decides how an operation runs. The driver guarantees atomicity, as
documented for each method, against any number of servers and workers in other processes.

Every method may raise :class:`poppy.common.errors.Unavailable` when the store does not answer.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from poppy.common import errors
from poppy.common.driver import Driver
from poppy.storage.domains import DomainStore
from poppy.storage.edge import EdgeStore
from poppy.storage.flavors import FlavorStore
from poppy.storage.membership import MembershipStore
from poppy.storage.operations import OperationStore
from poppy.storage.queries import DocumentStore, ProjectStore, QueryStore
from poppy.storage.services import ServiceStore


class SchemaVersion(NamedTuple):
    """The schema version found and the one this Poppy needs, in the store's own notation.

    Attributes:
        stored: None if there is no schema yet.
    """

    stored: str | None
    needed: str


class Storage(Driver, abc.ABC):
    """A store. It connects on first use, so that it can be created before a fork.

    Attributes:
        flavors: see :class:`~poppy.storage.flavors.FlavorStore`.
        services: see :class:`~poppy.storage.services.ServiceStore`.
        operations: see :class:`~poppy.storage.operations.OperationStore`.
        domains: see :class:`~poppy.storage.domains.DomainStore`.
        membership: see :class:`~poppy.storage.membership.MembershipStore`.
        projects: see :class:`~poppy.storage.queries.ProjectStore`.
        queries: see :class:`~poppy.storage.queries.QueryStore`.
        documents: see :class:`~poppy.storage.queries.DocumentStore`.
        edge: see :class:`~poppy.storage.edge.EdgeStore`.
    """

    KIND: ClassVar[str] = "storage"

    flavors: FlavorStore
    services: ServiceStore
    operations: OperationStore
    domains: DomainStore
    membership: MembershipStore
    projects: ProjectStore
    queries: QueryStore
    documents: DocumentStore
    edge: EdgeStore

    @abc.abstractmethod
    def sync(self) -> None:
        """Upgrade the schema to this version. Safe to repeat and to run concurrently.

        Raises:
            ConfigError: the schema is newer than this version of Poppy.
        """

    @abc.abstractmethod
    def check(self) -> None:
        """Check at start that this version can use the schema.

        A newer schema may do, with a warning (:mod:`poppy.storage.compatibility`).

        Raises:
            ConfigError: it can't; the message says what to run.
        """

    @abc.abstractmethod
    def version(self) -> SchemaVersion:
        """Return the schema versions found and needed, for display. :meth:`check` decides."""

    def durability(self) -> Sequence[str]:
        """Return the risks of losing acknowledged writes, as sentences for operators.

        Returns:
            Nothing if, as far as the store can tell, a machine that loses power loses no data.

        Raises:
            ConfigError: the store is not set up.
            Unavailable: the store does not answer.
        """
        return ()

    def replicas(self) -> Mapping[str, int]:
        """Return how many copies of all data each region keeps; empty without regions."""
        return {}

    def drop_region(self, region: str, *, force: bool = False) -> None:
        """Stop keeping copies in a lost region, so that the others reach a quorum without it.

        Args:
            force: drop the region even if its nodes answer.

        Raises:
            InvalidRequest: there is no such region, or it is not lost.
            ConfigError: the store refuses; the message gives the reason.
            Unavailable: the store does not answer.
        """
        raise errors.InvalidRequest(f"Storage '{self.name}' has no regions")

    def add_region(self, region: str, replicas: int) -> None:
        """Keep copies in one more region. Existing data must then be copied to it.

        Args:
            replicas: how many copies.

        Raises:
            InvalidRequest: the region is unknown, or already has copies.
            ConfigError: the store refuses; the message gives the reason.
            Unavailable: the store does not answer.
        """
        raise errors.InvalidRequest(f"Storage '{self.name}' has no regions")

    @abc.abstractmethod
    def is_alive(self) -> bool:
        """Whether the store answers now; never raises."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close connections. The store may be used again afterwards."""
