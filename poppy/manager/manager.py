# SPDX-License-Identifier: Apache-2.0
"""The manager: everything a transport can ask of Poppy."""

from collections.abc import Mapping
from typing import ClassVar

from oslo_config import cfg

from poppy.common.driver import Driver
from poppy.distributed_task.base import DistributedTask
from poppy.dns.base import DNSDriver
from poppy.manager.flavors import FlavorsManager
from poppy.manager.health import HealthManager
from poppy.manager.operations import OperationsManager
from poppy.manager.services import ServicesManager
from poppy.provider.base import Provider
from poppy.storage.base import Storage


class Manager(Driver):
    """What each API call does, by resource.

    Attributes:
        services: create, read, change, purge and delete services.
        flavors: the operator's choice of providers.
        operations: what became of requests, for tenants and operators.
        health: whether the parts answer.
    """

    KIND: ClassVar[str] = "manager"

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        name: str,
        storage: Storage,
        distributed_task: DistributedTask,
        providers: Mapping[str, Provider],
        dns: DNSDriver,
    ) -> None:
        super().__init__(conf, name)
        self.services = ServicesManager(
            storage,
            distributed_task,
            providers,
            dns,
            default_ttl=conf["drivers:provider"].default_cache_ttl,
            default_limit=conf["drivers:storage"].max_services_per_project,
        )
        self.flavors = FlavorsManager(storage, providers)
        self.operations = OperationsManager(storage)
        self.health = HealthManager(storage, distributed_task, providers, dns)
