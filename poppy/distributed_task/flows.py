# SPDX-License-Identifier: Apache-2.0
"""Flows: what each kind of operation does, as a recipe to read from top to bottom.

A flow contains nothing but driver calls. The run stores their results, so a flow only has to
execute its stages. (TaskFlow's engines could do that, but they keep each task's state in a storage
of their own, which took longer than the rest of an operation.)
"""

import concurrent.futures
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from poppy.distributed_task import certificate_tasks, dns_tasks, tasks
from poppy.distributed_task.ownership import Ownership
from poppy.distributed_task.record_watch import RecordWatch
from poppy.distributed_task.run import OperationRun
from poppy.distributed_task.tasks import Task
from poppy.dns.base import DNSDriver
from poppy.model import certificates
from poppy.model.flavors import Flavor, FlavorProvider
from poppy.model.operations import Kind, Operation
from poppy.model.services import Service
from poppy.provider.base import Provider
from poppy.storage.flavors import FlavorStore


@dataclass(frozen=True, slots=True)
class Flow:
    """Stages that run one after another; the tasks of a stage run in parallel.

    Attributes:
        name: for display.
        stages: in order. A stage begins when all tasks of the previous one have ended.
    """

    name: str
    stages: Sequence[Sequence[Task]]

    def run(self, run: OperationRun, pool: concurrent.futures.Executor) -> None:
        """Execute all tasks. If tasks of a stage raise, re-raise the first error.

        Args:
            pool: runs the tasks of a stage in parallel.
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
    watch: RecordWatch | None = None,
) -> Flow:
    """Return the flow of an operation.

    Args:
        flavors: read for the providers of the service's flavor, if the service may have been at
            others.
        providers: the loaded drivers.
        ownership: how domains are proven; None if no proof is needed.
        watch: looks up the records that tenants must create; None if nothing does.
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
        return steer(flavor, dns, watch)
    retired = [name for name in deployed if name not in flavor.provider_names]
    return ensure(str(operation.kind), flavor, retired, providers, dns, ownership, watch)


def ensure(
    name: str,
    flavor: Flavor,
    retired: Sequence[str],
    providers: Mapping[str, Provider],
    dns: DNSDriver,
    ownership: Ownership | None = None,
    watch: RecordWatch | None = None,
) -> Flow:
    """Create or update: all providers, then DNS, then clean up providers no longer in the flavor.

    If domains need proof, no provider is called before that.
    """
    names = flavor.provider_names
    before = [tasks.OWNERSHIP] if ownership else []
    check = watch.check if watch else None
    return Flow(
        name,
        [
            *([[tasks.ProveOwnership(ownership)]] if ownership else []),
            [tasks.EnsureProvider(it, providers, before, check) for it in names],
            [dns_tasks.EnsureDNS(dns, flavor, [tasks.ensure_step(it) for it in names], watch)],
            [tasks.RemoveProvider(it, providers, dns_tasks.DNS) for it in retired],
        ],
    )


def delete(deployed: Sequence[str], providers: Mapping[str, Provider], dns: DNSDriver) -> Flow:
    """Delete: DNS first, so that no name is left dangling, then all providers."""
    return Flow(
        "delete",
        [
            [dns_tasks.RemoveDNS(dns)],
            [tasks.RemoveProvider(it, providers, dns_tasks.REMOVE_DNS) for it in deployed],
        ],
    )


def steer(flavor: Flavor, dns: DNSDriver, watch: RecordWatch | None = None) -> Flow:
    """Steer: change names only, by the provider details stored with the request."""
    return Flow("steer", [[dns_tasks.EnsureDNS(dns, flavor, (), watch)]])


def disable(dns: DNSDriver) -> Flow:
    """Disable: change names only. The providers keep the service until it is enabled again."""
    return Flow("disable", [[dns_tasks.DisableDNS(dns)]])


def order(operation: Operation, names: Sequence[str], providers: Mapping[str, Provider]) -> Flow:
    """Create, update or delete a separately ordered certificate at all providers."""
    deletes = operation.kind is Kind.DELETE
    task = certificate_tasks.RemoveCertificate if deletes else certificate_tasks.EnsureCertificate
    return Flow(f"{operation.kind} certificate", [[task(name, providers) for name in names]])


def purge(deployed: Sequence[str], providers: Mapping[str, Provider]) -> Flow:
    """Purge at all providers that have the service."""
    return Flow("purge", [[tasks.PurgeProvider(it, providers) for it in deployed]])


def _flavor(service: Service, flavors: FlavorStore) -> Flavor:
    """Return a service's flavor. With a single provider it need not be read.

    A service has a detail for each provider of its flavor and for each one still to be cleaned
    up. So one detail implies a single-provider flavor.
    """
    flavor_id, details = service.spec.flavor_id, service.provider_details
    if len(details) > 1:
        return flavors.get(flavor_id)
    return Flavor(flavor_id, tuple(FlavorProvider(name, ()) for name in details))
