# SPDX-License-Identifier: Apache-2.0
"""Operations: accepted requests for a service, from acceptance to result."""

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from poppy.model import ids
from poppy.model.purges import Purge as Purge


class Kind(enum.StrEnum):
    """The kind of an operation."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    PURGE = "purge"
    DISABLE = "disable"
    STEER = "steer"
    PREWARM = "prewarm"

    @property
    def names_only(self) -> bool:
        """Whether it changes only DNS names and no provider details."""
        return self in (Kind.DISABLE, Kind.STEER)

    @property
    def deploys(self) -> bool:
        """Whether its success means that providers and DNS match the document."""
        return self in (Kind.CREATE, Kind.UPDATE)


class Priority(enum.IntEnum):
    """How urgent an operation is, beside others; see :mod:`poppy.model.fairness`.

    The numbers are stored: do not change them.
    """

    PURGE = 0
    """Outdated or unlawful content is served until it is done."""
    TENANT = 1
    """What a tenant asked for, or an operator for one service."""
    BULK = 2
    """What follows for many services at once: redeploy, import, failover."""


class State(enum.StrEnum):
    """The state of an operation.

    ::

        queued ──→ running ──→ succeeded | failed
          ↑          │  ↑
          │ (lost)   ↓  │ (due)
          └─────── waiting             a delete supersedes any unfinished operation,
                                       an update supersedes a waiting create or update

    A superseded operation may still have a driver call in progress; see
    :attr:`Operation.is_held`.
    """

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self in _FINISHED


_FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.SUPERSEDED})


class OperationKey(NamedTuple):
    """The key of an operation in storage. Jobs on the board carry it."""

    project_id: str
    service_id: str
    operation_id: str


class StepState(enum.StrEnum):
    """The state of a step."""

    PENDING = "pending"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One driver's part of an operation.

    Attributes:
        name: ``provider:<name>`` or ``dns``, with the prefix ``remove:`` for a cleanup.
        message: why it waits or failed.
        error_class: the class name of the error.
    """

    name: str
    state: StepState = StepState.PENDING
    message: str | None = None
    error_class: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An accepted request for a service, with its progress.

    Attributes:
        attempt: the fencing token: the number of runs so far. A run may write only while it
            matches the stored attempt.
        failures: the number of attempts that ended in a retryable error; polls do not count.
        next_attempt_at: when the dispatcher may post it to the board again, in UTC. For
            ``queued``: when its job counts as lost. For ``waiting``: when it is due. For
            ``running``, and for ``superseded`` while it ran: when its worker counts as lost. None
            for other finished operations.
        crashes: the number of consecutive lost runs: started, but neither parked, finished nor
            handed back.
        runner: the job that runs it, so that a job that was taken over is known as such.
        steps: how far each driver's part got, in order.
        error: why it waits or failed, in words.
        request_id: of the API request that asked for it.
        retried_at: when an operator retried it after it had failed.
        trace: of that request, as a W3C ``traceparent``, when it was traced.
        prewarm: the paths that a prewarm fetches.
        quiet: of a soft purge: the service's status does not show it, because it shows another
            operation or a failure.
        priority: how urgent it is; never changes.
    """

    project_id: str
    service_id: str
    operation_id: str
    kind: Kind
    created_at: datetime.datetime
    updated_at: datetime.datetime
    state: State = State.QUEUED
    attempt: int = 0
    failures: int = 0
    crashes: int = 0
    next_attempt_at: datetime.datetime | None = None
    runner: str | None = None
    steps: tuple[Step, ...] = ()
    error: str | None = None
    purge: Purge | None = None
    request_id: str | None = None
    retried_at: datetime.datetime | None = None
    trace: str | None = None
    quiet: bool = False
    priority: Priority = Priority.TENANT
    prewarm: tuple[str, ...] = ()

    @classmethod
    def new(
        cls,
        project_id: str,
        service_id: str,
        kind: Kind,
        *,
        purge: Purge | None = None,
        quiet: bool = False,
        request_id: str | None = None,
        trace: str | None = None,
        due_in: datetime.timedelta = datetime.timedelta(0),
        priority: Priority | None = None,
    ) -> Self:
        """Create an operation now.

        Args:
            due_in: after how long the dispatcher is to post it, if no worker has begun it by then.
            priority: by default that of its kind.
        """
        if priority is None:
            priority = Priority.PURGE if kind is Kind.PURGE else Priority.TENANT
        now = datetime.datetime.now(datetime.UTC)
        return cls(
            project_id=project_id,
            service_id=service_id,
            operation_id=ids.new(),
            kind=kind,
            created_at=now,
            updated_at=now,
            next_attempt_at=now + due_in,
            purge=purge,
            quiet=quiet,
            request_id=request_id,
            trace=trace,
            priority=priority,
        )

    @property
    def is_shown(self) -> bool:
        """Whether the service's status shows its progress."""
        if self.purge is not None:
            return not (self.purge.hard or self.quiet)
        return not self.kind.names_only and self.kind is not Kind.PREWARM

    @property
    def waits(self) -> bool:
        """Whether a run ended without finishing it, and none is in progress."""
        return self.state is State.WAITING or (self.state is State.QUEUED and self.attempt > 0)

    def gives_way_to(self, later: "Operation") -> bool:
        """Return whether a later operation that is not a delete supersedes this one.

        An update includes all changes of a waiting create or update.
        """
        return self.waits and self.kind.deploys and later.kind.deploys

    def blocks(self, other: "Operation", now: datetime.datetime) -> bool:
        """Return whether another operation of the service must wait for this one.

        Operations of a service run one at a time, in the order of their requests. A waiting create
        or update blocks none, because it may wait a day for the tenant to add a DNS record.
        """
        if self.is_held:
            return self.next_attempt_at is not None and self.next_attempt_at > now
        if self.state.finished or self.operation_id == other.operation_id:
            return False
        if self.state is State.RUNNING:
            return True
        passes = self.state is State.WAITING and self.kind.deploys
        return self.operation_id < other.operation_id and not passes

    @property
    def is_held(self) -> bool:
        """Whether it is superseded, but its worker may still have a driver call in progress."""
        return self.state is State.SUPERSEDED and self.next_attempt_at is not None

    @property
    def since(self) -> datetime.datetime:
        """The start of its current retries: the operator's retry or the request."""
        return self.retried_at or self.created_at

    @property
    def reference(self) -> str:
        """The same for all attempts, until an operator retries it after it failed."""
        if self.retried_at is None:
            return self.operation_id
        return f"{self.operation_id}-{self.retried_at.timestamp():.0f}"

    @property
    def key(self) -> OperationKey:
        """Its key in storage."""
        return OperationKey(self.project_id, self.service_id, self.operation_id)

    def joined(self, purge: Purge) -> Self | None:
        """The same operation with another purge that joins it.

        None unless it is a purge that no worker has begun, and both can be one.
        """
        if self.purge is None or self.state is not State.QUEUED or self.attempt:
            return None
        both = self.purge.joined(purge)
        return None if both is None else replace(self, purge=both)

    def step(self, name: str) -> Step:
        """Return the step of that name; a pending one if it has not started yet."""
        return next((step for step in self.steps if step.name == name), Step(name))

    def with_step(self, step: Step) -> Self:
        """Return a copy with one step replaced or added."""
        if any(known.name == step.name for known in self.steps):
            steps = tuple(step if known.name == step.name else known for known in self.steps)
        else:
            steps = (*self.steps, step)
        return replace(self, steps=steps)

    def progress_to_dict(self) -> dict[str, Any]:
        """Return the fields that are not indexed, such as steps, error and purge, for storage."""
        return {
            "steps": [
                {
                    "name": step.name,
                    "state": str(step.state),
                    "message": step.message,
                    "error_class": step.error_class,
                }
                for step in self.steps
            ],
            "error": self.error,
            "purge": self.purge.to_dict() if self.purge else None,
            "request_id": self.request_id,
            "retried_at": self.retried_at.isoformat() if self.retried_at else None,
            "trace": self.trace,
            "quiet": self.quiet,
            **({"prewarm": list(self.prewarm)} if self.prewarm else {}),
        }

    @staticmethod
    def progress_from_dict(document: Mapping[str, Any]) -> dict[str, Any]:
        """Return constructor arguments from the document of :meth:`progress_to_dict`."""
        return {
            "steps": tuple(
                Step(**{**entry, "state": StepState(entry["state"])})
                for entry in document["steps"]
            ),
            "error": document["error"],
            "purge": Purge.from_dict(document["purge"]) if document["purge"] else None,
            "request_id": document["request_id"],
            # Operations of earlier versions do not have these.
            "retried_at": _moment(document.get("retried_at")),
            "trace": document.get("trace"),
            "quiet": document.get("quiet", False),
            "prewarm": tuple(document.get("prewarm", ())),
        }


def _moment(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None
