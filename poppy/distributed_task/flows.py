# SPDX-License-Identifier: Apache-2.0
"""Flows: what each kind of operation does, as a recipe to read from top to bottom.

A flow is a TaskFlow flow of driver calls. It depends only on the operation's *shape* and on the
drivers of the worker, so operations of the same shape can share it. What differs between them is
passed to the tasks when the flow runs; see :class:`poppy.distributed_task.tasks.Task`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskflow.patterns import linear_flow, unordered_flow

from poppy.distributed_task import certificate_tasks, dns_tasks, tasks
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.record_watch import RecordWatch
from poppy.distributed_task.tasks import Task
from poppy.dns.base import DNSDriver
from poppy.model import certificates
from poppy.model.flavors import Flavor, FlavorProvider
from poppy.model.operations import Kind, Operation
from poppy.model.services import Service
from poppy.provider.base import Provider
from poppy.storage.flavors import FlavorStore


@dataclass(frozen=True, slots=True)
class Shape:
    """What the tasks of an operation depend on.

    Attributes:
        kind: of the operation.
        names: the providers to call; empty if the flavor names them.
        retired: the providers to clean up, because the flavor no longer names them.
        ordered: whether the operation is about a separately ordered certificate.
        flavor: the service's flavor, for kinds that deploy or steer.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    ordered: bool = False
    flavor: Flavor | None = None


def shape_of(operation: Operation, service: Service, flavors: FlavorStore) -> Shape:
    """Return the shape of an operation.

    Args:
        flavors: read for the providers of the service's flavor, if the service may have been at
            others.
    """
    kind, deployed = operation.kind, tuple(service.provider_details)
    if certificates.is_namespace(service.project_id):
        return Shape(kind, deployed, ordered=True)
    if kind is Kind.DELETE:
        return Shape(kind, deployed)
    if kind in (Kind.PURGE, Kind.PREWARM):
        return Shape(kind, service.deployed_at or deployed)
    if kind is Kind.DISABLE:
        return Shape(kind)
    flavor = _flavor(service, flavors)
    if kind is Kind.STEER:
        return Shape(kind, flavor=flavor)
    retired = tuple(name for name in deployed if name not in flavor.provider_names)
    return Shape(kind, retired=retired, flavor=flavor)


def build(
    shape: Shape,
    providers: Mapping[str, Provider],
    dns: DNSDriver,
    ownership: Ownership | None = None,
    watch: RecordWatch | None = None,
) -> linear_flow.Flow:
    """Return the flow of all operations of a shape.

    Args:
        providers: the loaded drivers.
        ownership: how domains are proven; None if no proof is needed.
        watch: looks up the records that tenants must create; None if nothing does.
    """
    if shape.ordered:
        return order(shape.kind, shape.names, providers)
    if shape.kind is Kind.DELETE:
        return delete(shape.names, providers, dns)
    if shape.kind is Kind.PURGE:
        return purge(shape.names, providers)
    if shape.kind is Kind.PREWARM:
        return prewarm(shape.names, providers)
    if shape.kind is Kind.DISABLE:
        return disable(dns)
    if shape.flavor is None:
        raise ValueError(f"a flow to {shape.kind} needs a flavor")
    if shape.kind is Kind.STEER:
        return steer(shape.flavor, dns, watch)
    return ensure(str(shape.kind), shape.flavor, shape.retired, providers, dns, ownership, watch)


def ensure(
    name: str,
    flavor: Flavor,
    retired: Sequence[str],
    providers: Mapping[str, Provider],
    dns: DNSDriver,
    ownership: Ownership | None = None,
    watch: RecordWatch | None = None,
) -> linear_flow.Flow:
    """Create or update: all providers, then DNS, then clean up providers no longer in the flavor.

    If domains need proof, no provider is called before that.
    """
    names = flavor.provider_names
    before = [tasks.OWNERSHIP] if ownership else []
    check = watch.check if watch else None
    return _flow(
        name,
        [tasks.ProveOwnership(ownership)] if ownership else [],
        [tasks.EnsureProvider(it, providers, before, check) for it in names],
        [dns_tasks.EnsureDNS(dns, flavor, [tasks.ensure_step(it) for it in names], watch)],
        [tasks.RemoveProvider(it, providers, dns_tasks.DNS) for it in retired],
    )


def delete(
    deployed: Sequence[str], providers: Mapping[str, Provider], dns: DNSDriver
) -> linear_flow.Flow:
    """Delete: DNS first, so that no name is left dangling, then all providers."""
    return _flow(
        "delete",
        [dns_tasks.RemoveDNS(dns)],
        [tasks.RemoveProvider(it, providers, dns_tasks.REMOVE_DNS) for it in deployed],
    )


def steer(flavor: Flavor, dns: DNSDriver, watch: RecordWatch | None = None) -> linear_flow.Flow:
    """Steer: change names only, by the provider details stored with the request."""
    return _flow("steer", [dns_tasks.EnsureDNS(dns, flavor, (), watch)])


def disable(dns: DNSDriver) -> linear_flow.Flow:
    """Disable: change names only. The providers keep the service until it is enabled again."""
    return _flow("disable", [dns_tasks.DisableDNS(dns)])


def order(kind: Kind, names: Sequence[str], providers: Mapping[str, Provider]) -> linear_flow.Flow:
    """Create, update or delete a separately ordered certificate at all providers."""
    deletes = kind is Kind.DELETE
    task = certificate_tasks.RemoveCertificate if deletes else certificate_tasks.EnsureCertificate
    return _flow(f"{kind} certificate", [task(name, providers) for name in names])


def purge(deployed: Sequence[str], providers: Mapping[str, Provider]) -> linear_flow.Flow:
    """Purge at all providers that have the service."""
    return _flow("purge", [tasks.PurgeProvider(it, providers) for it in deployed])


def prewarm(deployed: Sequence[str], providers: Mapping[str, Provider]) -> linear_flow.Flow:
    """Fill the caches of all providers that have the service."""
    return _flow("prewarm", [tasks.PrewarmProvider(it, providers) for it in deployed])


def _flow(name: str, *stages: Sequence[Task]) -> linear_flow.Flow:
    """Return a flow of stages that run one after another; the tasks of a stage run in parallel.

    A stage begins when all tasks of the previous one have ended.
    """
    flow = linear_flow.Flow(name)
    for number, stage in enumerate(stages):
        if len(stage) > 1:
            flow.add(unordered_flow.Flow(f"{name}, stage {number}").add(*stage))
        else:
            flow.add(*stage)
    return flow


def _flavor(service: Service, flavors: FlavorStore) -> Flavor:
    """Return a service's flavor. With a single provider it need not be read.

    A service has a detail for each provider of its flavor and for each one still to be cleaned
    up. So one detail implies a single-provider flavor.
    """
    flavor_id, details = service.spec.flavor_id, service.provider_details
    if len(details) > 1:
        return flavors.get(flavor_id)
    return Flavor(flavor_id, tuple(FlavorProvider(name, ()) for name in details))
