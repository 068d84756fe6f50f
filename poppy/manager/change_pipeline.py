# SPDX-License-Identifier: Apache-2.0
"""The change pipeline: read, decide, store with an operation, then post.

Each change is stored together with its operation, atomically and before anything else. Then a job
that names the operation is posted. If posting fails, the request is still accepted: the operation
is in storage, and dispatchers post what is due there.
"""

import datetime
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from oslo_log import log

from poppy.common import errors, tracing
from poppy.distributed_task.base import DistributedTask
from poppy.distributed_task.ownership import Ownership
from poppy.dns.base import DNSDriver
from poppy.manager import requirements
from poppy.manager.document_secrets import DocumentSecrets
from poppy.manager.limits import MANY_OPEN
from poppy.manager.requirements import ReservedNames
from poppy.model import certificates
from poppy.model.flavors import Flavor
from poppy.model.operations import Kind, Operation, Priority, Purge
from poppy.model.provider_details import ProviderDetail, ProviderDetails, ProviderStatus
from poppy.model.services import Service, Status
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Provider
from poppy.storage.base import Storage
from poppy.storage.domains import Claim
from poppy.storage.operations import Unfinished

LOG = log.getLogger(__name__)

#: The changed service and its operation, to be stored together.
Change = tuple[Service, Operation]

#: Raises an error if a service does not meet the precondition of a change.
Check = Callable[[Service], None]

#: How often a change is retried after a conflict with another request.
MAX_CONFLICTS = 20

#: The ``Retry-After`` for a project with too many unfinished operations, in seconds.
RETRY_AFTER = 10


class Changes:
    """The pipeline for changes of all resources that workers provision.

    Args:
        max_open: the limit of unfinished operations per project; 0 for no limit.

    Attributes:
        reserved: the names that tenants may not use.
        secrets: seals and opens the secrets of documents.
    """

    def __init__(
        self,
        storage: Storage,
        distributed_task: DistributedTask,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        reserved: ReservedNames,
        ownership: Ownership | None,
        secrets: DocumentSecrets,
        max_open: int,
    ) -> None:
        self.reserved = reserved
        self.secrets = secrets
        self._ownership = ownership
        self._storage = storage
        self._max_open = max_open
        self._distributed_task = distributed_task
        self._providers = providers
        self._dns = dns

    def make(
        self, project_id: str, service_id: str, decide: Callable[[Service], Change | None]
    ) -> bool:
        """Read a service, decide on a change, store it and post its operation.

        If another request changes the service in between, this starts over.

        Args:
            project_id: the service's project.
            service_id: the service.
            decide: returns the change, or None if there is nothing to do.

        Returns:
            Whether there was a change.

        Raises:
            NotFound: the project has no service with this id.
            DomainTaken: another service has an added domain.
            Unavailable: too many concurrent changes.
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
            f"Too many concurrent requests change service {service_id}", retry_after=1
        )

    def place(
        self,
        project_id: str,
        spec: ServiceSpec,
        store: Callable[[ServiceSpec], None],
        before: ServiceSpec | None = None,
        placed: Collection[str] = (),
        release: Callable[[Claim], None] | None = None,
    ) -> None:
        """Check a document's names and store it; see :func:`store_placed`.

        Args:
            project_id: the service's project.
            spec: the new document.
            store: stores the document atomically.
            before: the document that it replaces.
            placed: names under the shared certificate that a new service already has.
            release: for a dry run: called with a claim that the project's proof would end.

        Raises:
            InvalidRequest: a name is reserved, or no shared name is left.
            DomainTaken: a domain is taken, or in quarantine for another project.
        """
        known, origins = placed, frozenset[str]()
        if before is not None:
            known = before.domain_names
            origins = frozenset(origin.origin for origin in before.origins)
        self.reserved.check(spec, known, origins)
        for _ in spec.domains:
            try:
                return store_placed(spec, known, self._dns, store)
            except errors.DomainTaken as exc:
                if self._ownership is None or certificates.is_namespace(project_id):
                    raise
                if release is None:
                    self._ownership.take_over(project_id, exc)
                elif claim := self._ownership.weaker_claim(project_id, exc):
                    release(claim)
        return store_placed(spec, known, self._dns, store)

    def noted(self, details: ProviderDetails, service: Service) -> ProviderDetails:
        """Return details with the DNS records that the tenant must create first, if any.

        Args:
            details: the new details.
            service: the service with the new document and the old details.
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
        """Return the change that updates a service to a document, sealed by the first key.

        Args:
            service: the service.
            spec: the new document.
            request_id: the id of the request.
            priority: as for :meth:`operation`.
            capped: as for :meth:`operation`.

        Raises:
            InvalidRequest: the flavor does not exist, or a provider does not support the document.
        """
        flavor = self.flavor(spec.flavor_id)
        self.check(spec, flavor)
        # Keep providers that left the flavor until the service is removed from them.
        providers = dict.fromkeys((*flavor.provider_names, *service.provider_details))
        known = service.provider_details
        status = ProviderStatus.UPDATE_IN_PROGRESS
        if {it.status for it in known.values()} == {ProviderStatus.DEPLOY_IN_PROGRESS}:
            # The update supersedes a waiting create; the tenant still sees a creation.
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
        changed = replace(service, spec=self.secrets.renewed(spec, service.service_id))
        return changed.with_details(self.noted(details, changed)), operation

    def check(self, spec: ServiceSpec, flavor: Flavor) -> None:
        """Check that the flavor's providers and the DNS driver support a document.

        Raises:
            InvalidRequest: a part is unsupported; the message names it and the reason.
        """
        requirements.check(spec, flavor, self._providers, self._dns)

    def flavor(self, flavor_id: str) -> Flavor:
        """Return the flavor that a request names.

        Raises:
            InvalidRequest: the flavor does not exist.
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
        """Create an operation; the caller stores it and then posts it.

        Args:
            project_id: the operation's project.
            service_id: the operation's service.
            kind: the kind of the operation.
            request_id: the id of the request.
            purge: what to purge, for a purge.
            quiet: whether the service's status stays unchanged.
            priority: the priority; by default that of a tenant's request of this kind.
            capped: whether the project's limit of unfinished operations applies. Concurrent
                requests can exceed it by their number.

        Raises:
            TooManyRequests: the project has reached its limit of unfinished operations.
        """
        unfinished = Unfinished(0)
        if priority is not Priority.BULK:
            unfinished = self._storage.operations.count_open(
                project_id, self._max_open or MANY_OPEN, datetime.datetime.now(datetime.UTC)
            )
        if capped and self._max_open and unfinished.total >= self._max_open:
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
        # Make an operation that is not posted due at once, so that a dispatcher finds it.
        if operation.priority is Priority.BULK:
            return operation
        if not self._distributed_task.has_room(unfinished.active):
            return operation
        lost = datetime.timedelta(seconds=self._distributed_task.redelivery)
        return replace(operation, next_attempt_at=operation.created_at + lost)

    def post(self, operation: Operation) -> None:
        """Post a stored operation on the board; if that fails, log it."""
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
    """Refuse to change a service while an operation of it is unfinished.

    Raises:
        ServiceBusy: it is disabled, or neither deployed nor failed.
    """
    if service.status not in (Status.DEPLOYED, Status.FAILED):
        raise errors.ServiceBusy(
            f"Service {service.service_id} is {service.status}; it can be changed once it is "
            "deployed or failed"
        )


def with_status(detail: ProviderDetail | None, status: ProviderStatus) -> ProviderDetail:
    """Return the detail with a new status and without earlier errors."""
    if detail is None:
        return ProviderDetail(status=status)
    return replace(detail, status=status, error_message=None, error_info=None, error_class=None)


def store_placed(
    spec: ServiceSpec,
    placed: Collection[str],
    dns: DNSDriver,
    store: Callable[[ServiceSpec], None],
) -> None:
    """Store a document with each new shared label under the first shard where it is free.

    A tenant requests a label. The operator's certificate covers a few names, the shards; each
    label can be used once under each shard.

    Args:
        spec: the document.
        placed: shared names that the service already has; they stay unchanged.
        dns: the DNS driver, which knows the shards.
        store: stores the document atomically.

    Raises:
        InvalidRequest: there are no shards, or a label is taken under all of them.
        DomainTaken: a domain that is not shared is taken.
    """
    # Do not give a service the same name twice.
    used = {domain.domain for domain in spec.domains}
    shards = {
        domain.domain: (name for name in dns.shared_domains(domain.domain) if name not in used)
        for domain in spec.domains
        if domain.certificate == "shared" and domain.domain not in placed
    }
    chosen = {label: _next(label, names) for label, names in shards.items()}
    while True:
        domains = tuple(
            replace(domain, domain=chosen.get(domain.domain, domain.domain))
            for domain in spec.domains
        )
        try:
            return store(replace(spec, domains=domains))
        except errors.DomainTaken as exc:
            label = next((key for key, name in chosen.items() if name == exc.domain), None)
            if label is None:
                raise
            chosen[label] = _next(label, shards[label])


def _next(label: str, names: Iterator[str]) -> str:
    name = next(names, None)
    if name is None:
        raise errors.InvalidRequest(f"No shared domain is left for '{label}'; choose another name")
    return name
