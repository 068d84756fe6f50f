# SPDX-License-Identifier: Apache-2.0
"""Services: create, read, change, purge and delete.

Each change is stored together with an operation, in one step, before anything else happens;
then a job is posted that names the operation. When posting fails, the request is accepted all the
same: the operation is in storage, where workers look for what nobody has delivered.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.distributed_task.base import DistributedTask
from poppy.dns.base import DNSDriver
from poppy.manager import patch as json_patch
from poppy.manager import requirements, shared
from poppy.model import ids, validation
from poppy.model.flavors import Flavor
from poppy.model.operations import Kind, Operation, Purge, State
from poppy.model.services import ProviderDetail, ProviderStatus, Service, ServiceSpec, Status
from poppy.provider.base import Provider
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: What is to be stored: the service as it shall be, and what is to be done about it.
Change = tuple[Service, Operation]

#: How often a change is decided anew because another request changed the service meanwhile.
MAX_CONFLICTS = 20
#: Among so many of the latest operations of a service those that wait are looked for.
_LATEST = 100


class ServicesManager:
    """Services of all projects; every method looks only at those of ``project_id``."""

    def __init__(
        self,
        storage: Storage,
        distributed_task: DistributedTask,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        default_ttl: int,
        default_limit: int,
    ) -> None:
        self._storage = storage
        self._distributed_task = distributed_task
        self._providers = providers
        self._dns = dns
        self._default_ttl = default_ttl
        self._default_limit = default_limit

    def create(self, project_id: str, document: object, request_id: str | None) -> str:
        """Store a service and have it provisioned.

        Returns:
            The id of the new service.

        Raises:
            InvalidRequest: the document is invalid, names an unknown flavor, asks for what a
                provider can't do, or a domain is taken.
            LimitReached: the project has as many services as it may.
        """
        spec = validation.service(document, self._default_ttl)
        flavor = self._flavor(spec)
        requirements.check(spec, flavor, self._providers)
        detail = ProviderDetail(status=ProviderStatus.DEPLOY_IN_PROGRESS)
        service_id = ids.new()
        operation = self._operation(project_id, service_id, Kind.CREATE, request_id)

        def store(placed: ServiceSpec) -> None:
            service = Service(
                project_id=project_id,
                service_id=service_id,
                spec=placed,
                provider_details=dict.fromkeys(flavor.provider_names, detail),
                created_at=operation.created_at,
                updated_at=operation.created_at,
            )
            self._storage.services.create(service, operation, self._default_limit)

        shared.store_placed(spec, (), self._dns, store)
        self._post(operation)
        return service_id

    def get(self, project_id: str, service_id: str) -> Service:
        """Read a service.

        Raises:
            NotFound: the project has none of that id.
        """
        return self._storage.services.get(project_id, service_id)

    def list(self, project_id: str, marker: str | None, limit: int) -> Sequence[Service]:
        """At most ``limit`` services behind ``marker``, oldest first."""
        return self._storage.services.list(project_id, marker, limit)

    def update(
        self, project_id: str, service_id: str, patch: object, request_id: str | None
    ) -> None:
        """Change a service's document by a JSON Patch and have the change provisioned.

        Raises:
            InvalidRequest: the patch or its result is invalid, or adds a taken domain.
            ServiceBusy: the service is disabled, or neither deployed nor failed.
            NotFound: the project has none of that id.
        """
        operations = validation.patch(patch)

        def decide(service: Service) -> Change:
            self._check_nothing_waits(service)
            _check_settled(service)
            return self._updated(service, self._patched(service, operations), request_id)

        self._change(project_id, service_id, decide)

    def redeploy(self, project_id: str, service_id: str, request_id: str | None) -> None:
        """Have the providers and DNS made what the document says, unchanged as it is.

        For what went missing out there: an edge that lost its configuration, say.

        Raises:
            ServiceBusy: the service is disabled, or neither deployed nor failed; or what
                failed was its deletion.
            NotFound: the project has none of that id.
        """

        def decide(service: Service) -> Change:
            _check_settled(service)
            operations = self._storage.operations.list(project_id, service_id)
            if operations and operations[-1].kind is Kind.DELETE:
                raise errors.ServiceBusy(f"Service {service_id} could not be deleted so far")
            return self._updated(service, service.spec, request_id)

        self._change(project_id, service_id, decide)

    def delete(self, project_id: str, service_id: str, request_id: str | None) -> None:
        """Have a service removed; whatever else is under way for it is given up.

        Raises:
            NotFound: the project has none of that id.
        """

        def decide(service: Service) -> Change | None:
            deleting = ProviderStatus.DELETE_IN_PROGRESS
            if all(detail.status is deleting for detail in service.provider_details.values()):
                return None
            details = {
                name: _with_status(detail, deleting)
                for name, detail in service.provider_details.items()
            }
            operation = self._operation(project_id, service_id, Kind.DELETE, request_id=request_id)
            return service.with_details(details), operation

        self._change(project_id, service_id, decide)

    def purge(
        self, project_id: str, service_id: str, purge: Purge, request_id: str | None
    ) -> None:
        """Have cached content evicted, or invalidated.

        Raises:
            ServiceBusy: the service is not deployed.
            InvalidRequest: a provider can't invalidate.
            NotFound: the project has none of that id.
        """

        def decide(service: Service) -> Change:
            if service.status is not Status.DEPLOYED:
                raise errors.ServiceBusy(
                    f"Service {service_id} is {service.status}; only a deployed service can be "
                    "purged"
                )
            operation = self._operation(
                project_id, service_id, Kind.PURGE, purge=purge, request_id=request_id
            )
            if purge.hard:
                return service, operation
            requirements.check_soft_purge(self._flavor(service.spec), self._providers)
            details = {
                name: _with_status(detail, ProviderStatus.UPDATE_IN_PROGRESS)
                for name, detail in service.provider_details.items()
            }
            return service.with_details(details), operation

        self._change(project_id, service_id, decide)

    def _change(
        self,
        project_id: str,
        service_id: str,
        decide: Callable[[Service], Change | None],
    ) -> None:
        """Read, decide, store; decide anew when another request was faster; then post."""
        for _ in range(MAX_CONFLICTS):
            service = self._storage.services.get(project_id, service_id)
            change = decide(service)
            if change is None:
                return
            changed, operation = change

            def store(
                spec: ServiceSpec, changed: Service = changed, operation: Operation = operation
            ) -> None:
                self._storage.services.submit(
                    replace(changed, spec=spec, updated_at=operation.created_at), operation
                )

            try:
                shared.store_placed(changed.spec, service.spec.domain_names, self._dns, store)
            except errors.Changed:
                continue
            self._post(operation)
            return
        raise errors.Unavailable(
            f"Service {service_id} is being changed by too many requests at once", retry_after=1
        )

    def _updated(self, service: Service, spec: ServiceSpec, request_id: str | None) -> Change:
        flavor = self._flavor(spec)
        requirements.check(spec, flavor, self._providers)
        # Providers that the flavor does not name any more are kept until they are clean.
        providers = dict.fromkeys((*flavor.provider_names, *service.provider_details))
        details = {
            name: _with_status(
                service.provider_details.get(name), ProviderStatus.UPDATE_IN_PROGRESS
            )
            for name in providers
        }
        operation = self._operation(
            service.project_id, service.service_id, Kind.UPDATE, request_id=request_id
        )
        return replace(service, spec=spec, provider_details=details), operation

    def _patched(self, service: Service, patch: Sequence[Mapping[str, object]]) -> ServiceSpec:
        document = {"project_id": service.project_id, **service.spec.to_dict()}
        patched = json_patch.apply(document, patch)
        if isinstance(patched, dict) and patched.pop("project_id", None) != service.project_id:
            raise errors.InvalidRequest("[project_id]-the project of a service can't be changed")
        placed = {
            domain.domain for domain in service.spec.domains if domain.certificate == "shared"
        }
        return validation.service(patched, self._default_ttl, placed)

    def _check_nothing_waits(self, service: Service) -> None:
        """Refuse what would have to wait for something that waits itself, maybe for hours."""
        latest = self._storage.operations.history(
            service.project_id, service.service_id, None, _LATEST
        )
        for operation in latest:
            if operation.state is State.WAITING:
                raise errors.ServiceBusy(
                    f"Service {service.service_id} can't be changed now: its {operation.kind}, "
                    f"operation {operation.operation_id}, waits ({operation.error})"
                )

    def _flavor(self, spec: ServiceSpec) -> Flavor:
        try:
            return self._storage.flavors.get(spec.flavor_id)
        except errors.NotFound as exc:
            raise errors.InvalidRequest(f"There is no flavor '{spec.flavor_id}'") from exc

    def _operation(
        self,
        project_id: str,
        service_id: str,
        kind: Kind,
        request_id: str | None,
        purge: Purge | None = None,
    ) -> Operation:
        now = datetime.datetime.now(datetime.UTC)
        # Without room on the board it is due at once, for the workers to fetch from storage.
        due_at = now
        if self._distributed_task.has_room():
            due_at += datetime.timedelta(seconds=self._distributed_task.redelivery)
        return Operation(
            project_id=project_id,
            service_id=service_id,
            operation_id=ids.new(),
            kind=kind,
            created_at=now,
            updated_at=now,
            next_attempt_at=due_at,
            purge=purge,
            request_id=request_id,
        )

    def _post(self, operation: Operation) -> None:
        if operation.next_attempt_at == operation.created_at:
            return
        try:
            self._distributed_task.post(operation.key)
        except errors.Unavailable as exc:
            LOG.warning(
                "Operation %s of service %s is stored but could not be posted; a worker will "
                "find it in storage: %s",
                operation.operation_id,
                operation.service_id,
                exc,
            )


def _check_settled(service: Service) -> None:
    if service.status not in (Status.DEPLOYED, Status.FAILED):
        raise errors.ServiceBusy(
            f"Service {service.service_id} is {service.status}; it can be changed once it is "
            "deployed or failed"
        )


def _with_status(detail: ProviderDetail | None, status: ProviderStatus) -> ProviderDetail:
    """The detail with another status and without the errors of what went before."""
    if detail is None:
        return ProviderDetail(status=status)
    return replace(detail, status=status, error_message=None, error_info=None, error_class=None)
