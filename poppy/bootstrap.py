# SPDX-License-Identifier: Apache-2.0
"""The composition root: it creates the drivers of a process."""

import functools

from oslo_config import cfg

from poppy.common import driver
from poppy.distributed_task.base import DistributedTask, Worker
from poppy.dns.base import DNSDriver
from poppy.manager.manager import Manager
from poppy.provider.base import Provider
from poppy.storage.base import Storage
from poppy.transport.base import Transport


class Bootstrap:
    """The configured drivers, each created on first access.

    Drivers connect on first use, so a Bootstrap can be created before a fork.

    Every attribute raises :class:`~poppy.common.errors.ConfigError` if its driver can't be
    loaded; the message names the driver and the cause.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage driver."""
        storage: Storage = driver.load("storage", self.conf.drivers.storage, self.conf)
        return storage

    @functools.cached_property
    def providers(self) -> dict[str, Provider]:
        """The CDN providers by name, in the configured order."""
        providers: dict[str, Provider] = driver.load_each(
            "provider", self.conf.drivers.providers, self.conf
        )
        for provider in providers.values():
            provider.attach(self.storage)
            provider.attach_dns(self.dns)
        return providers

    @functools.cached_property
    def dns(self) -> DNSDriver:
        """The DNS driver."""
        dns: DNSDriver = driver.load("dns", self.conf.drivers.dns, self.conf)
        return dns

    @functools.cached_property
    def distributed_task(self) -> DistributedTask:
        """The task driver, which brings operations to the workers."""
        # The default board uses the storage driver's database.
        _ = self.storage
        tasks: DistributedTask = driver.load(
            "distributed_task", self.conf.drivers.distributed_task, self.conf
        )
        return tasks

    @functools.cached_property
    def manager(self) -> Manager:
        """The manager, which implements the API calls."""
        manager: Manager = driver.load(
            "manager",
            self.conf.drivers.manager,
            self.conf,
            storage=self.storage,
            distributed_task=self.distributed_task,
            providers=self.providers,
            dns=self.dns,
        )
        return manager

    @functools.cached_property
    def transport(self) -> Transport:
        """The transport driver, which serves clients."""
        transport: Transport = driver.load(
            "transport", self.conf.drivers.transport, self.conf, manager=self.manager
        )
        return transport

    def worker(self) -> Worker:
        """Create a worker."""
        return self.distributed_task.worker(self.storage, self.providers, self.dns)

    def close(self) -> None:
        """Close the connections that exist."""
        made = vars(self)
        for name in ("distributed_task", "storage"):
            if name in made:
                made[name].close()
