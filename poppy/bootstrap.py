# SPDX-License-Identifier: Apache-2.0
"""The composition root: which drivers a process consists of."""

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
    """The drivers that the configuration names, each made when it is first asked for.

    Drivers connect when they are first used, so a Bootstrap can be made before a fork.

    Every attribute raises :class:`~poppy.common.errors.ConfigError` when its driver can't be
    loaded; the message names the driver and the cause.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @functools.cached_property
    def storage(self) -> Storage:
        """The store."""
        storage: Storage = driver.load("storage", self.conf.drivers.storage, self.conf)
        return storage

    @functools.cached_property
    def providers(self) -> dict[str, Provider]:
        """The CDN providers, by name, in the configured order."""
        return driver.load_each("provider", self.conf.drivers.providers, self.conf)

    @functools.cached_property
    def dns(self) -> DNSDriver:
        """The DNS driver."""
        dns: DNSDriver = driver.load("dns", self.conf.drivers.dns, self.conf)
        return dns

    @functools.cached_property
    def distributed_task(self) -> DistributedTask:
        """What brings operations to the workers."""
        # Its default board lives in the store's database.
        _ = self.storage
        tasks: DistributedTask = driver.load(
            "distributed_task", self.conf.drivers.distributed_task, self.conf
        )
        return tasks

    @functools.cached_property
    def manager(self) -> Manager:
        """What each API call does."""
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
        """The face to clients."""
        transport: Transport = driver.load(
            "transport", self.conf.drivers.transport, self.conf, manager=self.manager
        )
        return transport

    def worker(self) -> Worker:
        """A new worker."""
        return self.distributed_task.worker(self.storage, self.providers, self.dns)

    def close(self) -> None:
        """Let go of what has been connected."""
        made = vars(self)
        for name in ("distributed_task", "storage"):
            if name in made:
                made[name].close()
