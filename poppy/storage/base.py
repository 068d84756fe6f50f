# SPDX-License-Identifier: Apache-2.0
"""The contract of storage drivers.

A driver keeps flavors, services, the domains that services have claimed, and operations; and
what operators look up (see :mod:`poppy.storage.lookups`). It holds no policy: which request may
follow which is the manager's business, how an operation runs is the worker's. What it does
guarantee is atomicity, as each method says, against any number of servers and workers in other
processes.

Every method may raise :class:`poppy.common.errors.Unavailable` when the store does not answer.
"""

import abc
import datetime
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from poppy.common import errors
from poppy.common.driver import Driver
from poppy.model.flavors import Flavor
from poppy.model.operations import Kind, Operation, OperationKey, Purge, State
from poppy.model.services import ProviderDetails, Service, Status
from poppy.storage.domains import DomainStore
from poppy.storage.fleet import FleetStore
from poppy.storage.lookups import DocumentStore, LookupStore, ProjectStore


class Run(NamedTuple):
    """An operation that a worker has begun, and the service as it is stored."""

    operation: Operation
    service: Service


class Marker(NamedTuple):
    """Behind which operation a listing goes on; it need not be there any more."""

    created_at: datetime.datetime
    operation_id: str


class SchemaVersion(NamedTuple):
    """The schema that is there, and the one that this version of Poppy needs; the store's names.

    Attributes:
        stored: None where there is none yet.
    """

    stored: str | None
    needed: str


class IdempotencyKey(NamedTuple):
    """What a client marks a request with, so that it can be repeated without a second effect.

    Attributes:
        value: the client's own; says something within its project only.
        fingerprint: of what is asked for, at most 64 characters: with another one it is another
            request.
        expires_at: when it may be forgotten.
    """

    value: str
    fingerprint: str
    expires_at: datetime.datetime


def may_release(operation: Operation) -> bool:
    """Whether the end of an operation releases domains that the document does not name.

    Not while another one is to deploy: the document may be its, and a provider may serve what
    that one is to drop.
    """
    return operation.state is State.SUCCEEDED and operation.kind.deploys


def lets_others_begin(operation: Operation) -> bool:
    """Whether others of the service had to wait for a run that ends in this state."""
    parked = operation.state is State.WAITING and operation.kind.deploys
    return operation.state.finished or parked


class FlavorStore(abc.ABC):
    """Flavors."""

    @abc.abstractmethod
    def create(self, flavor: Flavor) -> None:
        """Store a flavor.

        Raises:
            InvalidRequest: there is one of that id already.
        """

    @abc.abstractmethod
    def get(self, flavor_id: str) -> Flavor:
        """Read a flavor.

        Raises:
            NotFound: there is none of that id.
        """

    @abc.abstractmethod
    def list(self) -> Sequence[Flavor]:
        """All flavors, by id."""

    @abc.abstractmethod
    def delete(self, flavor_id: str) -> None:
        """Remove a flavor that no service uses.

        Raises:
            NotFound: there is none of that id.
            InUse: a service uses it.
        """


class ServiceStore(abc.ABC):
    """Services and the domains they have claimed."""

    @abc.abstractmethod
    def create(
        self,
        service: Service,
        operation: Operation,
        default_limit: int,
        key: IdempotencyKey | None = None,
    ) -> None:
        """Store a new service with its first operation and claim its domains: all or nothing.

        Args:
            default_limit: how many services the project may have unless it has a limit of
                its own; holds under concurrent creates.
            key: is stored with the service, or neither is.

        Raises:
            Repeated: the project has created a service by this key before; names it.
            KeyReused: ... and asked for another one then.
            DomainTaken: a domain is claimed already; of two at the same time one gets it.
            DomainReleased: a domain is kept for the project that has released it.
            LimitReached: the project has as many services as it may.
            InvalidRequest: there is no such flavor (any more).
        """

    @abc.abstractmethod
    def created_by(self, project_id: str, key: IdempotencyKey) -> str | None:
        """The id of the service that was created by this key, which may be gone by now.

        Raises:
            KeyReused: by this key another one was asked for.
        """

    @abc.abstractmethod
    def get(self, project_id: str, service_id: str) -> Service:
        """Read a service.

        Raises:
            NotFound: the project has none of that id.
        """

    @abc.abstractmethod
    def list(
        self, project_id: str, marker: str | None, limit: int, status: Status | None = None
    ) -> Sequence[Service]:
        """A page of the project's services, by id (which is by creation).

        The cost must not depend on how many services the project has.

        Args:
            marker: the page begins behind this id, whether or not such a service exists.
            limit: at most so many.
            status: only services of this status.
        """

    @abc.abstractmethod
    def scan(self) -> Iterator[Service]:
        """Every service of every project, in no order that matters.

        For operators' tools: it reads everything, a piece at a time. A service that comes or
        goes meanwhile may or may not be seen; any other is seen exactly once.
        """

    @abc.abstractmethod
    def submit(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue an operation for it: all or nothing.

        Domains that the new document adds are claimed, and those that the service has lost, if
        the operation deploys. Those it drops stay claimed until an operation succeeds: until
        then a provider may still serve them. A delete makes every unfinished operation of the
        service ``superseded``. One that runs is fenced, but keeps its ``next_attempt_at`` as a
        lease on the service: its worker may be in a driver's call that has its effect later. See
        :meth:`OperationStore.acknowledge`.

        An update makes the creates and updates that wait ``superseded``
        (:meth:`~poppy.model.operations.Operation.gives_way_to`); it does what they were to do.
        One that a worker begins at the same moment runs first; if it waits again, the update
        supersedes it when it begins (:meth:`OperationStore.begin`).

        Args:
            service: as read from this store, with changes; its ``revision`` as read.

        Raises:
            Changed: the stored revision is another.
            NotFound: the service is gone.
            DomainTaken: an added domain is another service's.
            DomainReleased: an added domain is kept for the project that has released it.
            InvalidRequest: there is no such flavor (any more).
        """

    @abc.abstractmethod
    def reopen(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue an operation again that had failed: all or nothing.

        Args:
            service: as for :meth:`submit`; its document is as it was.
            operation: as it shall be; its ``attempt`` as read.

        Raises:
            Changed: the stored revision is another; or the operation has not failed, or was
                tried again since it was read.
            NotFound: the service is gone.
        """

    @abc.abstractmethod
    def amend(self, service: Service) -> None:
        """Replace what is stored of a service; nothing is to be done about it.

        For what an operator corrects by hand. Its document is not to change.

        Args:
            service: as read from this store, with changes; its ``revision`` as read.

        Raises:
            Changed: the stored revision is another.
            NotFound: the service is gone.
            ServiceBusy: it has unfinished operations, which would overwrite this.
        """


class OperationStore(abc.ABC):
    """Operations, and the writes of the workers that run them.

    Finished ones are forgotten some time after their end, as the option ``operation_retention``
    of ``[drivers:storage]`` says.
    """

    @abc.abstractmethod
    def get(self, key: OperationKey) -> Operation:
        """Read an operation.

        Raises:
            NotFound: there is none.
        """

    @abc.abstractmethod
    def list(self, project_id: str, service_id: str) -> Sequence[Operation]:
        """All operations of a service, by id (which is by creation)."""

    @abc.abstractmethod
    def history(
        self, project_id: str, service_id: str, marker: str | None, limit: int
    ) -> Sequence[Operation]:
        """A page of the operations of a service, the latest first. They outlive the service.

        Args:
            marker: the page begins behind this id, whether or not such an operation exists.
            limit: at most so many.
        """

    def was_deleted(self, project_id: str, service_id: str) -> bool:
        """Whether the last that was asked for of a service is its deletion, done or not."""
        latest = self.history(project_id, service_id, None, 1)
        return bool(latest) and latest[0].kind is Kind.DELETE

    @abc.abstractmethod
    def find(
        self,
        states: Collection[State],
        before: datetime.datetime,
        marker: Marker | None = None,
    ) -> Iterator[Operation]:
        """Operations of all services that are in one of these states, the oldest first.

        They are read a piece at a time as they are asked for. The cost depends on how many
        unfinished ones there are, or failed ones, but not on how many operations or services.
        (What is the oldest is told by ids or times, which clocks of several servers have made.)

        Args:
            states: unfinished ones, and ``failed``.
            before: only those that were asked for until then.
            marker: of an operation that was found before: only those that come behind it.
        """

    @abc.abstractmethod
    def failures(self, limit: int) -> Sequence[Operation]:
        """Operations of all services that have failed, the latest first.

        The cost must not depend on how many have. (What is the latest is told by when they were
        asked for, or by when they failed, as the store can.)

        Args:
            limit: at most so many.
        """

    @abc.abstractmethod
    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Forget operations that ended before a moment, unless the store does that by itself.

        Args:
            limit: about so many at most.

        Returns:
            How many were forgotten; as many as ``limit``, if there are more.
        """

    @abc.abstractmethod
    def due(
        self, now: datetime.datetime, limit: int, had: Mapping[str, int] | None = None
    ) -> Sequence[Operation]:
        """Unfinished operations whose ``next_attempt_at`` has come, in fair order.

        Projects take turns; within a project purges come first, then the longest due; bulk work
        follows, but for its share. See :mod:`poppy.model.fairness`.

        The cost may depend on how many projects have something unfinished, but not on how many
        operations one of them has waiting, nor on how many there are at all.

        Args:
            had: how many turns projects have had already, by what they have on the board.
        """

    @abc.abstractmethod
    def count_open(self, project_id: str, limit: int) -> int:
        """How many unfinished operations a project has, without bulk work, up to a limit.

        The limit bounds the cost. The number may lag behind by some seconds, and be wrong by the
        operations of processes that died.
        """

    @abc.abstractmethod
    def join(self, project_id: str, service_id: str, purge: Purge) -> Operation | None:
        """Add a purge to the service's last unfinished operation, if that is one that can take it.

        Only to one that no worker has begun (see :meth:`Operation.joined`), and atomically: what
        this returns is purged by a run that begins later.

        Returns:
            The operation as it is now; None if there is none that the purge can join.
        """

    @abc.abstractmethod
    def requeue(self, operation: Operation, next_attempt_at: datetime.datetime) -> bool:
        """Take a due operation for posting, so that no other dispatcher posts it as well.

        It becomes ``queued``; the run of a ``running`` one is fenced: its worker is lost, and
        its ``crashes`` grow by one.

        Args:
            operation: as read from :meth:`due`.
            next_attempt_at: when the posted job counts as lost.

        Returns:
            Whether it was still as read; if not, another has taken it.
        """

    @abc.abstractmethod
    def begin(
        self, key: OperationKey, runner: str, now: datetime.datetime, until: datetime.datetime
    ) -> Run:
        """Begin a run: the state becomes ``running``, the attempt grows by one.

        So do the ``crashes`` of one that was ``running`` already: that run was lost.

        From then on, an earlier run of the operation can't write any more. The operation of a
        service that was asked for first runs first, and one at a time. (Ids may come from the
        clocks of several servers, so the one that runs may have a later id.)

        A create or update that waits is overtaken by any that was asked for later
        (:meth:`~poppy.model.operations.Operation.blocks`). If that is an update, the one that
        waits becomes ``superseded``.

        Args:
            runner: the job that runs it. An operation that is ``running`` can only be begun
                again by the same job (which then was taken over from a lost worker). Unless
                it is ``queued``, another job can begin it when its ``next_attempt_at`` has
                passed.
            until: when the worker counts as lost, unless it writes or renews before.

        Raises:
            NotRunnable: it is finished or gone; an earlier one is unfinished, and no create or
                update that waits; or another one of the service is running, or superseded and
                still holds the service; another job runs it; it waits and is not due.
        """

    @abc.abstractmethod
    def save(self, operation: Operation, details: ProviderDetails | None) -> Operation | None:
        """Write what a run has reached, if it still has the right to.

        Args:
            operation: with the attempt of the run. A finished state ends the run; the success
                of one that deploys releases the domains that the service's document does
                not name any more, unless another that deploys is queued. While it is
                unfinished, ``next_attempt_at`` must be set, or it would be lost.
            details: the service's provider details; None leaves them alone. The service's
                ``updated_at`` becomes the operation's.

        Returns:
            When the operation is finished, or is a create or update that waits: the next one of
            the service that is queued, if any, which is due from then on.

        Raises:
            Superseded: a delete has overtaken it, and waits for :meth:`acknowledge`.
            Fenced: parked, finished, or begun by another worker meanwhile; or superseded, and
                its lease has been taken to have lapsed. Nothing is written.
        """

    @abc.abstractmethod
    def renew(self, key: OperationKey, attempt: int, until: datetime.datetime) -> bool:
        """Say that the run is alive: it counts as lost only after ``until``.

        Returns:
            Whether it may go on. False when it was superseded: it then has to end as soon as
            it can, and holds the service until it does or ``until`` has passed.

        Raises:
            Fenced: as for :meth:`save`.
        """

    @abc.abstractmethod
    def acknowledge(
        self, key: OperationKey, attempt: int, now: datetime.datetime
    ) -> Operation | None:
        """Say that a superseded run has ended: none of its calls can have an effect any more.

        Does nothing if it has been said before, or if the run's lease had lapsed.

        Returns:
            The operation that had to wait for it, if any, which is due from then on.
        """

    @abc.abstractmethod
    def remove(self, operation: Operation) -> None:
        """End a delete: the service and its claims go; it is kept in an archive.

        The operation is stored as given (``succeeded``); any that was queued behind it becomes
        ``superseded``.

        Raises:
            Fenced: as for :meth:`save`.
        """


class Storage(Driver, abc.ABC):
    """A store. It connects when it is first used, so that it can be made before a fork.

    Attributes:
        flavors: see :class:`FlavorStore`.
        services: see :class:`ServiceStore`.
        operations: see :class:`OperationStore`.
        domains: see :class:`~poppy.storage.domains.DomainStore`.
        fleet: see :class:`~poppy.storage.fleet.FleetStore`.
        projects: see :class:`~poppy.storage.lookups.ProjectStore`.
        lookups: see :class:`~poppy.storage.lookups.LookupStore`.
        documents: see :class:`~poppy.storage.lookups.DocumentStore`.
    """

    KIND: ClassVar[str] = "storage"

    flavors: FlavorStore
    services: ServiceStore
    operations: OperationStore
    domains: DomainStore
    fleet: FleetStore
    projects: ProjectStore
    lookups: LookupStore
    documents: DocumentStore

    @abc.abstractmethod
    def sync(self) -> None:
        """Bring the schema to this version; safe to repeat, and by two at once.

        Raises:
            ConfigError: the schema is newer than this version of Poppy.
        """

    @abc.abstractmethod
    def check(self) -> None:
        """Make sure the schema is this version's, at start.

        Raises:
            ConfigError: it is not; says what to run.
        """

    @abc.abstractmethod
    def version(self) -> SchemaVersion:
        """Which schema is there, and which is needed; for people, :meth:`check` decides."""

    def durability(self) -> Sequence[str]:
        """What can make the store lose what it has acknowledged, in sentences for operators.

        Returns:
            Nothing, if a machine that loses power takes nothing with it, as far as can be told.

        Raises:
            ConfigError: the store is not set up.
            Unavailable: the store does not answer.
        """
        return ()

    def replicas(self) -> Mapping[str, int]:
        """How many copies of all data each region keeps; empty where a store knows no regions."""
        return {}

    def drop_region(self, region: str, *, force: bool = False) -> None:
        """Keep no copies in a region that is lost, so that the others decide without it.

        Args:
            force: though nodes of the region answer.

        Raises:
            InvalidRequest: there is no such region, or it is not lost.
            ConfigError: the store refuses, with the reason.
            Unavailable: the store does not answer.
        """
        raise errors.InvalidRequest(f"Storage '{self.name}' knows no regions")

    def add_region(self, region: str, replicas: int) -> None:
        """Keep copies in one more region; what is there already has to be copied to it.

        Args:
            replicas: how many copies.

        Raises:
            InvalidRequest: the region is unknown, or has copies already.
            ConfigError: the store refuses, with the reason.
            Unavailable: the store does not answer.
        """
        raise errors.InvalidRequest(f"Storage '{self.name}' knows no regions")

    @abc.abstractmethod
    def is_alive(self) -> bool:
        """Whether the store answers now; never raises."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of connections; may be used again afterwards."""
