# SPDX-License-Identifier: Apache-2.0
"""The contract of operation storage: operations, and the progress of the workers that run them.

The rules are in :mod:`poppy.model.lifecycle`; a store guarantees atomicity.
"""

import abc
import datetime
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from poppy.model import lifecycle
from poppy.model.lifecycle import Aggregate, Run, Transition
from poppy.model.operations import Kind, Operation, OperationKey, Purge, State
from poppy.model.provider_details import ProviderDetails

T = TypeVar("T", bound=Transition | None)
Needed = Callable[[Mapping[str, str]], Iterable[str]]


class Unfinished(NamedTuple):
    """The number of a project's unfinished operations.

    Attributes:
        total: all of them.
        parked: those that no worker looks at before a time in the future. An operation that was
            parked and then made due earlier may count as parked too.
    """

    total: int
    parked: int = 0

    @property
    def active(self) -> int:
        """The operations that wait for a worker or run."""
        return self.total - self.parked


class Marker(NamedTuple):
    """The operation that a page follows. It may no longer exist."""

    created_at: datetime.datetime
    operation_id: str


class OperationStore(abc.ABC):
    """Store operations, and the progress of the workers that run them.

    Finished operations are deleted after ``operation_retention``, an option of
    ``[drivers:storage]``.
    """

    @abc.abstractmethod
    def get(self, key: OperationKey) -> Operation:
        """Return an operation.

        Raises:
            NotFound: there is no such operation.
        """

    @abc.abstractmethod
    def list(self, project_id: str, service_id: str) -> Sequence[Operation]:
        """Return all operations of a service, sorted by id (that is, by creation)."""

    @abc.abstractmethod
    def history(
        self, project_id: str, service_id: str, marker: str | None, limit: int
    ) -> Sequence[Operation]:
        """Return a page of a service's operations, latest first. They outlive the service.

        Args:
            marker: the page starts after this id. The operation need not exist.
            limit: the maximum length of the page.
        """

    def was_deleted(self, project_id: str, service_id: str) -> bool:
        """Whether the latest request for a service is its deletion, finished or not."""
        latest = self.history(project_id, service_id, None, 1)
        return bool(latest) and latest[0].kind is Kind.DELETE

    @abc.abstractmethod
    def find(
        self,
        states: Collection[State],
        before: datetime.datetime,
        marker: Marker | None = None,
    ) -> Iterator[Operation]:
        """Iterate over the operations of all services in one of these states, oldest first.

        Operations are read in batches as the caller consumes them. The cost may depend on how
        many are unfinished or failed, but not on how many operations or services there are.
        (Age is judged by ids or times, which come from the clocks of several servers.)

        Args:
            states: unfinished states, and ``failed``.
            before: return only operations that were requested by then.
            marker: return only operations that follow this one.
        """

    @abc.abstractmethod
    def failures(self, limit: int) -> Sequence[Operation]:
        """Return the failed operations of all services, latest first.

        The cost must not depend on how many have failed. (The store decides whether it sorts by
        the time of the request or of the failure.)

        Args:
            limit: the maximum number of operations.
        """

    @abc.abstractmethod
    def prune(self, before: datetime.datetime, limit: int) -> int:
        """Delete operations that ended before a moment, unless the store expires them itself.

        Args:
            limit: the approximate maximum.

        Returns:
            How many were deleted; ``limit`` if there are more.
        """

    @abc.abstractmethod
    def due(
        self, now: datetime.datetime, limit: int, had: Mapping[str, int] | None = None
    ) -> Sequence[Operation]:
        """Return unfinished operations that are due (by ``next_attempt_at``), in fair order.

        Projects take turns. Within a project purges come first, then the longest due. Bulk work
        comes last, except for its share. See :mod:`poppy.model.fairness`.

        The cost may depend on how many projects have unfinished operations, but not on the
        backlog of one project, nor on the total number of operations.

        Args:
            had: the number of turns each project has already had, from its jobs on the board.
        """

    @abc.abstractmethod
    def count_open(self, project_id: str, limit: int, now: datetime.datetime) -> Unfinished:
        """Count a project's unfinished operations, except bulk work, up to a limit.

        The limit bounds the cost. The numbers may lag by some seconds, and may be off by the
        operations of processes that died.
        """

    @abc.abstractmethod
    def join(self, project_id: str, service_id: str, purge: Purge) -> Operation | None:
        """Add a purge to the service's last unfinished operation, if that can take it.

        An operation can take a purge only until a worker begins it (see
        :meth:`Operation.joined`). The change is atomic: a later run of the returned operation
        performs the purge.

        Returns:
            The operation with the purge; None if no operation can take it.
        """

    def requeue(self, operation: Operation, next_attempt_at: datetime.datetime) -> bool:
        """Reserve a due operation for posting, so that no other dispatcher posts it as well.

        The operation becomes ``queued``. If it was ``running``, its worker is lost: the run is
        fenced and ``crashes`` grows by one.

        Args:
            operation: as read from :meth:`due`.
            next_attempt_at: when the posted job counts as lost.

        Returns:
            False if the operation has changed since it was read, that is, another dispatcher
            has taken it.
        """

        def decide(found: Aggregate) -> Transition | None:
            stored = found.operations.get(operation.operation_id)
            taken = lifecycle.requeue(stored, operation, next_attempt_at)
            return Transition((taken,)) if taken else None

        return self.change(operation.key, decide) is not None

    def begin(
        self, key: OperationKey, runner: str, now: datetime.datetime, until: datetime.datetime
    ) -> Run:
        """Begin a run: set the state to ``running`` and increase ``attempt`` by one.

        If the operation was already ``running``, that run was lost and ``crashes`` grows by one
        too.

        From then on, earlier runs of the operation can no longer write. A service's operations
        run one at a time, in the order in which they were requested. (Ids may come from the
        clocks of several servers, so a running operation may have a later id.)

        A waiting create or update does not block later operations
        (:meth:`~poppy.model.operations.Operation.blocks`). If the later one is an update, the
        waiting one becomes ``superseded``.

        Args:
            runner: the job that runs the operation. Only the same job can begin a ``running``
                operation again (after another worker has taken it over from a lost one). Unless
                the operation is ``queued``, another job can begin it once its
                ``next_attempt_at`` has passed.
            until: when the worker counts as lost unless it writes or renews first.

        Raises:
            NotRunnable: the operation is finished or gone; or an earlier one is unfinished and
                not a waiting create or update; or another one of the service is running, or is
                superseded and still holds the service; or another job runs this one; or it
                waits and is not due.
        """
        run = self.change(
            key,
            lambda found: lifecycle.begin(found, key, runner, now, until),
            lifecycle.needed_to_begin,
        ).run
        assert run is not None
        return run

    def save(self, operation: Operation, details: ProviderDetails | None) -> Operation | None:
        """Write a run's progress, if the run may still write.

        Args:
            operation: with the run's attempt. A finished state ends the run. If it succeeds and
                its kind deploys, release the domains that the service's document no longer
                names, unless another deployment is queued. An unfinished operation must have
                ``next_attempt_at`` set, or it would be lost.
            details: the service's provider details; None leaves them unchanged. The service's
                ``updated_at`` becomes the operation's.

        Returns:
            The service's next queued operation, which is now due. None if there is none, or if
            the operation is neither finished nor a waiting create or update.

        Raises:
            Superseded: a delete has superseded the run and waits for :meth:`acknowledge`.
            Fenced: the operation was parked, finished or begun by another worker; or it was
                superseded and its lease was considered lapsed. Nothing is written.
        """
        return self.change(
            operation.key,
            lambda found: lifecycle.save(found, operation, details),
            lambda states: lifecycle.needed_to_save(states, operation),
            by_run=True,
        ).following

    def renew(self, key: OperationKey, attempt: int, until: datetime.datetime) -> bool:
        """Report that the run is alive: it counts as lost only after ``until``.

        Returns:
            Whether the run may continue. If False, it is superseded: it must end as soon as
            possible, and holds the service until it does or until ``until`` has passed.

        Raises:
            Fenced: as for :meth:`save`.
        """

        def decide(found: Aggregate) -> Transition:
            stored = found.operations.get(key.operation_id)
            return Transition((lifecycle.renew(stored, key, attempt, until),))

        (renewed,) = self.change(key, decide, by_run=True).operations
        return not renewed.state.finished

    def acknowledge(
        self, key: OperationKey, attempt: int, now: datetime.datetime
    ) -> Operation | None:
        """Report that a superseded run has ended: none of its calls can take effect any more.

        Does nothing if this was already reported, or if the run's lease had lapsed.

        Returns:
            The operation that waited for it, which is now due; None if there is none.
        """
        transition = self.change(
            key,
            lambda found: lifecycle.acknowledge(found, key, attempt, now),
            lifecycle.needed_to_acknowledge,
        )
        return transition.following if transition else None

    @abc.abstractmethod
    def remove(self, operation: Operation) -> None:
        """Finish a delete: archive the service and release its claims.

        The operation is stored as given (``succeeded``). Operations queued behind it become
        ``superseded``.

        Raises:
            Fenced: as for :meth:`save`.
        """

    @abc.abstractmethod
    def change(
        self,
        key: OperationKey,
        decide: Callable[[Aggregate], T],
        needed: Needed = lifecycle.nothing,
        *,
        by_run: bool = False,
    ) -> T:
        """Load a service and an operation, decide, and store the decision, atomically.

        Args:
            decide: a function of :mod:`poppy.model.lifecycle`. It may be called repeatedly, each
                time with what is stored by then. Nothing is stored if it returns
                None or raises.
            needed: returns the ids of more operations to load, given the states of the open ones.
            by_run: a run of the operation asks. So the store may decide by what the run wrote
                last, if nothing was written since.

        Returns:
            The decision that was stored.
        """
