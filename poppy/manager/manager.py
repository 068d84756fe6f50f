# SPDX-License-Identifier: Apache-2.0
"""The manager: Poppy's interface for transports."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from poppy.common import vault
from poppy.common.config import LIMITS_GROUP
from poppy.common.domains import Policy
from poppy.common.driver import Driver
from poppy.distributed_task.base import DistributedTask
from poppy.distributed_task.edge_dns import name_keeping
from poppy.distributed_task.ownership import Ownership
from poppy.dns.base import DNSDriver
from poppy.extensions.base import installed
from poppy.manager import log_delivery
from poppy.manager.actions import ActionsManager
from poppy.manager.admin_search import AdminSearch
from poppy.manager.analytics import AnalyticsManager
from poppy.manager.assets import AssetsManager
from poppy.manager.certificates import CertificatesManager
from poppy.manager.change_pipeline import Changes
from poppy.manager.custom_certificates import CustomCertificatesManager
from poppy.manager.document_secrets import DocumentSecrets
from poppy.manager.dry_run import Planner
from poppy.manager.edge import EdgeManager
from poppy.manager.edge_logs import EdgeLogs
from poppy.manager.edge_overview import EdgeOverview
from poppy.manager.edge_traffic import EdgeTraffic
from poppy.manager.flavors import FlavorsManager
from poppy.manager.health import HealthManager
from poppy.manager.limits import LimitsManager
from poppy.manager.operations import OperationsManager
from poppy.manager.overview import OverviewManager
from poppy.manager.requirements import ReservedNames
from poppy.manager.services import ServicesManager
from poppy.manager.sessions import SessionsManager
from poppy.manager.transfers import TransfersManager
from poppy.model.limits import DocumentLimits
from poppy.provider.base import Provider
from poppy.storage.base import Storage


class Manager(Driver):
    """The managers of all resources.

    Attributes:
        services: create, read, change, purge and delete services.
        actions: operators' actions on services of any project.
        analytics: providers' analytics.
        certificates: orders for certificates.
        edge: the nodes of the operator's own edge.
        edge_traffic: the figures that they report.
        edge_logs: where they put access logs.
        edge_overview: their state.
        flavors: the operator's choices of providers.
        operations: operations, for tenants and operators.
        health: health checks of the drivers.
        limits: limits on the number of services per project.
        admin_search: searches services of all projects.
        overview: the state of the whole installation.
        sessions: ended dashboard sessions.
        transfers: export and import of services.
        extensions: the object of each installed extension, by name.
    """

    KIND: ClassVar[str] = "manager"

    @classmethod
    def option_groups(cls, name: str) -> list[tuple[str, Sequence[cfg.Opt]]]:
        """Add log delivery's options, which have their own group."""
        return [*super().option_groups(name), (log_delivery.GROUP, log_delivery.OPTS)]

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
        name_keeping(providers, dns)  # Fails if the DNS driver can't do it.
        default_ttl = conf["drivers:provider"].default_cache_ttl
        default_limit = conf["drivers:storage"].max_services_per_project
        max_open = conf["drivers:storage"].max_open_operations_per_project
        document_limits = DocumentLimits.of(conf[LIMITS_GROUP])
        reserved = ReservedNames(conf.reserved_domains, providers, dns)
        ownership = Ownership.of(conf, storage)
        self.limits = LimitsManager(storage, default_limit, max_open)
        changes = Changes(
            storage,
            distributed_task,
            providers,
            dns,
            reserved,
            ownership,
            DocumentSecrets(conf[vault.GROUP].encryption_keys),
            max_open=max_open,
        )
        planner = Planner(storage, changes, dns, Policy.of(conf), self.limits)
        self.services = ServicesManager(
            storage,
            changes,
            planner,
            providers,
            log_delivery.LogDelivery(conf),
            default_ttl=default_ttl,
            default_limit=default_limit,
            document_limits=document_limits,
        )
        self.assets = AssetsManager(changes, providers)
        self.actions = ActionsManager(storage, changes, self.services)
        self.certificates = CertificatesManager(
            storage,
            changes,
            self.services,
            providers,
            limit=conf["drivers:storage"].max_certificates_per_project,
        )
        self.custom_certificates = CustomCertificatesManager(storage, changes, providers)
        self.analytics = AnalyticsManager(
            storage, providers, conf["drivers:provider"].analytics_timeout
        )
        self.flavors = FlavorsManager(storage, providers, dns)
        self.edge = EdgeManager(storage, providers=providers)
        traffic_retention = conf["drivers:storage"].edge_traffic_retention
        self.edge_overview = EdgeOverview(storage)
        self.edge_traffic = EdgeTraffic(storage, datetime.timedelta(days=traffic_retention))
        self.edge_logs = EdgeLogs(providers)
        self.admin_search = AdminSearch(storage)
        self.operations = OperationsManager(storage)
        self.transfers = TransfersManager(
            storage, changes, planner, providers, dns, default_ttl, self.limits, document_limits
        )
        self.health = HealthManager(storage, distributed_task, providers, dns)
        self.sessions = SessionsManager(storage)
        self.overview = OverviewManager(storage, providers, dns, self.health)
        self.extensions: dict[str, Any] = {}
        for extension, plugin in installed().items():
            self.extensions[extension] = plugin(conf, extension, storage, self)
