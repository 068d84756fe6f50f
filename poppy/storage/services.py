# SPDX-License-Identifier: Apache-2.0
"""The contract of service storage: services, their domain claims, and idempotency keys."""

import abc
import datetime
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from poppy.model.operations import Operation
from poppy.model.services import Service, Status

_KEY_LIFE = datetime.timedelta(days=1)


class IdempotencyKey(NamedTuple):
    """A client's mark on a request, which lets it repeat the request without a second effect.

    Attributes:
        value: chosen by the client; unique within its project only.
        fingerprint: of the request, at most 64 characters. The same value with another
            fingerprint is a different request.
        expires_at: when the store may forget the key.
    """

    value: str
    fingerprint: str
    expires_at: datetime.datetime

    @classmethod
    def of(cls, value: str, document: object) -> Self:
        """Mark the document of a request, whatever its formatting, for a day."""
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        fingerprint = hashlib.sha256(text.encode("ascii")).hexdigest()
        return cls(value, fingerprint, datetime.datetime.now(datetime.UTC) + _KEY_LIFE)


class ServiceStore(abc.ABC):
    """Store services and claim their domains."""

    @abc.abstractmethod
    def create(
        self,
        service: Service,
        operation: Operation,
        default_limit: int,
        key: IdempotencyKey | None = None,
    ) -> None:
        """Store a new service with its first operation and claim its domains, atomically.

        Args:
            default_limit: the maximum number of services of a project without a limit of its
                own. The store enforces it under concurrent creates.
            key: stored atomically with the service.

        Raises:
            Repeated: the project has already created a service with this key; names the service.
            KeyReused: the project has already used this key for a different request.
            DomainTaken: a domain is claimed already. Of two concurrent claims one succeeds.
            DomainReleased: a domain is in quarantine for its former project.
            LimitReached: the project has reached its limit of services.
            InvalidRequest: the flavor does not exist, or no longer exists.
        """

    @abc.abstractmethod
    def created_by(self, project_id: str, key: IdempotencyKey) -> str | None:
        """Return the id of the service created with this key. The service may be gone.

        Raises:
            KeyReused: the key was used for a different request.
        """

    @abc.abstractmethod
    def get(self, project_id: str, service_id: str) -> Service:
        """Return a service.

        Raises:
            NotFound: the project has no such service.
        """

    @abc.abstractmethod
    def list(
        self, project_id: str, marker: str | None, limit: int, status: Status | None = None
    ) -> Sequence[Service]:
        """Return a page of the project's services, sorted by id (that is, by creation).

        The cost must not depend on how many services the project has.

        Args:
            marker: the page starts after this id. The service need not exist.
            limit: the maximum length of the page.
            status: return only services with this status.
        """

    @abc.abstractmethod
    def scan(self) -> Iterator[Service]:
        """Iterate over all services of all projects, in any order.

        For operators' tools: it reads everything, in batches. A service that is created or
        deleted during the scan may be missed; every other service is returned exactly once.
        """

    @abc.abstractmethod
    def submit(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue an operation for it, atomically.

        If the operation deploys, claim the domains that the new document adds and those that the
        service has lost. Domains that the document drops stay claimed until an operation
        succeeds: until then a provider may still serve them.

        A delete makes every unfinished operation of the service ``superseded``. A running one is
        fenced but keeps its ``next_attempt_at`` as a lease on the service: its worker may be in
        a driver call that takes effect later. See :meth:`.OperationStore.acknowledge`.

        An update makes waiting creates and updates ``superseded``
        (:meth:`~poppy.model.operations.Operation.gives_way_to`), because it does their work. If
        a worker begins one of them at the same moment, that one runs first; if it waits again,
        the update supersedes it when the update begins (:meth:`.OperationStore.begin`).

        Args:
            service: as read from this store, with changes; its ``revision`` as read.

        Raises:
            Changed: the stored revision differs.
            NotFound: the service is gone.
            DomainTaken: another service has claimed an added domain.
            DomainReleased: an added domain is in quarantine for its former project.
            InvalidRequest: the flavor does not exist, or no longer exists.
        """

    @abc.abstractmethod
    def reopen(self, service: Service, operation: Operation) -> None:
        """Replace a service and queue a failed operation again, atomically.

        Args:
            service: as for :meth:`submit`, with an unchanged document.
            operation: as it is stored; its ``attempt`` as read.

        Raises:
            Changed: the stored revision differs, the operation has not failed, or it was retried
                after it was read.
            NotFound: the service is gone.
        """

    @abc.abstractmethod
    def amend(self, service: Service) -> None:
        """Replace a stored service without queueing an operation.

        For an operator's manual corrections. The document must be unchanged.

        Args:
            service: as read from this store, with changes; its ``revision`` as read.

        Raises:
            Changed: the stored revision differs.
            NotFound: the service is gone.
            ServiceBusy: the service has unfinished operations, which would overwrite the change.
        """
