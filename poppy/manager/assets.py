# SPDX-License-Identifier: Apache-2.0
"""Cached content of services: what has to be true to purge it, and prewarming."""

from collections.abc import Mapping
from dataclasses import replace

from poppy.common import errors
from poppy.manager import requirements
from poppy.manager.change_pipeline import Change, Changes
from poppy.model.operations import Kind
from poppy.model.services import Service
from poppy.provider.base import Provider


class AssetsManager:
    """Fetch content into the caches of providers."""

    def __init__(self, changes: Changes, providers: Mapping[str, Provider]) -> None:
        self._changes = changes
        self._providers = providers

    def prewarm(
        self, project_id: str, service_id: str, paths: tuple[str, ...], request_id: str | None
    ) -> str:
        """Let the providers of a service fetch paths; return the ID of the operation.

        Raises:
            ServiceBusy: see :func:`check_deployed`.
            InvalidRequest: a provider does not support it.
            TooManyRequests: the project has reached its limit of unfinished operations.
            NotFound: the project has no service with this id.
        """
        made: list[str] = []

        def decide(service: Service) -> Change:
            check_deployed(service)
            flavor = self._changes.flavor(service.spec.flavor_id)
            requirements.check_prewarm(flavor, self._providers)
            operation = self._changes.operation(
                project_id, service_id, Kind.PREWARM, request_id, capped=True
            )
            made[:] = [operation.operation_id]
            return service, replace(operation, prewarm=paths)

        self._changes.make(project_id, service_id, decide)
        return made[0]


def check_deployed(service: Service) -> None:
    """Check that a provider has the service, so that content of it may be cached.

    Raises:
        ServiceBusy: no provider has it, or it is disabled or being deleted.
    """
    exists = bool(service.deployed_at)
    if service.disabled or service.deleting or not exists:
        raise errors.ServiceBusy(
            f"Service {service.service_id} is {service.status}; only a service that has been "
            "deployed can be purged or prewarmed"
        )
