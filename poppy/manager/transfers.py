# SPDX-License-Identifier: Apache-2.0
"""Export and import of services between Poppy installations.

A service keeps its id. Drivers find a provider's object by this id, so the importing Poppy
continues with the existing objects and creates no duplicates.
"""

import datetime
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poppy.common import errors
from poppy.dns.base import DNSDriver
from poppy.manager import requirements
from poppy.manager.admin_search import every_service
from poppy.manager.change_pipeline import Changes, with_status
from poppy.manager.dry_run import DryRun, Planner
from poppy.manager.limits import LimitsManager
from poppy.model import ids, transfer_schemas, validation
from poppy.model.limits import DocumentLimits
from poppy.model.operations import Kind, Priority
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service, Status
from poppy.model.specs import ServiceSpec
from poppy.provider.base import Provider
from poppy.storage.base import Storage

_PAGE = 100


class Outcome(enum.StrEnum):
    """The result of importing a document."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Taken:
    """The result of an import, with the reason if nothing was created."""

    outcome: Outcome
    reason: str | None = None


class TransfersManager:
    """Export and import services of all projects."""

    def __init__(
        self,
        storage: Storage,
        changes: Changes,
        planner: Planner,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
        default_ttl: int,
        limits: LimitsManager,
        document_limits: DocumentLimits,
    ) -> None:
        self._storage = storage
        self._changes = changes
        self.dry_run = planner.dry_run
        self._providers = providers
        self._dns = dns
        self._default_ttl = default_ttl
        self._limits = limits
        self._document_limits = document_limits

    def give(
        self, project_id: str | None = None, *, secrets: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield each service, or each of a project, as a document that :meth:`take` accepts.

        Services are read in pages. One that is created or deleted during the export may be
        missing.

        Args:
            project_id: the project; None for all.
            secrets: whether documents have their secrets as text. Otherwise they have the
                fingerprints, with which only an installation that has the service accepts them.

        Raises:
            ConfigError: the key of a secret is missing.
            Damaged: a secret was changed in the store.
        """
        for service in self._services(project_id):
            yield {
                "project_id": service.project_id,
                "service_id": service.service_id,
                "status": str(self._status(service)),
                "disabled": service.disabled,
                "log_url": service.log_url,
                "spec": self._changes.secrets.opened(service.spec, service.service_id)
                if secrets
                else service.spec.to_dict(),
                "provider_details": {
                    name: detail.to_dict() for name, detail in service.provider_details.items()
                },
            }

    def take(self, document: object, dry_run: DryRun | None = None) -> Taken:
        """Store an exported service under its id and provision it.

        The import is idempotent. Existing services are never changed, and services that were
        being deleted are skipped.

        Args:
            document: a document from :meth:`give`. Without ``provider_details``, the drivers find
                the objects at the providers by the service's id.
            dry_run: from :meth:`dry_run`; nothing is stored.

        Returns:
            The result; an invalid document is ``failed``, with the reason.

        Raises:
            Unavailable: storage does not answer.
        """
        try:
            return self._take(document, dry_run)
        except errors.Unavailable:
            raise
        except errors.PoppyError as exc:
            return Taken(Outcome.FAILED, str(exc))

    def _status(self, service: Service) -> Status:
        """Return the status that tenants see, or a pending deletion even if it failed."""
        was_deleted = self._storage.operations.was_deleted
        if service.deleting or was_deleted(service.project_id, service.service_id):
            return Status.DELETE_IN_PROGRESS
        return service.status

    def _services(self, project_id: str | None) -> Iterator[Service]:
        if project_id is None:
            yield from every_service(self._storage)
            return
        marker = None
        while page := self._storage.services.list(project_id, marker, _PAGE):
            yield from page
            marker = page[-1].service_id

    def _take(self, document: object, dry_run: DryRun | None) -> Taken:
        body = validation.validate(transfer_schemas.SERVICE, document)
        project_id, service_id = body["project_id"], body["service_id"].lower()
        if not ids.is_uuid(service_id):
            raise errors.InvalidRequest("[service_id]-must be a UUID")
        if body.get("status") == Status.DELETE_IN_PROGRESS:
            return Taken(Outcome.SKIPPED, "it was being deleted")
        # Exported shared domains have their full names; hand-written ones may be labels.
        placed = {
            entry["domain"]
            for entry in body["spec"]["domains"]
            if entry.get("certificate") == "shared" and "." in entry["domain"]
        }
        spec = validation.service(body["spec"], self._default_ttl, placed, self._document_limits)
        known = self._known(project_id, service_id, dry_run)
        spec = self._changes.secrets.sealed(spec, service_id, known)
        if known == spec:
            return Taken(Outcome.UNCHANGED)
        if known is not None:
            raise errors.InvalidRequest("The service already exists with another document")
        if self._storage.operations.was_deleted(project_id, service_id):
            return Taken(Outcome.SKIPPED, "it was deleted here")
        self._check_placed(placed)
        service = self._new(body, spec)

        def store(spec: ServiceSpec) -> None:
            made = replace(service, spec=spec)
            if dry_run is None:
                self._store(made)
            else:
                dry_run.create(made)

        release = None if dry_run is None else dry_run.release
        self._changes.place(project_id, spec, store, placed=placed, release=release)
        return Taken(Outcome.CREATED)

    def _known(
        self, project_id: str, service_id: str, dry_run: DryRun | None
    ) -> ServiceSpec | None:
        """Return the document of an existing service, or of one in the dry run."""
        try:
            return self._storage.services.get(project_id, service_id).spec
        except errors.NotFound:
            return dry_run.specs.get((project_id, service_id)) if dry_run else None

    def _new(self, body: Mapping[str, Any], spec: ServiceSpec) -> Service:
        """Check the document and return the service to store."""
        flavor = self._changes.flavor(spec.flavor_id)
        requirements.check(spec, flavor, self._providers, self._dns)
        known = {
            name: ProviderDetail.from_dict(entry)
            for name, entry in body.get("provider_details", {}).items()
        }
        for name in known:
            if name not in self._providers:
                raise errors.InvalidRequest(
                    f"Provider '{name}', which may have the service, is not loaded"
                )
        now = datetime.datetime.now(datetime.UTC)
        service = Service(
            project_id=body["project_id"],
            service_id=body["service_id"].lower(),
            spec=spec,
            # Keep providers that left the flavor until the service is removed from them.
            provider_details={
                # Reset what the other Poppy observed of edges, DNS records and certificates.
                name: replace(
                    with_status(known.get(name), ProviderStatus.DEPLOY_IN_PROGRESS),
                    avoided=False,
                    dns_records=(),
                    drift=(),
                    certificate_messages={},
                )
                for name in dict.fromkeys((*flavor.provider_names, *known))
            },
            created_at=now,
            updated_at=now,
            disabled=body.get("disabled", False),
            log_url=body.get("log_url"),
        )
        return service.with_details(self._changes.noted(service.provider_details, service))

    def _store(self, service: Service) -> None:
        operation = self._changes.operation(
            service.project_id,
            service.service_id,
            Kind.CREATE,
            request_id=None,
            priority=Priority.BULK,
        )
        self._storage.services.create(service, operation, self._limits.default)
        self._changes.post(operation)

    def _check_placed(self, names: set[str]) -> None:
        """Refuse names under a shared certificate that this operator does not have."""
        for name in sorted(names):
            if name not in self._dns.shared_domains(name.partition(".")[0]):
                raise errors.InvalidRequest(
                    f"Domain {name} is not under a shared certificate of this Poppy"
                )
