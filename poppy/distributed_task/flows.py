# SPDX-License-Identifier: Apache-2.0
"""What each kind of operation does, as TaskFlow flows: recipes to be read from top to bottom.

They hold nothing but calls of drivers; what became of them is concluded by the run.
"""

from collections.abc import Mapping, Sequence

import taskflow.flow
import taskflow.task
from taskflow.patterns import linear_flow, unordered_flow

from poppy.distributed_task import certificate_tasks, tasks
from poppy.dns.base import DNSDriver
from poppy.model import certificates
from poppy.model.flavors import Flavor
from poppy.model.operations import Kind, Operation
from poppy.model.services import Service
from poppy.provider.base import Provider
from poppy.storage.base import FlavorStore


def build(
    operation: Operation,
    service: Service,
    flavors: FlavorStore,
    providers: Mapping[str, Provider],
    dns: DNSDriver,
) -> taskflow.flow.Flow:
    """The flow of an operation.

    Args:
        flavors: where the service's flavor tells which providers it is meant to be at.
        providers: the loaded drivers.
    """
    deployed = tuple(service.provider_details)
    if certificates.is_namespace(service.project_id):
        return order(operation, deployed, providers)
    if operation.kind is Kind.DELETE:
        return delete(deployed, providers, dns)
    if operation.kind is Kind.PURGE:
        return purge(deployed, providers)
    if operation.kind is Kind.DISABLE:
        return disable(dns)
    flavor = flavors.get(service.spec.flavor_id)
    if operation.kind is Kind.STEER:
        return steer(flavor, dns)
    retired = [name for name in deployed if name not in flavor.provider_names]
    return ensure(str(operation.kind), flavor, retired, providers, dns)


def ensure(
    name: str,
    flavor: Flavor,
    retired: Sequence[str],
    providers: Mapping[str, Provider],
    dns: DNSDriver,
) -> taskflow.flow.Flow:
    """Create and update: all providers, then DNS, then clean those no longer in the flavor."""
    names = flavor.provider_names
    return linear_flow.Flow(name).add(
        *_side_by_side("providers", [tasks.EnsureProvider(it, providers) for it in names]),
        tasks.EnsureDNS(dns, flavor, after=[tasks.ensure_step(it) for it in names]),
        *_side_by_side(
            "retired providers",
            [tasks.RemoveProvider(it, providers, tasks.DNS) for it in retired],
        ),
    )


def delete(
    deployed: Sequence[str], providers: Mapping[str, Provider], dns: DNSDriver
) -> taskflow.flow.Flow:
    """Delete: DNS first, so that no name points at nothing, then all providers."""
    return linear_flow.Flow("delete").add(
        tasks.RemoveDNS(dns),
        *_side_by_side(
            "providers",
            [tasks.RemoveProvider(it, providers, tasks.REMOVE_DNS) for it in deployed],
        ),
    )


def steer(flavor: Flavor, dns: DNSDriver) -> taskflow.flow.Flow:
    """Steer: names only, by what was stored of the providers when it was asked for."""
    return linear_flow.Flow("steer").add(tasks.EnsureDNS(dns, flavor, after=()))


def disable(dns: DNSDriver) -> taskflow.flow.Flow:
    """Disable: names only. What the providers have stays, for when it is enabled again."""
    return linear_flow.Flow("disable").add(tasks.DisableDNS(dns))


def order(
    operation: Operation, names: Sequence[str], providers: Mapping[str, Provider]
) -> taskflow.flow.Flow:
    """Create, update and delete of a certificate that was ordered by itself: all providers."""
    deletes = operation.kind is Kind.DELETE
    task = certificate_tasks.RemoveCertificate if deletes else certificate_tasks.EnsureCertificate
    return linear_flow.Flow(f"{operation.kind} certificate").add(
        *_side_by_side("providers", [task(name, providers) for name in names])
    )


def purge(deployed: Sequence[str], providers: Mapping[str, Provider]) -> taskflow.flow.Flow:
    """Purge: all providers."""
    return linear_flow.Flow("purge").add(
        *_side_by_side("providers", [tasks.PurgeProvider(it, providers) for it in deployed])
    )


def _side_by_side(
    name: str, found: Sequence[taskflow.task.Task]
) -> Sequence[taskflow.task.Task | taskflow.flow.Flow]:
    """Tasks in any order. One alone needs no flow around it, which would cost time to compile."""
    return [unordered_flow.Flow(name).add(*found)] if len(found) > 1 else found
