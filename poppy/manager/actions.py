# SPDX-License-Identifier: Apache-2.0
"""Operators' actions on services of any project."""

import datetime
from collections.abc import Callable
from dataclasses import replace

from oslo_log import log

from poppy.common import errors
from poppy.manager.admin_search import host
from poppy.manager.change_pipeline import MAX_CONFLICTS, Change, Changes
from poppy.manager.services import ServicesManager
from poppy.model import admin_schemas, ids, validation
from poppy.model.operations import Kind, State
from poppy.model.provider_details import AccessURL, ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.storage.base import Storage

LOG = log.getLogger(__name__)

#: The maximum number of services per request, so that it answers in time.
BATCH = 100

Action = Callable[[str, str, str | None], object]


class ActionsManager:
    """Disable, enable and delete services, and correct their stored state."""

    def __init__(self, storage: Storage, changes: Changes, services: ServicesManager) -> None:
        self._storage = storage
        self._changes = changes
        self._actions: dict[str, Action] = {
            "enable": self.enable,
            "disable": self.disable,
            "delete": services.delete,
        }

    def act(self, document: object, marker: str | None, request_id: str | None) -> str | None:
        """Enable, disable or delete the services of a project, or the service with a domain.

        The request is idempotent. If the action is impossible for one service of the project, it
        is logged and the others proceed.

        Args:
            document: the action, and a project or a domain.
            marker: continue after the service with this id.
            request_id: the id of the request.

        Returns:
            The marker of the next batch, if the project has more services; else None.

        Raises:
            InvalidRequest: the document is invalid, or the action is impossible for the service
                with the domain.
            NotFound: no service has the domain.
        """
        body = validation.validate(admin_schemas.SERVICE_ACTION, document)
        action = self._actions[body["action"]]
        if "domain" in body:
            name = host(body["domain"], "domain")
            try:
                found = self._storage.queries.by_claim(name)
            except errors.NotFound:
                raise errors.NotFound(f"No service has the domain {name}") from None
            action(found.project_id, found.service_id, request_id)
            return None
        project_id = body["project_id"]
        page = self._storage.services.list(project_id, marker, BATCH)
        for service in page:
            try:
                action(project_id, service.service_id, request_id)
            except errors.NotFound:
                continue  # deleted since the page was read
            except errors.InvalidRequest as exc:
                LOG.warning(
                    "Skipped service %s of project %s for action '%s': %s",
                    service.service_id,
                    project_id,
                    body["action"],
                    exc,
                )
        return page[-1].service_id if len(page) == BATCH else None

    def disable(self, project_id: str, service_id: str, request_id: str | None) -> None:
        """Remove a service's names from DNS; its status is ``disabled`` at once.

        If an earlier attempt failed, it is repeated.

        Raises:
            NotFound: the project has no service with this id.
        """

        def decide(service: Service) -> Change | None:
            if service.deleting:
                return None
            if service.disabled and not self._disable_failed(service):
                return None
            operation = self._changes.operation(project_id, service_id, Kind.DISABLE, request_id)
            return replace(service, disabled=True), operation

        self._changes.make(project_id, service_id, decide)

    def enable(self, project_id: str, service_id: str, request_id: str | None) -> None:
        """Deploy a disabled service again from its document.

        Raises:
            NotFound: the project has no service with this id.
        """

        def decide(service: Service) -> Change | None:
            if not service.disabled or service.deleting:
                return None
            return self._changes.updated(
                replace(service, disabled=False), service.spec, request_id
            )

        self._changes.make(project_id, service_id, decide)

    def set_status(self, document: object, request_id: str | None) -> bool:
        """Set the status of a service at its providers by hand.

        A service that exists at no provider can't be marked as deployed; it is redeployed
        instead.

        Returns:
            Whether the service is being redeployed.

        Raises:
            InvalidRequest: the document is invalid.
            ServiceBusy: an operation of the service is unfinished.
            NotFound: the project has no service with this id.
        """
        body = validation.validate(admin_schemas.SERVICE_STATUS, document)
        project_id, service_id = _identity(body)
        service = self._storage.services.get(project_id, service_id)
        deployed = body["status"] == "deployed"
        if deployed and not service.deployed_at:

            def decide(found: Service) -> Change:
                if found.deleting:
                    raise errors.ServiceBusy(f"Service {service_id} is being deleted")
                return self._changes.updated(found, found.spec, request_id)

            return self._changes.make(project_id, service_id, decide)
        status = ProviderStatus.DEPLOYED if deployed else ProviderStatus.FAILED

        def amend(found: Service) -> Service:
            details = {
                name: _judged(detail, status) for name, detail in found.provider_details.items()
            }
            return found.with_details(details)

        amended(self._storage, project_id, service_id, amend)
        return False

    def move(self, service_id: str, document: object, request_id: str | None) -> bool:
        """Point a domain's operator name to another name at its provider, by hand.

        Later updates keep the new target until it is moved again. Earlier operator names of the
        domain keep working: they point to the same target.

        Returns:
            Whether anything changed.

        Raises:
            InvalidRequest: the document is invalid.
            ServiceBusy: the service is being deleted, or an operation of it is unfinished.
            NotFound: the project has no such service, or the service no such domain.
        """
        body = validation.validate(admin_schemas.PROVIDER_DETAILS, document)
        project_id, _ = _identity({**body, "service_id": service_id})
        domain = host(body["domain_name"], "domain_name")
        wanted = AccessURL(
            domain,
            host(body["provider_url"], "provider_url"),
            host(body["operator_url"], "operator_url"),
            moved=True,
        )
        return self.move_to(project_id, service_id, wanted, None, request_id)

    def move_to(
        self,
        project_id: str,
        service_id: str,
        wanted: AccessURL,
        certificate: str | None,
        request_id: str | None,
    ) -> bool:
        """Point a domain's operator name to another target; see :meth:`move`.

        Args:
            project_id: the service's project.
            service_id: the service.
            wanted: the new access URL; without an operator name, the domain keeps its own.
            certificate: the new status of the domain's certificate; None keeps it.
            request_id: the id of the request.
        """

        def decide(service: Service) -> Change | None:
            if service.deleting:
                raise errors.ServiceBusy(f"Service {service_id} is being deleted")
            details = {
                name: _moved(detail, wanted, certificate)
                for name, detail in service.provider_details.items()
            }
            entries = [it for detail in details.values() for it in detail.access_urls]
            if all(entry.domain != wanted.domain for entry in entries):
                raise errors.NotFound(f"Service {service_id} has no name for {wanted.domain} yet")
            if details == service.provider_details:
                return None
            self._check_nothing_writes(service)
            changed = service.with_details(details)
            return self._changes.updated(changed, changed.spec, request_id)

        return self._changes.make(project_id, service_id, decide)

    def _check_nothing_writes(self, service: Service) -> None:
        """Refuse if an unfinished operation would overwrite the details with older ones."""
        for it in self._storage.operations.list(service.project_id, service.service_id):
            if not it.state.finished and it.is_shown:
                raise errors.ServiceBusy(
                    f"Service {service.service_id} has unfinished operations: its {it.kind}, "
                    f"operation {it.operation_id}"
                )

    def _disable_failed(self, service: Service) -> bool:
        """Whether the last disable failed, so that names may still point to the service."""
        listed = self._storage.operations.list(service.project_id, service.service_id)
        asked = [it for it in listed if it.kind is Kind.DISABLE]
        return bool(asked) and asked[-1].state is State.FAILED


def amended(
    storage: Storage, project_id: str, service_id: str, amend: Callable[[Service], Service]
) -> None:
    """Correct a stored service; retried if another request changes it at the same time.

    Raises:
        ServiceBusy: an operation of the service is unfinished.
        NotFound: the project has no service with this id.
        Unavailable: too many concurrent changes.
    """
    for _ in range(MAX_CONFLICTS):
        service = amend(storage.services.get(project_id, service_id))
        try:
            storage.services.amend(
                replace(service, updated_at=datetime.datetime.now(datetime.UTC))
            )
        except errors.Changed:
            continue
        return
    raise errors.Unavailable(
        f"Too many concurrent requests change service {service_id}", retry_after=1
    )


def _identity(body: dict[str, str]) -> tuple[str, str]:
    if not ids.is_uuid(body["service_id"]):
        raise errors.InvalidRequest("The service_id must be a UUID")
    return body["project_id"], body["service_id"].lower()


def _judged(detail: ProviderDetail, status: ProviderStatus) -> ProviderDetail:
    if status is ProviderStatus.FAILED:
        return replace(detail, status=status)
    return replace(detail, status=status, error_message=None, error_info=None, error_class=None)


def _moved(detail: ProviderDetail, wanted: AccessURL, certificate: str | None) -> ProviderDetail:
    """Return the detail with a domain's new target for all its operator names."""
    mine = [entry for entry in detail.access_urls if entry.domain == wanted.domain]
    if not mine:
        return detail
    first = wanted.operator_url or mine[0].operator_url
    known = dict.fromkeys([first, *(entry.operator_url for entry in mine)])
    entries = [replace(wanted, operator_url=name) for name in known if name or len(known) == 1]
    if {(it.provider_url, it.operator_url) for it in mine} == {
        (it.provider_url, it.operator_url) for it in entries
    }:
        entries = mine
    others = [entry for entry in detail.access_urls if entry.domain != wanted.domain]
    states = dict(detail.certificates)
    if certificate is not None:
        states[wanted.domain] = certificate
    return replace(detail, access_urls=(*entries, *others), certificates=states)
