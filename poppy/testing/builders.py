# SPDX-License-Identifier: Apache-2.0
"""Builders of small valid models for tests; all fields have defaults."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from poppy.model import ids
from poppy.model.flavors import Flavor, FlavorProvider
from poppy.model.operations import Kind, Operation
from poppy.model.provider_details import ProviderDetail, ProviderStatus
from poppy.model.services import Service
from poppy.model.specs import Domain, Origin, ServiceSpec

NOW = datetime.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
"""The creation time of all built models."""

FLAVOR_ID = "standard"
PROJECT_ID = "project-1"


def after(seconds: float) -> datetime.datetime:
    """Return :data:`NOW` plus a number of seconds, which may be negative."""
    return NOW + datetime.timedelta(seconds=seconds)


def make_flavor(flavor_id: str = FLAVOR_ID, providers: Sequence[str] = ("mock",)) -> Flavor:
    """Build a flavor of these providers."""
    return Flavor(
        flavor_id,
        tuple(FlavorProvider(name, (f"https://www.{name}.example/",)) for name in providers),
    )


def make_spec(domains: Sequence[str] | None = None, **overrides: Any) -> ServiceSpec:
    """Build a spec with these http domains (default: one unique domain) and one origin."""
    names = [f"www.{ids.new()}.example.com"] if domains is None else domains
    spec = ServiceSpec(
        name="a website",
        flavor_id=FLAVOR_ID,
        domains=tuple(Domain(name) for name in names),
        origins=(Origin("origin.example.com"),),
    )
    return replace(spec, **overrides)


def make_service(
    *,
    domains: Sequence[str] | None = None,
    flavor_id: str = FLAVOR_ID,
    **overrides: Any,
) -> Service:
    """Build a new service that is being created at the provider ``mock``.

    Args:
        domains: host names; by default one unique name.
        flavor_id: the spec's flavor.
        **overrides: any field of :class:`Service`; ``spec`` takes precedence over the two above.
    """
    service = Service(
        project_id=PROJECT_ID,
        service_id=ids.new(),
        spec=make_spec(domains, flavor_id=flavor_id),
        provider_details={"mock": ProviderDetail(ProviderStatus.DEPLOY_IN_PROGRESS)},
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(service, **overrides)


def make_operation(service: Service, kind: Kind = Kind.CREATE, **overrides: Any) -> Operation:
    """Build a queued operation of the service that is due again after a minute.

    Args:
        service: the operation's service.
        kind: the kind of the operation.
        **overrides: any field of :class:`Operation`.
    """
    operation = Operation(
        project_id=service.project_id,
        service_id=service.service_id,
        operation_id=ids.new(),
        kind=kind,
        created_at=NOW,
        updated_at=NOW,
        next_attempt_at=after(60),
    )
    return replace(operation, **overrides)
