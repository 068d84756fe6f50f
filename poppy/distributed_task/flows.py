# SPDX-License-Identifier: Apache-2.0
"""What each kind of operation does: recipes to be read from top to bottom.

They hold nothing but calls of drivers; what became of them is kept, and concluded, by the run. So
all that is left to do for a flow is to go through its stages. (TaskFlow's engines do that too, and
keep the state of each task in a storage of their own, which took longer than all the rest of an
operation.)
"""

import concurrent.futures
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poppy.distributed_task import certificate_tasks, tasks
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.run import OperationRun
from poppy.distributed_task.tasks import Task
from poppy.dns.base import DNSDriver
from poppy.model import certificates
from poppy.model.flavors import Flavor, FlavorProvider
from poppy.model.operations import Kind, Operation
from poppy.model.services import Service
from poppy.provider.base import Provider
from poppy.storage.base import FlavorStore


@dataclass(frozen=True, slots=True)
class Flow:
    """Stages one after the other, each of tasks side by side.

    Attributes:
        name: for people.
        stages: in order; a stage begins when all tasks of the one before have ended.
    """

    name: str
    stages: Sequence[Sequence[Task]]

    def run(self, run: OperationRun, pool: concurrent.futures.Executor) -> None:
        """Execute all tasks. If some of a stage break, the first of these errors is raised.

        Args:
            pool: for tasks that run side by side.
        """
        for stage in self.stages:
            if len(stage) == 1:
                stage[0].execute(run)
                continue
            begun = [pool.submit(task.execute, run) for task in stage]
            concurrent.futures.wait(begun)
            for task in begun:
                task.result()


def build(
    operation: Operation,
    service: Service,
    flavors: FlavorStore,
    providers: Mapping[str, Provider],
    dns: DNSDriver,
    ownership: Ownership | None = None,
) -> Flow:
    """The flow of an operation.

    Args:
        flavors: where the service's flavor tells which providers it is meant to be at, where it
            may have been at others.
        providers: the loaded drivers.
        ownership: how domains are proven; None where they need not be.
    """
    deployed = tuple(service.provider_details)
    if certificates.is_namespace(service.project_id):
        return order(operation, deployed, providers)
    if operation.kind is Kind.DELETE:
        return delete(deployed, providers, dns)
    if operation.kind is Kind.PURGE:
        having = [name for name, it in service.provider_details.items() if it.exists]
        return purge(having or deployed, providers)
    if operation.kind is Kind.DISABLE:
        return disable(dns)
    flavor = _flavor(service, flavors)
    if operation.kind is Kind.STEER:
        return steer(flavor, dns)
    retired = [name for name in deployed if name not in flavor.provider_names]
    return ensure(str(operation.kind), flavor, retired, providers, dns, ownership)


def ensure(
    name: str,
    flavor: Flavor,
    retired: Sequence[str],
    providers: Mapping[str, Provider],
    dns: DNSDriver,
    ownership: Ownership | None = None,
) -> Flow:
    """Create and update: all providers, then DNS, then clean those no longer in the flavor.

    Where domains are to be proven, nothing is asked of a provider before that.
    """
    names = flavor.provider_names
    before = [tasks.OWNERSHIP] if ownership else []
    return Flow(
        name,
        [
            *([[tasks.ProveOwnership(ownership)]] if ownership else []),
            [tasks.EnsureProvider(it, providers, before) for it in names],
            [tasks.EnsureDNS(dns, flavor, after=[tasks.ensure_step(it) for it in names])],
            [tasks.RemoveProvider(it, providers, tasks.DNS) for it in retired],
        ],
    )


def delete(deployed: Sequence[str], providers: Mapping[str, Provider], dns: DNSDriver) -> Flow:
    """Delete: DNS first, so that no name points at nothing, then all providers."""
    return Flow(
        "delete",
        [
            [tasks.RemoveDNS(dns)],
            [tasks.RemoveProvider(it, providers, tasks.REMOVE_DNS) for it in deployed],
        ],
    )


def steer(flavor: Flavor, dns: DNSDriver) -> Flow:
    """Steer: names only, by what was stored of the providers when it was asked for."""
    return Flow("steer", [[tasks.EnsureDNS(dns, flavor, after=())]])


def disable(dns: DNSDriver) -> Flow:
    """Disable: names only. What the providers have stays, for when it is enabled again."""
    return Flow("disable", [[tasks.DisableDNS(dns)]])


def order(operation: Operation, names: Sequence[str], providers: Mapping[str, Provider]) -> Flow:
    """Create, update and delete of a certificate that was ordered by itself: all providers."""
    deletes = operation.kind is Kind.DELETE
    task = certificate_tasks.RemoveCertificate if deletes else certificate_tasks.EnsureCertificate
    return Flow(f"{operation.kind} certificate", [[task(name, providers) for name in names]])


def purge(deployed: Sequence[str], providers: Mapping[str, Provider]) -> Flow:
    """Purge: all providers that have the service."""
    return Flow("purge", [[tasks.PurgeProvider(it, providers) for it in deployed]])


def _flavor(service: Service, flavors: FlavorStore) -> Flavor:
    """A service's flavor; with one provider there is nothing to be read of it.

    A service has a detail for each provider of its flavor, and for those that are left to be
    cleaned. So who has one detail has a flavor of just that provider.
    """
    flavor_id, details = service.spec.flavor_id, service.provider_details
    if len(details) > 1:
        return flavors.get(flavor_id)
    return Flavor(flavor_id, tuple(FlavorProvider(name, ()) for name in details))
