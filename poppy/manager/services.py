# SPDX-License-Identifier: Apache-2.0
"""Services: create, read, change, purge and delete."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from poppy.common import errors
from poppy.manager import listing, requirements
from poppy.manager import patch as json_patch
from poppy.manager.assets import check_deployed
from poppy.manager.change_pipeline import Change, Changes, Check, check_settled, with_status
from poppy.manager.dry_run import Plan, Planner
from poppy.manager.listing import Query
from poppy.manager.log_delivery import LogDelivery
from poppy.model import ids, validation
from poppy.model.limits import DocumentLimits
from poppy.model.operations import Kind, Priority, Purge, State
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service, Status
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Provider
from poppy.storage.base import Storage
from poppy.storage.selection import ServicePage
from poppy.storage.services import IdempotencyKey

#: How many of the latest operations of a service are searched for waiting ones.
_LATEST = 100
_EVERYTHING = Query()


class ServicesManager:
    """Manage services; every method is limited to the services of ``project_id``."""

    def __init__(
        self,
        storage: Storage,
        changes: Changes,
        planner: Planner,
        providers: Mapping[str, Provider],
        log_delivery: LogDelivery,
        default_ttl: int,
        default_limit: int,
        document_limits: DocumentLimits,
    ) -> None:
        self._storage = storage
        self._changes = changes
        self._planner = planner
        self._providers = providers
        self._log_delivery = log_delivery
        self._default_ttl = default_ttl
        self._default_limit = default_limit
        self._document_limits = document_limits

    def create(
        self,
        project_id: str,
        document: object,
        request_id: str | None,
        key: str | None = None,
        token: str | None = None,
    ) -> str:
        """Store a service and start its provisioning.

        Args:
            project_id: the service's project.
            document: the service document.
            request_id: the id of the request.
            key: the client's idempotency key: if it has created a service within a day, that
                service's id is returned and nothing else happens.
            token: the token of the request, for actions on the tenant's behalf; never stored.

        Returns:
            The id of the new service.

        Raises:
            InvalidRequest: the document is invalid, names an unknown flavor, or needs a
                capability that a provider lacks; or a domain is taken.
            LimitReached: the project has reached its limit of services.
            TooManyRequests: the project has reached its limit of unfinished operations.
            KeyReused: the key was used with a different document.
        """
        masked = self._changes.secrets.masked(document)
        mark = None if key is None else IdempotencyKey.of(key, masked)
        if mark is not None:
            known = self._storage.services.created_by(project_id, mark)
            if known is not None:
                return known
        service, operation = self._new(project_id, document, request_id)
        if service.spec.log_delivery:
            service = replace(service, log_url=self._log_delivery.container(project_id, token))

        def store(placed: ServiceSpec) -> None:
            self._storage.services.create(
                replace(service, spec=placed), operation, self._default_limit, mark
            )

        try:
            self._changes.place(project_id, service.spec, store)
        except errors.Repeated as exc:
            return exc.service_id
        except errors.DomainReleased:
            raise
        except errors.DomainTaken as exc:
            if mark is None:
                raise
            return self._created_meanwhile(project_id, mark, exc)
        self._changes.post(operation)
        return service.service_id

    def plan_create(self, project_id: str, document: object) -> Plan:
        """Return what :meth:`create` would do; raises the same errors, and stores nothing."""
        service, _ = self._new(project_id, document, None)
        return self._planner.plan(None, service)

    def _new(self, project_id: str, document: object, request_id: str | None) -> Change:
        service_id = ids.new()
        spec = validation.service(document, self._default_ttl, limits=self._document_limits)
        spec = self._changes.secrets.sealed(spec, service_id)
        flavor = self._changes.flavor(spec.flavor_id)
        self._changes.check(spec, flavor)
        detail = ProviderDetail(status=ProviderStatus.DEPLOY_IN_PROGRESS)
        operation = self._changes.operation(
            project_id, service_id, Kind.CREATE, request_id, capped=True
        )
        service = Service(
            project_id=project_id,
            service_id=service_id,
            spec=spec,
            provider_details=dict.fromkeys(flavor.provider_names, detail),
            created_at=operation.created_at,
            updated_at=operation.created_at,
        )
        details = self._changes.noted(service.provider_details, service)
        return service.with_details(details), operation

    def _created_meanwhile(
        self, project_id: str, mark: IdempotencyKey, taken: errors.DomainTaken
    ) -> str:
        """Return the service of a concurrent repetition of the request, if it has the domain."""
        known = self._storage.services.created_by(project_id, mark)
        if known is not None:
            return known
        try:
            self._storage.queries.by_claim(taken.domain)
        except errors.NotFound:
            raise errors.Unavailable(
                f"Another request for {taken.domain} is in progress", retry_after=1
            ) from taken
        raise taken

    def get(self, project_id: str, service_id: str) -> Service:
        """Read a service.

        Raises:
            NotFound: the project has no service with this id.
        """
        return self._storage.services.get(project_id, service_id)

    def list(
        self, project_id: str, marker: str | None, limit: int, query: Query = _EVERYTHING
    ) -> ServicePage:
        """Return a page of the project's services; see :func:`poppy.manager.listing.services`."""
        return listing.services(self._storage, project_id, marker, limit, query)

    def update(
        self,
        project_id: str,
        service_id: str,
        patch: object,
        request_id: str | None,
        check: Check | None = None,
        token: str | None = None,
    ) -> None:
        """Change a service's document by a JSON Patch and provision the change.

        A waiting create or update of the service is superseded.

        Args:
            project_id: the service's project.
            service_id: the service.
            patch: the patch; an empty one changes nothing.
            request_id: the id of the request.
            check: raises an error if the service does not meet a precondition.
            token: as for :meth:`create`.

        Raises:
            InvalidRequest: the patch or its result is invalid, or adds a taken domain.
            ServiceBusy: the service is disabled, or has an unfinished operation other than a
                waiting create or update.
            TooManyRequests: the project has reached its limit of unfinished operations.
            NotFound: the project has no service with this id.
        """
        operations = validation.patch(patch)

        def decide(service: Service) -> Change | None:
            if check is not None:
                check(service)
            if not operations:
                return None
            changed, operation = self._changed(service, operations, request_id)
            if changed.spec.log_delivery and service.log_url is None:
                log_url = self._log_delivery.container(project_id, token)
                changed = replace(changed, log_url=log_url)
            return changed, operation

        self._changes.make(project_id, service_id, decide)

    def plan_update(
        self, project_id: str, service_id: str, patch: object, check: Check | None = None
    ) -> Plan:
        """Return what :meth:`update` would do; raises the same errors, and stores nothing."""
        operations = validation.patch(patch)
        service = self.get(project_id, service_id)
        if check is not None:
            check(service)
        if not operations:
            return Plan.unchanged(service)
        return self._planner.plan(service, self._changed(service, operations, None)[0])

    def _changed(
        self, service: Service, patch: Sequence[Mapping[str, object]], request_id: str | None
    ) -> Change:
        self._check_can_change(service)
        spec = self._patched(service, patch)
        return self._changes.updated(service, spec, request_id, capped=True)

    def redeploy(
        self,
        project_id: str,
        service_id: str,
        request_id: str | None,
        priority: Priority = Priority.BULK,
    ) -> None:
        """Deploy the unchanged document to the providers and DNS again.

        Use it to repair drift, for example after an edge lost its configuration.

        Args:
            project_id: the service's project.
            service_id: the service.
            request_id: the id of the request.
            priority: the operation's priority; by default it runs after tenants' requests.

        Raises:
            ServiceBusy: the service is disabled, or neither deployed nor failed, or its
                deletion failed.
            NotFound: the project has no service with this id.
        """

        def decide(service: Service) -> Change:
            check_settled(service)
            if self._storage.operations.was_deleted(project_id, service_id):
                raise errors.ServiceBusy(f"The deletion of service {service_id} failed")
            return self._changes.updated(service, service.spec, request_id, priority)

        self._changes.make(project_id, service_id, decide)

    def delete(
        self,
        project_id: str,
        service_id: str,
        request_id: str | None,
        check: Check | None = None,
    ) -> None:
        """Request the deletion of a service; it supersedes all unfinished operations.

        Args:
            project_id: the service's project.
            service_id: the service.
            request_id: the id of the request.
            check: as for :meth:`update`.

        Raises:
            NotLoaded: a provider that may have the service is not loaded.
            NotFound: the project has no service with this id.
        """

        def decide(service: Service) -> Change | None:
            if check is not None:
                check(service)
            if service.deleting:
                return None
            requirements.check_loaded(service.provider_details, self._providers)
            details = {
                name: with_status(detail, ProviderStatus.DELETE_IN_PROGRESS)
                for name, detail in service.provider_details.items()
            }
            operation = self._changes.operation(
                project_id, service_id, Kind.DELETE, request_id=request_id
            )
            return service.with_details(details), operation

        self._changes.make(project_id, service_id, decide)

    def purge(
        self, project_id: str, service_id: str, purge: Purge, request_id: str | None
    ) -> None:
        """Purge cached content.

        The service must have been deployed once; waiting or failed operations do not matter. The
        purge joins a purge of the service that no worker has begun, if no other operation of the
        service follows that.

        Raises:
            ServiceBusy: no provider has the service, or it is disabled or being deleted.
            NotLoaded: a provider that has the service is not loaded.
            InvalidRequest: a provider does not support the purge, or its host is no domain of
                the service.
            TooManyRequests: the project has reached its limit of unfinished operations.
            NotFound: the project has no service with this id.
        """

        def decide(service: Service) -> Change | None:
            requirements.check_loaded(service.deployed_at, self._providers)
            if purge.host and purge.host not in service.spec.domain_names:
                raise errors.InvalidRequest(f"'{purge.host}' is no domain of the service")
            # After the service was read: a concurrent purge either can be joined by now, or makes
            # this change fail and decide again.
            if self._storage.operations.join(project_id, service_id, purge) is not None:
                return None
            check_deployed(service)
            operation = self._changes.operation(
                project_id,
                service_id,
                Kind.PURGE,
                purge=purge,
                quiet=service.status is not Status.DEPLOYED,
                request_id=request_id,
                capped=True,
            )
            requirements.check_purge(
                purge, self._changes.flavor(service.spec.flavor_id), self._providers
            )
            if not operation.is_shown:
                return service, operation
            details = {
                name: with_status(detail, ProviderStatus.UPDATE_IN_PROGRESS)
                for name, detail in service.provider_details.items()
            }
            return service.with_details(details), operation

        self._changes.make(project_id, service_id, decide)

    def _patched(self, service: Service, patch: Sequence[Mapping[str, object]]) -> ServiceSpec:
        document = {"project_id": service.project_id, **service.spec.to_dict()}
        patched = json_patch.apply(document, patch, self._document_limits.size)
        if isinstance(patched, dict) and patched.pop("project_id", None) != service.project_id:
            raise errors.InvalidRequest("[project_id]-the project of a service can't be changed")
        placed = {it.domain for it in service.spec.domains if it.certificate == "shared"}
        spec = validation.service(patched, self._default_ttl, placed, self._document_limits)
        return self._changes.secrets.sealed(spec, service.service_id, service.spec)

    def _check_can_change(self, service: Service) -> None:
        """Refuse a change unless it can start soon or supersede the unfinished operations.

        Raises:
            ServiceBusy: see :meth:`update`.
        """
        latest = self._storage.operations.history(
            service.project_id, service.service_id, None, _LATEST
        )
        for operation in latest:
            if operation.state is State.WAITING and not operation.kind.deploys:
                raise errors.ServiceBusy(
                    f"Service {service.service_id} can't be changed now: its {operation.kind}, "
                    f"operation {operation.operation_id}, waits ({operation.error})"
                )
        shown = [it for it in latest if it.is_shown and not it.state.finished]
        gives_way = all(it.kind.deploys and it.waits for it in shown)
        if service.disabled or not shown or not gives_way:
            check_settled(service)
