# SPDX-License-Identifier: Apache-2.0
"""Small valid models for tests: say what the test is about, the rest is filled in."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from poppy.model import ids
from poppy.model.flavors import Flavor, FlavorProvider
from poppy.model.operations import Kind, Operation
from poppy.model.services import (
    Domain,
    Origin,
    ProviderDetail,
    ProviderStatus,
    Service,
    ServiceSpec,
)

NOW = datetime.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
"""The time at which everything made here was made."""

FLAVOR_ID = "standard"
PROJECT_ID = "project-1"


def after(seconds: float) -> datetime.datetime:
    """So many seconds after :data:`NOW`; before it when negative."""
    return NOW + datetime.timedelta(seconds=seconds)


def make_flavor(flavor_id: str = FLAVOR_ID, providers: Sequence[str] = ("mock",)) -> Flavor:
    """A flavor of these providers."""
    return Flavor(
        flavor_id,
        tuple(FlavorProvider(name, (f"https://www.{name}.example/",)) for name in providers),
    )


def make_spec(domains: Sequence[str] | None = None, **overrides: Any) -> ServiceSpec:
    """A spec of these http domains (default: one that no other spec has) and one origin."""
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
    """A new service, being created at the provider ``mock``.

    Args:
        domains: host names; by default one that no other service has.
        flavor_id: of the spec.
        **overrides: any field of :class:`Service`; with ``spec``, the two above do not count.
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
    """A queued operation of the service, whose job counts as lost after a minute.

    Args:
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
