# SPDX-License-Identifier: Apache-2.0
"""How any change is made: read, decide, store together with an operation, then post.

Each change is stored together with an operation, in one step, before anything else happens;
then a job is posted that names the operation. When posting fails, the request is accepted all the
same: the operation is in storage, where workers look for what nobody has delivered.
"""

import datetime
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from oslo_log import log

from poppy.common import errors, tracing
from poppy.distributed_task.base import DistributedTask
from poppy.distributed_task.ownership import Ownership
from poppy.dns.base import DNSDriver
from poppy.manager import requirements, shared
from poppy.manager.reserved import ReservedNames
from poppy.model import certificates
from poppy.model.flavors import Flavor
from poppy.model.operations import Kind, Operation, Priority, Purge
from poppy.model.services import (
    ProviderDetail,
    ProviderDetails,
    ProviderStatus,
    Service,
    ServiceSpec,
    Status,
)
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: What is to be stored: the service as it shall be, and what is to be done about it.
Change = tuple[Service, Operation]

#: Raises an error when a service is not as it has to be for a change.
Check = Callable[[Service], None]

#: How often a change is decided anew because another request changed the service meanwhile.
MAX_CONFLICTS = 20

#: Seconds after which a project that has too much under way may try again.
RETRY_AFTER = 10

#: More unfinished operations than these need not be told apart.
MANY_OPEN = 500


class Changes:
    """Makes changes, for the managers of all resources that workers look after.

    Args:
        max_open: how many unfinished operations a project may have before its tenants have to
            wait; 0 for any number.

    Attributes:
        reserved: refuses names that tenants may not use.
    """

    def __init__(
        self,
        storage: Storage,
        distributed_task: DistributedTask,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        reserved: ReservedNames,
        ownership: Ownership | None,
        max_open: int,
    ) -> None:
        self.reserved = reserved
        self._ownership = ownership
        self._storage = storage
        self._max_open = max_open
        self._distributed_task = distributed_task
        self._providers = providers
        self._dns = dns

    def make(
        self, project_id: str, service_id: str, decide: Callable[[Service], Change | None]
    ) -> bool:
        """Read, decide, store; decide anew when another request was faster; then post.

        Args:
            decide: gives None when there is nothing to do.

        Returns:
            Whether there was something to do.

        Raises:
            NotFound: the project has no service of that id.
            DomainTaken: an added domain is another service's.
        """
        for _ in range(MAX_CONFLICTS):
            service = self._storage.services.get(project_id, service_id)
            change = decide(service)
            if change is None:
                return False
            changed, operation = change

            def store(
                spec: ServiceSpec, changed: Service = changed, operation: Operation = operation
            ) -> None:
                self._storage.services.submit(
                    replace(changed, spec=spec, updated_at=operation.created_at), operation
                )

            try:
                self.place(project_id, changed.spec, store, service.spec)
            except errors.Changed:
                continue
            self.post(operation)
            return True
        raise errors.Unavailable(
            f"Service {service_id} is being changed by too many requests at once", retry_after=1
        )

    def place(
        self,
        project_id: str,
        spec: ServiceSpec,
        store: Callable[[ServiceSpec], None],
        before: ServiceSpec | None = None,
        placed: Collection[str] = (),
    ) -> None:
        """Store a document whose names its tenant may have; see :func:`.shared.store_placed`.

        Args:
            before: the document that it takes the place of.
            placed: names under the shared certificate that a new service has already.

        Raises:
            InvalidRequest: a name is reserved, or no shared name is left.
            DomainTaken: a domain is taken, or kept for another project.
        """
        known, origins = placed, frozenset[str]()
        if before is not None:
            known = before.domain_names
            origins = frozenset(origin.origin for origin in before.origins)
        self.reserved.check(spec, known, origins)
        for _ in spec.domains:
            try:
                return shared.store_placed(spec, known, self._dns, store)
            except errors.DomainTaken as exc:
                if self._ownership is None or certificates.is_namespace(project_id):
                    raise
                self._ownership.take_over(project_id, exc)
        return shared.store_placed(spec, known, self._dns, store)

    def noted(self, details: ProviderDetails, service: Service) -> ProviderDetails:
        """Details with the DNS records that the tenant has to make first, where there are any.

        Args:
            service: with the document as it is to be, and the details as they were.
        """
        return details if self._ownership is None else self._ownership.noted(details, service)

    def updated(
        self,
        service: Service,
        spec: ServiceSpec,
        request_id: str | None,
        priority: Priority | None = None,
        *,
        capped: bool = False,
    ) -> Change:
        """Have the providers of its flavor make a service what a document says.

        Args:
            priority: by default that of what a tenant asks for.
            capped: as for :meth:`operation`.

        Raises:
            InvalidRequest: there is no such flavor, or a provider can't do it.
        """
        flavor = self.flavor(spec.flavor_id)
        self.check(spec, flavor)
        # Providers that the flavor does not name any more are kept until they are clean.
        providers = dict.fromkeys((*flavor.provider_names, *service.provider_details))
        known = service.provider_details
        status = ProviderStatus.UPDATE_IN_PROGRESS
        if {it.status for it in known.values()} == {ProviderStatus.DEPLOY_IN_PROGRESS}:
            # It takes the place of a create that waits: the tenant is to see the create go on.
            status = ProviderStatus.DEPLOY_IN_PROGRESS
        details = {name: with_status(known.get(name), status) for name in providers}
        operation = self.operation(
            service.project_id,
            service.service_id,
            Kind.UPDATE,
            request_id=request_id,
            priority=priority,
            capped=capped,
        )
        changed = replace(service, spec=spec)
        return changed.with_details(self.noted(details, changed)), operation

    def check(self, spec: ServiceSpec, flavor: Flavor) -> None:
        """Refuse what the flavor's providers or the DNS driver can't do.

        Raises:
            InvalidRequest: names the part of the document, and why.
        """
        requirements.check(spec, flavor, self._providers, self._dns)

    def flavor(self, flavor_id: str) -> Flavor:
        """A flavor that a request names.

        Raises:
            InvalidRequest: there is none.
        """
        try:
            return self._storage.flavors.get(flavor_id)
        except errors.NotFound as exc:
            raise errors.InvalidRequest(f"There is no flavor '{flavor_id}'") from exc

    def operation(
        self,
        project_id: str,
        service_id: str,
        kind: Kind,
        request_id: str | None,
        purge: Purge | None = None,
        quiet: bool = False,
        priority: Priority | None = None,
        *,
        capped: bool = False,
    ) -> Operation:
        """A new operation, which is to be posted once it is stored.

        Args:
            capped: whether a tenant asks for it, who may have only so many unfinished ones.
                (Requests at the same moment may exceed that by their number.)

        Raises:
            TooManyRequests: the project has as many as it may.
        """
        unfinished = 0
        if priority is not Priority.BULK:
            unfinished = self._storage.operations.count_open(
                project_id, self._max_open or MANY_OPEN
            )
        if capped and self._max_open and unfinished >= self._max_open:
            raise errors.TooManyRequests(
                f"Project {project_id} has {self._max_open} unfinished operations, which is as "
                "many as it may have; please wait until some are done",
                RETRY_AFTER,
            )
        operation = Operation.new(
            project_id,
            service_id,
            kind,
            purge=purge,
            quiet=quiet,
            request_id=request_id,
            trace=tracing.traceparent(),
            priority=priority,
        )
        # What is not to be posted is due at once, for the workers to fetch from storage.
        if operation.priority is Priority.BULK or not self._distributed_task.has_room(unfinished):
            return operation
        lost = datetime.timedelta(seconds=self._distributed_task.redelivery)
        return replace(operation, next_attempt_at=operation.created_at + lost)

    def post(self, operation: Operation) -> None:
        """Tell the workers of an operation that is stored; never fails."""
        if operation.next_attempt_at == operation.created_at:
            return
        try:
            with tracing.span(f"post {operation.kind}", tracing.Kind.PRODUCER):
                self._distributed_task.post(operation)
        except errors.Unavailable as exc:
            LOG.warning(
                "Operation %s of service %s is stored but could not be posted; a worker will "
                "find it in storage: %s",
                operation.operation_id,
                operation.service_id,
                exc,
            )


def check_settled(service: Service) -> None:
    """Refuse to change a service while something is under way.

    Raises:
        ServiceBusy: it is disabled, or neither deployed nor failed.
    """
    if service.status not in (Status.DEPLOYED, Status.FAILED):
        raise errors.ServiceBusy(
            f"Service {service.service_id} is {service.status}; it can be changed once it is "
            "deployed or failed"
        )


def with_status(detail: ProviderDetail | None, status: ProviderStatus) -> ProviderDetail:
    """The detail with another status and without the errors of what went before."""
    if detail is None:
        return ProviderDetail(status=status)
    return replace(detail, status=status, error_message=None, error_info=None, error_class=None)
